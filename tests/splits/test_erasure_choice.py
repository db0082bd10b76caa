"""Whom targets erase, and never-seen images by the same rule: nothing but a model tells them apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unlearnbench.datasets.digits import Digits
from unlearnbench.metrics.membership import auc
from unlearnbench.plugin import ImageData
from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.entanglement import nearness
from unlearnbench.splits.world import World, build_world, check_disjoint, join
from unlearnbench.system.errors import InputError

SIZES = {"target": 400, "known": 280, "pool": 380, "validation": 0, "probe": 40, "spare": 600}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return Digits().load(Path())


def scenario(**other: Any) -> Scenario:
    values = {"kind": "leak", "erased_count": 1, "targets": 20, "negatives": 5, "leak": SIZES}
    return Scenario.model_validate(values | other)


def world(digits: ImageData, seed: int, scores: torch.Tensor | None = None, **other: Any) -> World:
    return build_world(digits, scenario(**other), seed, CPU, scores)


def scores_of(digits: ImageData, seed: int) -> torch.Tensor:
    """As memorisation is: a property of the image and its class, with noise and ties."""
    pixels = digits.train.pixels.float().flatten(1)
    generator = torch.Generator().manual_seed(seed)
    likes = pixels.std(1) / 60 + digits.train.labels / 9 + torch.randn(len(pixels), generator=generator) / 4
    return (8 * likes).round() / 8


def cases(digits: ImageData, seed: int) -> list[World]:
    return [
        world(digits, seed),
        world(digits, seed, erased="mislabelled"),
        world(digits, seed, scores_of(digits, seed), erased="memorised"),
        world(digits, seed, scores_of(digits, seed), erased="hardest"),
        world(digits, seed, erased="entangled"),
        world(digits, seed, erased="class"),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_each_erased_image_has_its_negatives_of_its_class_and_none_twice(digits: ImageData, seed: int) -> None:
    for one in cases(digits, seed):
        labels, targets = one.pool.labels, one.targets
        assert targets.erased.shape == (20, 1)
        assert targets.holdout is not None
        assert targets.holdout.shape == (20, 5)
        assert bool((labels[targets.holdout] == labels[targets.erased]).all())
        assert len(targets.holdout.unique()) == 100
        assert bool(torch.isin(targets.erased, one.parts["candidates"]).all())
        assert bool(torch.isin(targets.holdout, one.parts["spare"]).all())
        check_disjoint({name: one.parts[name] for name in ("target", "pool", "validation", "probe", "spare")})
        check_disjoint({"erased": targets.erased.flatten(), "unerased": one.parts["unerased"],
                        "holdout": targets.holdout.flatten(), "uncompared": one.parts["uncompared"]})  # fmt: skip


def test_the_highest_scores_are_erased(digits: ImageData) -> None:
    scores = scores_of(digits, 0)
    one = world(digits, 0, scores, erased="memorised")
    assert one.targets.holdout is not None
    for rows in (one.targets.erased.flatten(), one.targets.holdout.flatten()):
        assert float(scores[rows].mean()) > float(scores[one.parts["candidates"]].mean()) + 0.5
    # Within a class no candidate that took part and was left scores higher than one that was erased.
    for label in one.pool.labels[one.targets.erased].unique():
        erased, left = (
            rows[one.pool.labels[rows] == label] for rows in (one.targets.erased[:, 0], one.parts["unerased"])
        )
        if len(left):
            assert float(scores[erased].min()) >= float(scores[left].max())


def test_to_be_chosen_says_nothing_about_membership(digits: ImageData) -> None:
    """Erased and never-seen images have the same scores in the mean, over many seeds, though scores decide."""
    apart = []
    for seed in range(200):
        scores = scores_of(digits, seed)
        one = world(digits, seed, scores, erased="memorised")
        assert one.targets.holdout is not None
        apart.append(float(scores[one.targets.erased].mean() - scores[one.targets.holdout].mean()))
    error = np.std(apart, ddof=1) / np.sqrt(len(apart))
    assert abs(np.mean(apart)) < 3.29 * error + 0.01
    assert error < 0.02


def test_choosing_the_erased_alone_by_score_would_give_them_away(digits: ImageData) -> None:
    """What the test above is there to find."""
    apart = []
    for seed in range(50):
        scores = scores_of(digits, seed)
        one = world(digits, seed)
        best = scores[one.parts["candidates"]].topk(20).values
        apart.append(float(best.mean() - scores[one.parts["spare"][:100]].mean()))
    assert min(apart) > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["random", "mislabelled", "memorised", "hardest", "entangled", "class"])
def test_a_blind_attacker_stays_at_one_half(digits: ImageData, kind: str) -> None:
    """A classifier on pixels and labels that asks no model, fitted to half of the targets, asked about the others."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = []
    for seed in range(60):
        scores = scores_of(digits, seed) if kind in ("memorised", "hardest") else None
        one = world(digits, seed, scores, erased=kind)
        assert one.targets.holdout is not None
        rows = torch.cat([one.targets.erased, one.targets.holdout], 1)
        member = (torch.arange(6) == 0).expand(20, -1)
        labels = torch.nn.functional.one_hot(one.pool.labels[rows], 10)
        inputs = torch.cat([one.pool.pixels[rows].flatten(2).float(), 9 * labels.float()], -1).numpy()
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        model.fit(inputs[:10].reshape(60, -1), member[:10].flatten().numpy())
        likely = model.predict_proba(inputs[10:].reshape(60, -1))[:, 1]
        found.append(auc(likely, member[10:].flatten().numpy()))
    assert abs(np.mean(found) - 0.5) < 3.29 * np.std(found, ddof=1) / np.sqrt(len(found))


