"""What the adversary trains and erases: nobody's truth is among it, and training, validation and test share nothing."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from small_worlds import image_data, leak

from unlearnbench.settings.scenario import LeakSizes
from unlearnbench.splits.shadow_sets import shadow_erasures, training_sets
from unlearnbench.splits.world import build_world
from unlearnbench.stages.attacking import check_held_out
from unlearnbench.system.errors import InputError

CPU = torch.device("cpu")
SIZES = LeakSizes(target=100, known=60, pool=200, validation=20, probe=10, spare=50)


def world(seed=1, **changes):
    return build_world(image_data(), leak(**changes), seed, CPU)


def wide(**changes):
    """A world whose adversary has more images than the target is trained on."""
    return world(leak=SIZES, **changes)


def same(count, size=2, made=None):
    drawn = shadow_erasures(made or world(), "same", count, 0, size)
    assert len(drawn.sets) == 1
    return drawn.sets[0], drawn.validation


def rows(tensor):
    return set(tensor.flatten().tolist())


def as_stored(drawn):
    """The parts of a stored draw that are checked before an attack sees it."""
    candidates = [torch.cat([sets.erased, sets.holdout], 1) for sets in drawn.sets]
    return {"candidate_rows": torch.cat(candidates), "validation": drawn.validation, "model": drawn.model}


# --- same ---


def test_shadows_never_use_what_targets_erase_or_are_scored_with():
    made = world()
    sets, validation = same(30, made=made)
    assert sets.erased.shape == sets.holdout.shape == (30, 2)
    assert rows(sets.erased) <= rows(made.parts["known"])
    assert rows(sets.holdout) <= rows(made.parts["pool"])
    assert not rows(sets.erased) & rows(made.parts["candidates"])
    assert torch.equal(sets.members, made.targets.members)
    assert torch.equal(made.pool.labels[sets.holdout], made.pool.labels[sets.erased])
    assert all(len(set(row)) == 2 for row in sets.erased.tolist())
    assert validation.tolist() == [False] * 24 + [True] * 6


@pytest.mark.parametrize("count", [10, 30, 200])
def test_validation_shadows_share_no_image_with_training_shadows(count):
    sets, validation = same(count)
    for images in (sets.erased, sets.holdout):
        training, held_out = rows(images[~validation]), rows(images[validation])
        assert training
        assert held_out
        assert not training & held_out


def test_shadow_images_are_used_once_before_any_is_used_again():
    sets, validation = same(50)
    assert len(sets.erased[~validation].unique()) == 80  # 40 shadows of 2: all 80 of the first four fifths
    assert len(sets.erased[validation].unique()) == 20


@pytest.mark.parametrize(("count", "size"), [(4, 2), (10, 21)])
def test_too_few_shadows_or_known_images_are_refused(count, size):
    with pytest.raises(InputError, match="need 5 shadows"):
        same(count, size)


def test_validation_shadows_are_lent_an_image_of_a_class_that_their_part_lacks():
    made = world()
    labels, pool = made.pool.labels, made.parts["pool"]
    rare = labels[pool[-1]]  # of this class, the adversary's last fifth shall hold none
    order = torch.argsort((labels[pool] != rare).long(), stable=True)
    made = replace(made, parts={**made.parts, "pool": pool[order]})
    assert not bool((labels[made.parts["pool"][-32:]] == rare).any())
    sets, validation = same(50, made=made)
    assert bool((labels[sets.erased[validation]] == rare).any())
    assert torch.equal(labels[sets.holdout], labels[sets.erased])
    assert not rows(sets.holdout[validation]) & rows(sets.holdout[~validation])


# --- disjoint ---


def test_the_disjoint_adversary_has_nothing_of_the_target():
    made = wide()
    members = training_sets(made, "disjoint", 8)
    assert members.members.shape == (8, 100)
    assert members.erased.shape == (8, 0)
    drawn = shadow_erasures(made, "disjoint", 27, 8, 2)
    hers = rows(made.parts["pool"])
    for own, sets in zip(members.members, drawn.sets, strict=True):
        assert len(rows(own)) == 100
        assert torch.equal(sets.members, own)
        assert rows(own) <= hers
        assert rows(sets.erased) <= rows(own)
        assert rows(sets.holdout) <= hers - rows(own)
        assert torch.equal(made.pool.labels[sets.holdout], made.pool.labels[sets.erased])
    assert not hers & rows(made.parts["target"])
    assert [sets.replicas for sets in drawn.sets] == [4, 4, 4, 3, 3, 3, 3, 3]


def test_whole_models_and_their_images_are_held_out():
    drawn = shadow_erasures(wide(), "disjoint", 27, 8, 2)
    assert set(drawn.model[drawn.validation].tolist()) == {6, 7}
    assert set(drawn.model[~drawn.validation].tolist()) == set(range(6))
    stored = as_stored(drawn)["candidate_rows"]
    assert not rows(stored[drawn.validation]) & rows(stored[~drawn.validation])
    assert len({tuple(sorted(rows(sets.members))) for sets in drawn.sets}) == 8


@pytest.mark.parametrize(("pool", "why"), [(90, "she has 90: enlarge pool"), (100, "she has 100")])
def test_a_disjoint_adversary_without_images_to_compare_with_is_refused(pool, why):
    made = world(leak=SIZES.model_copy(update={"pool": pool}))
    with pytest.raises(InputError, match=why):
        training_sets(made, "disjoint", 2)


def test_a_class_without_never_seen_images_names_the_adversarys_pool():
    made = world(leak=SIZES.model_copy(update={"pool": 101}))
    with pytest.raises(InputError, match=r"the adversary erases .* enlarge pool") as caught:
        shadow_erasures(made, "disjoint", 40, 8, 2)
    assert caught.value.where == "scenario.leak.pool"


# --- in and out ---


@pytest.mark.parametrize("size", [1, 2])
def test_every_candidate_is_in_half_of_the_models_and_forgotten_by_each_of_them(size):
    made = wide(erased_count=size)
    candidates = rows(made.targets.erased) | rows(made.targets.holdout)
    trained = training_sets(made, "in_and_out", 6)
    drawn = shadow_erasures(made, "in_and_out", 0, 6, size)
    counts = Counter()
    for members, sets in zip(trained.members, drawn.sets, strict=True):
        assert len(rows(members)) == 100
        assert torch.equal(sets.members, members)
        inside = candidates & rows(members)
        counts.update(inside)
        assert rows(sets.erased) == inside
        assert rows(sets.holdout) == candidates - inside
        assert torch.equal(made.pool.labels[sets.holdout], made.pool.labels[sets.erased])
        assert rows(members) - inside <= rows(made.parts["pool"])
    assert counts == dict.fromkeys(candidates, 3)
    assert not bool(drawn.validation.any())


def test_models_for_in_and_out_come_in_pairs():
    with pytest.raises(InputError, match="give an even number"):
        training_sets(wide(), "in_and_out", 5)


def test_candidates_that_do_not_fill_half_of_a_model_are_filled_up_or_refused():
    made = world(leak=SIZES.model_copy(update={"pool": 60}))
    with pytest.raises(InputError, match="need 92 of the adversary's images"):
        training_sets(made, "in_and_out", 2)


# --- what attacks are held to ---


@pytest.mark.parametrize("draw", ["same", "disjoint"])
def test_draws_pass_the_check_before_an_attack(draw):
    made = wide()
    check_held_out(as_stored(shadow_erasures(made, draw, 40, 8, 2)), made)


def test_shared_images_and_models_are_found():
    made = wide()
    good = as_stored(shadow_erasures(made, "disjoint", 40, 8, 2))
    flags = good["validation"].clone()
    flags[0] = True  # another shadow of its model is for training
    with pytest.raises(AssertionError, match="share"):
        check_held_out({**good, "validation": flags, "candidate_rows": torch.arange(160).view(40, 4) + 1_000}, made)
    stolen = good["candidate_rows"].clone()
    stolen[0, 0] = made.targets.erased[0, 0]
    with pytest.raises(AssertionError, match="the targets, training shadows, validation shadows share images"):
        check_held_out({**good, "candidate_rows": stolen}, made)


def test_a_draw_is_a_function_of_the_seed():
    for draw, models in (("same", 0), ("disjoint", 8), ("in_and_out", 4)):
        first, again, other = (as_stored(shadow_erasures(wide(seed=n), draw, 40, models, 2)) for n in (1, 1, 2))
        assert torch.equal(first["candidate_rows"], again["candidate_rows"])
        assert not torch.equal(first["candidate_rows"], other["candidate_rows"])
