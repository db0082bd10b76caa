"""Leak experiments whose targets erase by group: no group on two sides, nothing of an erased group is left, and being
chosen says nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unlearnbench.metrics.membership import auc
from unlearnbench.plugin import ImageData, Images
from unlearnbench.settings.scenario import Scenario
from unlearnbench.settings.sizes import fitted, misfit
from unlearnbench.splits.shadow_sets import shadow_erasures, training_sets
from unlearnbench.splits.world import World, build_world, challenge
from unlearnbench.suite.keys import fields
from unlearnbench.system.errors import InputError

CPU = torch.device("cpu")
SIZES = {"target": 200, "known": 120, "pool": 240, "validation": 10, "probe": 10, "spare": 200}
PARTS = ("target", "pool", "validation", "probe", "spare")
CLASSES = 3


def people(seed: int = 0, count: int = 330, classes: int = CLASSES) -> ImageData:
    """Persons with 1 to 8 images: each has a pattern of its own, which depends on how many images there are of it, and
    images of one class more often than of others."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 9, count)
    groups = np.repeat(np.arange(count), sizes)
    favourite = generator.integers(0, classes, count)[groups]
    labels = np.where(generator.random(len(groups)) < 0.6, favourite, generator.integers(0, classes, len(groups)))
    pattern = generator.integers(0, 100, (count, 16)) + 10 * sizes[:, None]
    pixels = pattern[groups] + generator.integers(0, 20, (len(groups), 16)) + 10 * labels[:, None]
    order = generator.permutation(len(groups))
    images = Images(
        torch.from_numpy(pixels[order]).to(torch.uint8).view(-1, 1, 4, 4),
        torch.from_numpy(labels[order]),
        torch.arange(len(order)),
    )
    test = Images(
        torch.randint(0, 256, (20, 1, 4, 4)).byte(), torch.arange(20) % classes, len(order) + torch.arange(20)
    )
    return ImageData(images, test, classes, (), torch.from_numpy(groups[order]))


def scenario(**changes: Any) -> Scenario:
    values = {"kind": "leak", "erased": "group", "erased_count": 3, "targets": 6, "negatives": 3, "leak": SIZES}
    return Scenario.model_validate(values | changes)


def world(seed: int = 0, data: ImageData | None = None, **changes: Any) -> World:
    return build_world(data or people(), scenario(**changes), seed, CPU)


def groups_of(one: World, rows: Tensor) -> Tensor:
    assert one.groups is not None
    return one.groups[rows]


@pytest.mark.parametrize("seed", range(5))
def test_each_target_erases_one_group_and_leaves_nothing_of_it_in_training(seed: int) -> None:
    one = world(seed)
    assert one.groups is not None
    erased = groups_of(one, one.targets.erased)
    assert erased.shape == (6, 3)
    assert bool((erased == erased[:, :1]).all())
    assert len(erased[:, 0].unique()) == 6
    for target in range(6):
        left = groups_of(one, one.targets.remaining(target))
        assert not bool((left == erased[target, 0]).any())


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_in_two_parts_nor_has_more_images_than_an_erasure_takes(seed: int) -> None:
    one = world(seed)
    own = {name: groups_of(one, one.parts[name]) for name in (*PARTS, "known", "candidates")}
    assert {name: len(rows) for name, rows in own.items()} == SIZES | {"candidates": 80}
    sides = [set(own[name].tolist()) for name in (*PARTS[1:], "known", "candidates")]
    assert sum(map(len, sides)) == len(set().union(*sides))
    for groups in own.values():
        assert int(groups.unique(return_counts=True)[1].max()) <= 3
    known, candidates = one.parts["known"], one.parts["candidates"]
    assert set(one.parts["target"].tolist()) == set(known.tolist()) | set(candidates.tolist())
    assert bool(torch.isin(one.targets.erased, candidates).all())