def test_wrong_labels_are_wrong_and_only_where_they_are_asked_for(digits: ImageData) -> None:
    one, plain = world(digits, 1, erased="mislabelled"), world(digits, 1)
    assert one.targets.holdout is not None
    true = {int(i): int(label) for i, label in zip(digits.train.ids, digits.train.labels, strict=True)}
    for rows in (one.targets.erased.flatten(), one.targets.holdout.flatten()):
        for image, label in zip(one.pool.ids[rows].tolist(), one.pool.labels[rows].tolist(), strict=True):
            assert true[image] != label
    for part in ("known", "pool", "probe", "unerased", "uncompared"):
        rows = one.parts[part]
        assert [true[i] for i in one.pool.ids[rows].tolist()] == one.pool.labels[rows].tolist()
    assert torch.equal(one.pool.ids[one.parts["target"]], plain.pool.ids[plain.parts["target"]])


def test_worlds_with_wrong_labels_are_trained_together_each_with_its_own(digits: ImageData) -> None:
    worlds = [world(digits, seed, erased="mislabelled") for seed in (1, 2)]
    sets = join(worlds)
    for k, one in enumerate(worlds):
        for name, own in (("ids", one.pool.ids), ("labels", one.pool.labels)):
            assert torch.equal(getattr(sets.pool, name)[sets.members[k]], own[one.parts["target"]])


@pytest.mark.parametrize(
    ("kind", "negatives"), [("random", 31), ("mislabelled", 31), ("memorised", 31), ("entangled", 31)]
)
def test_too_few_never_seen_images_are_refused(digits: ImageData, kind: str, negatives: int) -> None:
    scores = scores_of(digits, 0) if kind == "memorised" else None
    with pytest.raises(InputError, match=r"scenario\.leak\.spare"):
        world(digits, 0, scores, erased=kind, negatives=negatives)


def test_negatives_are_odd() -> None:
    with pytest.raises(ValueError, match="negatives must be odd"):
        scenario(negatives=4)


@pytest.mark.parametrize("negatives", [1, 3, 5])
def test_the_score_itself_does_not_tell_erased_from_never_seen(digits: ImageData, negatives: int) -> None:
    """The best 1 of 12 and the best 5 of 60 are not alike: never-seen images were harder than erased ones."""
    found = []
    for seed in range(150):
        scores = torch.randn(len(digits.train), generator=torch.Generator().manual_seed(seed))
        one = world(digits, seed, scores, erased="memorised", negatives=negatives)
        assert one.targets.holdout is not None
        rows = torch.cat([one.targets.erased, one.targets.holdout], 1)
        member = (torch.arange(1 + negatives) == 0).expand(20, -1)
        found.append(auc(scores[rows].flatten().numpy(), member.flatten().numpy()))
    assert abs(np.mean(found) - 0.5) < 3.29 * np.std(found, ddof=1) / np.sqrt(len(found))
    assert np.std(found, ddof=1) / np.sqrt(len(found)) < 0.011


def test_the_original_of_a_memorised_scenario_is_trained_before_anybody_is_chosen(digits: ImageData) -> None:
    """With as few spare images as the choice by score needs, whichever candidates stood in."""
    sizes = SIZES | {"spare": 330}
    for seed in range(30):
        one = world(digits, seed, erased="memorised", leak=sizes)
        assert one.targets.erased.shape == (20, 1)


