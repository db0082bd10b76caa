"""Originals that forget each target and models that never saw it: what they are trained on must be drawn alike."""

from collections import Counter
from itertools import combinations

import pytest
import torch
from small_worlds import image_data, leak

from unlearnbench.settings.scenario import LeakSizes
from unlearnbench.splits.retrained_sets import PARTS, erasures, group, shown
from unlearnbench.splits.world import build_world

CPU = torch.device("cpu")
MODELS = 12


def world(targets, size=2, seed=1):
    sizes = LeakSizes(target=160, known=100, pool=160, validation=20, probe=10, spare=50)
    return build_world(image_data(), leak(targets=targets, erased_count=size, leak=sizes), seed, CPU)


def rows(tensor):
    return set(tensor.flatten().tolist())


def held(made, members):
    """Which targets' sets are among the members; never a part of one."""
    sets = [rows(own) for own in made.targets.erased]
    assert all(own <= members or not own & members for own in sets)
    return {target for target, own in enumerate(sets) if own <= members}


@pytest.mark.parametrize("targets", [1, 2, 5, 8])
def test_every_target_has_originals_that_held_it_and_twice_as_many_models_that_never_saw_it(targets):
    made = world(targets)
    originals, without = (group(made, MODELS, trained) for trained in ("originals", "without"))
    assert originals.models.shape == (targets, MODELS)
    assert without.models.shape == (targets, 2 * MODELS)
    for target in range(targets):
        assert len(rows(originals.models[target])) == MODELS
        assert len(rows(without.models[target])) == 2 * MODELS
        assert all(target in held(made, rows(originals.sets.members[k])) for k in originals.models[target])
        assert all(target not in held(made, rows(without.sets.members[k])) for k in without.models[target])


@pytest.mark.parametrize("targets", [1, 2, 5, 8])
def test_originals_are_as_large_as_the_targets_and_models_without_one_set_smaller(targets):
    made = world(targets)
    for trained, size in (("originals", 160), ("without", 158)):
        members = group(made, MODELS, trained).sets.members
        assert members.shape[1] == size
        assert all(len(rows(own)) == size for own in members)
        kept = rows(made.targets.members) - rows(made.targets.erased)
        assert all(kept <= rows(own) <= rows(made.parts["target"]) | rows(made.parts["pool"]) for own in members)


def test_what_an_original_keeps_is_drawn_as_what_a_model_without_is_trained_on():
    """Each choice of two other targets of four is as frequent on both sides."""
    made = world(5, size=1)
    pairs, chosen = list(combinations(range(1, 5), 1)), {}
    for trained in ("originals", "without"):
        every = group(made, 600, trained)
        others = [held(made, rows(every.sets.members[k])) - {0} for k in every.models[0]]
        chosen[trained] = Counter(tuple(sorted(each)) for each in others)
        assert set(chosen[trained]) == set(pairs)
    for pair in pairs:
        first, second = (chosen[trained][pair] / sum(chosen[trained].values()) for trained in chosen)
        assert first == pytest.approx(second, abs=0.08)
        assert first == pytest.approx(0.25, abs=0.06)


def test_half_of_the_sets_makes_pairs_of_originals_complementary():
    made = world(8)
    members = group(made, MODELS, "originals").sets.members
    assert len(members) == 2 * MODELS
    for first, second in zip(members[::2], members[1::2], strict=True):
        assert held(made, rows(first)) | held(made, rows(second)) == set(range(8))


def test_six_trainings_serve_all_targets_for_each_model_a_side():
    made = world(24, size=1)
    count = sum(group(made, 128, trained).sets.replicas for trained in ("originals", "without"))
    assert count == 256 + 473


def test_originals_forget_the_target_that_they_held():
    made = world(5)
    originals = group(made, MODELS, "originals")
    for first, last in ((0, 8), (8, MODELS)):
        sets = erasures(made, originals, 3, first, last)
        assert torch.equal(sets.erased, made.targets.erased[3].expand(last - first, -1))
        assert torch.equal(sets.holdout, made.targets.holdout[3].expand(last - first, -1))
        assert torch.equal(sets.members, originals.sets.members[originals.models[3, first:last]])
        assert sets.all_remaining().shape == (last - first, 158)


def test_places_and_order_of_erased_images_say_nothing():
    made = world(5)
    members = group(made, MODELS, "originals").sets.members
    places = [int((own == image).nonzero()) for own in members for image in own if image in made.targets.erased]
    assert 60 < sum(places) / len(places) < 100


@pytest.mark.parametrize("targets", [1, 4, 15])
def test_each_target_is_asked_about_its_own_images_and_others(targets):
    made = world(targets)
    images, part = shown(made)
    names = [PARTS[number] for number in part.tolist()]
    assert len(images) == targets
    assert names[:2] == ["erased", "erased"]
    assert {"remaining", "unseen"} <= set(names)
    ids = [dict(zip(own.ids.tolist(), names, strict=True)) for own in images]
    for target, own in enumerate(ids):
        of = {name: {i for i, n in own.items() if n == name} for name in PARTS}
        assert of["erased"] == rows(made.pool.ids[made.targets.erased[target]])
        assert of["remaining"] <= rows(made.pool.ids[made.targets.members]) - rows(made.pool.ids[made.targets.erased])
        assert of["unseen"] <= rows(made.pool.ids[made.parts["spare"]])
    remaining = [i for own in ids for i, name in own.items() if name == "remaining"]
    assert len(remaining) == len(set(remaining)) <= 200


def test_a_draw_is_a_function_of_the_seed():
    first, again, other = (group(world(5, seed=seed), MODELS, "without").sets.members for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