@pytest.mark.parametrize("seed", range(5))
def test_never_seen_images_are_whole_sets_of_other_groups_and_of_the_same_classes(seed: int) -> None:
    one = world(seed)
    assert one.targets.holdout is not None
    sets = one.targets.holdout.view(6, 3, 3).transpose(1, 2)  # of each target m sets of s
    groups, labels = groups_of(one, sets), one.pool.labels
    assert bool((groups == groups[..., :1]).all())
    assert len(groups[..., 0].unique()) == 18
    assert bool((labels[sets] == labels[one.targets.erased][:, None]).all())
    assert bool(torch.isin(one.targets.holdout, one.parts["spare"]).all())
    assert not bool(torch.isin(one.parts["uncompared"], one.targets.holdout).any())
    assert not bool(torch.isin(one.parts["unerased"], one.targets.erased).any())


def test_a_seed_is_a_world_and_its_sizes_are_those_of_the_scenario() -> None:
    first, again, other = (world(seed) for seed in (1, 1, 2))
    assert torch.equal(first.targets.erased, again.targets.erased)
    assert torch.equal(first.targets.members, again.targets.members)
    assert not torch.equal(first.targets.members, other.targets.members)
    assert first.sizes["target"] == 200
    assert len(challenge(first, scenario(attack_images=20)).hidden) == 40


@pytest.mark.slow
@pytest.mark.parametrize(("size", "negatives", "persons"), [(1, 1, 700), (2, 3, 400), (3, 3, 330)])
def test_attackers_who_ask_no_model_stay_at_one_half(size: int, negatives: int, persons: int) -> None:
    """Pixels, classes, and how alike the images of a set are, among themselves and to all others: whatever is seen
    without a model."""
    found: dict[str, list[float]] = {
        name: [] for name in ("pixels", "pattern", "spread", "nearest", "to the known", "not chosen")
    }
    for seed in range(250):
        one = world(seed, people(seed, persons), erased_count=size, negatives=negatives)
        assert one.targets.holdout is not None
        compared = one.targets.holdout.view(6, size, negatives).transpose(1, 2)
        sets = torch.cat([one.targets.erased[:, None], compared], 1).flatten(0, 1)  # [T (1 + m), s]
        member = (torch.arange(1 + negatives) == 0).repeat(6).numpy()
        pixels = one.pool.pixels.flatten(1).double()
        centre = pixels[sets].mean(1)
        apart = torch.cdist(centre, centre) + 1e9 * torch.eye(len(centre))
        known = torch.cdist(centre, pixels[one.parts["known"]])
        seen = {
            "pixels": centre.mean(1),
            "pattern": centre.std(1),
            "spread": (pixels[sets] - centre[:, None]).square().mean((1, 2)),
            "nearest": apart.amin(1),
            "to the known": known.amin(1),
        }
        for name, scores in seen.items():
            found[name].append(auc(scores.numpy(), member))
        shown = [one.pool.take(one.parts[name]).scaled.mean((1, 2, 3)) for name in ("unerased", "uncompared")]
        found["not chosen"].append(auc(torch.cat(shown).numpy(), np.arange(sum(map(len, shown))) < len(shown[0])))
    for name, values in found.items():
        error = np.std(values, ddof=1) / np.sqrt(len(values))
        assert abs(np.mean(values) - 0.5) < 3.29 * error + 1e-9, name


# --- refusals -------------------------------------------------------------------------------------------------------


def test_a_dataset_without_groups_is_refused() -> None:
    with pytest.raises(InputError, match=r"^scenario\.erased: 'group' needs a dataset that says whose each image is"):
        world(data=people()._replace(groups=None))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leak": SIZES | {"pool": 900}}, "and 3 of a group at most, and those are too few for 'pool'"),
        ({"erased_count": 8, "targets": 4, "negatives": 1}, "of groups with so many images there are"),
        ({"leak": SIZES | {"spare": 53}}, "54 never-seen images are compared with; it has 53"),
    ],
)
def test_what_can_not_be_drawn_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        world(**changes)
    assert "\n" not in str(caught.value)


def test_groups_that_have_no_images_of_the_same_classes_are_refused() -> None:
    data = people(classes=90)
    with pytest.raises(InputError, match="no 4 groups are left that have 3 images of the same classes"):
        world(data=data)


def test_copies_that_are_dropped_are_dropped_from_the_groups_too() -> None:
    data = people()
    pixels = data.train.pixels.clone()
    pixels[-1] = pixels[0]
    made = world(data=data._replace(train=replace(data.train, pixels=pixels)), duplicates="drop", targets=2)
    assert made.groups is not None
    assert made.groups.tolist() == data.groups[:-1].tolist()  # type: ignore[index]