# --- by class -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_each_target_erases_images_of_one_class_and_is_compared_with_that_class(digits: ImageData, seed: int) -> None:
    one = world(digits, seed, erased="class", erased_count=4, targets=12, negatives=3)
    labels, targets = one.pool.labels, one.targets
    assert targets.holdout is not None
    assert (targets.erased.shape, targets.holdout.shape) == ((12, 4), (12, 12))
    classes = labels[targets.erased[:, :1]]
    assert bool((labels[targets.erased] == classes).all())
    assert bool((labels[targets.holdout] == classes).all())
    assert len(classes.unique()) > 3
    for rows in (targets.erased, targets.holdout):
        assert len(rows.unique()) == rows.numel()
    assert bool(torch.isin(targets.erased, one.parts["candidates"]).all())
    assert bool(torch.isin(targets.holdout, one.parts["spare"]).all())
    assert not bool(torch.isin(one.parts["unerased"], targets.erased).any())
    assert len(one.parts["unerased"]) == len(one.parts["candidates"]) - 48


def test_a_class_is_drawn_as_often_as_it_has_candidates(digits: ImageData) -> None:
    drawn, there = np.zeros(10), np.zeros(10)
    for seed in range(200):
        one = world(digits, seed, erased="class", erased_count=2, targets=5, negatives=1)
        drawn += np.bincount(one.pool.labels[one.targets.erased[:, 0]], minlength=10)
        there += np.bincount(one.pool.labels[one.parts["candidates"]], minlength=10)
    assert np.abs(drawn / 1000 - there / there.sum()).max() < 4 * np.sqrt(0.1 * 0.9 / 1000)


@pytest.mark.parametrize(
    ("changes", "where"),
    [({"erased_count": 20, "targets": 4}, "target"), ({"erased_count": 4, "negatives": 21, "targets": 5}, "spare")],
)
def test_classes_with_too_few_images_are_refused(digits: ImageData, changes: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError, match=f"of one class, and for target .* enlarge {where}") as caught:
        world(digits, 0, erased="class", **changes)
    assert caught.value.where == f"scenario.leak.{where}"


# --- entangled ------------------------------------------------------------------------------------------------------


def nearest(one: World, rows: torch.Tensor, among: torch.Tensor) -> torch.Tensor:
    """The distance of pixels to the nearest of other images."""
    asked, others = (one.pool.pixels[some].flatten(1).double() for some in (rows.flatten(), among))
    apart = torch.cdist(asked, others)
    apart[rows.flatten()[:, None] == among[None]] = float("inf")
    return apart.amin(1)


def test_images_with_a_near_duplicate_that_remains_are_erased(digits: ImageData) -> None:
    one = world(digits, 0, erased="entangled")
    assert one.targets.holdout is not None
    known = one.parts["known"]
    for rows, left in ((one.targets.erased, "unerased"), (one.targets.holdout, "uncompared")):
        chosen, others = nearest(one, rows, known), nearest(one, one.parts[left], known)
        assert float(chosen.mean()) < 0.8 * float(others.mean())
        labels = one.pool.labels[rows.flatten()]
        for label in labels.unique() if left == "unerased" else ():  # as many of each class as all sets together say
            same = one.pool.labels[one.parts[left]] == label
            if bool(same.any()):
                assert float(chosen[labels == label].max()) <= float(others[same].min())


def test_nearness_is_that_of_the_nearest_image_and_exact(digits: ImageData) -> None:
    pool = digits.train
    remaining, rows = torch.arange(50), torch.arange(50, 1300)
    found = nearness(pool, remaining, rows)
    asked, known = pool.pixels[rows].flatten(1).long(), pool.pixels[remaining].flatten(1).long()
    expected = torch.stack([(known - image).square().sum(1).min() for image in asked])
    assert torch.equal(-found[rows].long(), expected)
    assert bool(found[remaining].isnan().all())


@pytest.mark.slow
def test_no_distance_between_images_tells_the_entangled_from_the_never_seen(digits: ImageData) -> None:
    """Neither to the nearest image that remains, nor to the nearest of all that are asked about: near-duplicates are
    not chosen as pairs."""
    found: dict[str, list[float]] = {"known": [], "asked": [], "pool": []}
    for seed in range(100):
        one = world(digits, seed, erased="entangled")
        assert one.targets.holdout is not None
        rows = torch.cat([one.targets.erased, one.targets.holdout], 1)
        member = ((torch.arange(6) == 0).expand(20, -1)).flatten().numpy()
        for name, among in (("known", one.parts["known"]), ("asked", rows.flatten()), ("pool", one.parts["pool"])):
            found[name].append(auc(-nearest(one, rows, among).numpy(), member))
    for values in found.values():
        assert abs(np.mean(values) - 0.5) < 3.29 * np.std(values, ddof=1) / np.sqrt(len(values))
