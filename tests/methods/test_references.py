"""The references: the untouched original, and retraining."""

from dataclasses import replace

import pytest
import torch
from small_worlds import SEEDS, context, difference, equal, erasures, flat, replica, trained, unlearn, utility
from unlearnbench.methods.original import Original
from unlearnbench.methods.retrain import Retrain
from unlearnbench.methods.retrain_paired import RetrainPaired
from unlearnbench.methods.seed_noise import SeedNoise

from unlearnbench.plugin import Images
from unlearnbench.settings.scenario import Training
from unlearnbench.splits.erasure_sets import ErasureSets

SCENARIO = utility(training=Training(epochs=3, batch=8))


@pytest.mark.parametrize("count", [1, 3])
def test_original_is_the_model_before_for_each_replica(count):
    before = trained(SCENARIO, erasures(), SEEDS[:count])
    after, used = unlearn(Original(), before, erasures(), SCENARIO)
    assert after.replicas == 3
    for k in range(3):
        assert equal(replica(after, k), replica(before, k % count))
    assert used.steps.tolist() == used.samples.tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_retraining_with_nothing_erased_and_the_same_seed_is_the_training(dtype):
    sets = erasures()
    before = trained(SCENARIO, sets, SEEDS[:1], dtype)
    nothing = ErasureSets(sets.pool, sets.members, torch.empty(1, 0, dtype=torch.int64))
    again, used = unlearn(Retrain(), before, nothing, SCENARIO, SEEDS[:1], dtype)
    assert equal(again, before)
    assert used.steps.tolist() == [3 * 8]
    assert used.samples.tolist() == [3 * 60]
    other_seed, _ = unlearn(Retrain(), before, nothing, SCENARIO, SEEDS[1:2], dtype)
    assert difference(other_seed, before) > 0.1


def test_retraining_never_sees_what_is_erased():
    sets = erasures()
    before = trained(SCENARIO, sets, SEEDS[:1])
    after, used = unlearn(Retrain(), before, sets, SCENARIO)
    pixels, labels = sets.pool.pixels.clone(), sets.pool.labels.clone()
    pixels[sets.erased[1]] = 255 - pixels[sets.erased[1]]
    labels[sets.erased[1]] = 3 - labels[sets.erased[1]]
    changed = replace(sets, pool=replace(sets.pool, pixels=pixels, labels=labels))
    again, _ = unlearn(Retrain(), before, changed, SCENARIO)
    assert equal(replica(again, 1), replica(after, 1))
    assert not equal(replica(again, 0), replica(after, 0))  # for others they are remaining images
    assert used.samples.tolist() == [3 * 54] * 3


def test_retraining_starts_afresh():
    sets = erasures()
    starts = [trained(SCENARIO, sets, [seed]) for seed in SEEDS[:2]]
    first, second = (unlearn(Retrain(), start, sets, SCENARIO)[0] for start in starts)
    assert equal(first, second)


def test_training_learns():
    sets = erasures()
    model = trained(utility(), sets, SEEDS[:1])
    _, logits = model.outputs(sets.pool.pixels[:60])
    right = float((logits[0].argmax(1) == sets.pool.labels[:60]).float().mean())
    fresh = context(utility(), [1]).build(1)
    chance = float((fresh(sets.pool.scaled[:60]).argmax(1) == sets.pool.labels[:60]).float().mean())
    assert right > 0.85 > chance


# --- the other references ---


def as_trained(sets, seeds, method, origin):
    """Erasures by a reference that trains, each from the original that was trained with its seed of `origin`."""
    used = context(utility(), seeds)
    used.origin = origin
    nothing = ErasureSets(sets.pool, sets.members, sets.erased[:1, :0])
    before = context(utility(), origin).train(nothing)
    return before, method.unlearn_many(before, sets, used), used


def test_paired_retraining_without_anything_to_mask_is_the_original():
    sets = erasures(replicas=2)
    nothing = ErasureSets(sets.pool, sets.members, sets.erased[:, :0])
    before, after, _ = as_trained(nothing, SEEDS[:2], RetrainPaired(), [77])
    assert difference(before.expand(2), after) < 1e-9


def test_paired_retraining_is_nearer_to_the_original_than_retraining_and_does_not_see_the_erased():
    sets = erasures(size=2)
    before, paired, used = as_trained(sets, SEEDS, RetrainPaired(), [77])
    _, retrained, _ = as_trained(sets, SEEDS, Retrain(), [77])
    assert difference(before.expand(3), paired) < 0.5 * difference(before.expand(3), retrained)
    assert bool((used.steps > 0).all())
    blank = sets.pool.pixels.clone()
    blank[sets.erased[0]] = 0
    masked = replace(sets, pool=Images(blank, sets.pool.labels, sets.pool.ids)).take(0, 1)
    _, other, _ = as_trained(masked, SEEDS[:1], RetrainPaired(), [77])
    assert difference(replica(paired, 0), other) < 1e-9


def test_a_minibatch_of_erased_images_alone_moves_nothing_astray():
    sets = erasures(replicas=1, size=1, members=57)  # minibatches of 8: one image in the last
    _, after, _ = as_trained(sets, SEEDS[:1], RetrainPaired(), [77])
    assert bool(torch.isfinite(flat(after.params)).all())


def test_paired_retraining_needs_to_know_how_the_original_was_trained():
    sets = erasures()
    with pytest.raises(ValueError, match="random numbers are not known"):
        RetrainPaired().unlearn_many(trained(utility(), sets, SEEDS[:1]), sets, context(utility(), SEEDS))


def test_seed_noise_trains_on_everything_with_a_fresh_seed():
    sets = erasures()
    _, after, _ = as_trained(sets, SEEDS, SeedNoise(), [77])
    nothing = ErasureSets(sets.pool, sets.members, sets.erased[:, :0])
    assert equal(after, context(utility(), SEEDS).train(nothing))