def test_the_original_depends_on_what_is_erased_as_the_parts_do() -> None:
    assert fields("train", scenario(targets=5)) != fields("train", scenario())
    plain = scenario(erased="class")
    assert fields("train", plain) == fields("train", scenario(erased="random"))


def test_sizes_that_a_suite_leaves_open_leave_room_for_whole_groups() -> None:
    one = scenario()
    assert one.leak is not None
    assert fitted(one, ("pool", "validation"), 678) == one.leak
    assert fitted(one, ("pool", "validation"), 670).total == 670 - 18
    assert fitted(one, (), 660) == one.leak, "sizes that are given may just fit"
    with pytest.raises(InputError) as caught:
        fitted(one, (), 600)
    assert caught.value.what == misfit(one, 600)


# --- shadows --------------------------------------------------------------------------------------------------------


def test_shadows_of_the_same_original_erase_one_of_the_adversarys_groups() -> None:
    one = world()
    (sets,) = shadow_erasures(one, "same", 20, 0, 3).sets
    groups = groups_of(one, sets.erased)
    assert bool((groups == groups[:, :1]).all())
    assert bool(torch.isin(sets.erased, one.parts["known"]).all())
    for shadow in range(20):
        assert not bool((groups_of(one, sets.remaining(shadow)) == groups[shadow, 0]).any())


def test_shadow_models_of_her_own_have_whole_groups_and_erase_one() -> None:
    one = world(leak=SIZES | {"pool": 320, "spare": 120})
    members = training_sets(one, "disjoint", 4).members
    shadows = shadow_erasures(one, "disjoint", 12, 4, 3)
    for own, sets in zip(members, shadows.sets, strict=True):
        groups = groups_of(one, sets.erased)
        assert bool((groups == groups[:, :1]).all())
        assert bool(torch.isin(sets.erased, own).all())
        split = set(groups_of(one, own).tolist()) & set(
            groups_of(one, one.parts["pool"][~torch.isin(one.parts["pool"], own)]).tolist()
        )
        assert len(split) <= 1


@pytest.mark.parametrize("kind", ["group", "class"])
def test_models_with_and_without_candidates_have_whole_sets(kind: str) -> None:
    one = world(erased=kind)
    assert one.targets.holdout is not None
    assert one.kinds is not None
    sets = torch.cat([one.targets.erased[:, None], one.targets.holdout.view(6, 3, 3).transpose(1, 2)], 1).flatten(0, 1)
    known = {tuple(sorted(rows)) for rows in sets.tolist()}
    members = training_sets(one, "in_and_out", 4).members
    shadows = shadow_erasures(one, "in_and_out", 0, 4, 3)
    held = torch.zeros(len(sets))
    for own, erasures in zip(members, shadows.sets, strict=True):
        inside = torch.isin(sets, own)
        assert bool((inside.all(1) == inside.any(1)).all())
        held += inside[:, 0]
        assert len(own.unique()) == len(one.parts["target"])
        assert {tuple(sorted(rows)) for rows in erasures.erased.tolist()} <= known
        assert erasures.holdout is not None
        assert not bool(torch.isin(erasures.holdout, own).any())
        kinds = one.kinds[erasures.erased]
        assert bool((kinds == kinds[:, :1]).all())
        labels = one.pool.labels
        assert torch.equal(labels[erasures.erased], labels[erasures.holdout])
    assert bool((held == 2).all())


def test_shadows_of_one_class_where_targets_erase_by_class() -> None:
    one = world(erased="class", leak=SIZES | {"pool": 320, "spare": 120})
    for draw, models in (("same", 0), ("disjoint", 4)):
        for sets in shadow_erasures(one, draw, 12, models, 3).sets:
            labels = one.pool.labels[sets.erased]
            assert bool((labels == labels[:, :1]).all())


def test_an_adversary_without_a_large_enough_group_is_refused() -> None:
    one = world()
    assert one.groups is not None
    alone = replace(one, kinds=torch.arange(len(one.groups)))
    with pytest.raises(InputError, match=r"leak\.known: the adversary erases 3 images of one class or group"):
        shadow_erasures(alone, "same", 20, 0, 3)
