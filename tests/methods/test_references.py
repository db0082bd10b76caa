"""The references: the untouched original, and retraining."""

from dataclasses import replace

import pytest
import torch
from small_worlds import SEEDS, context, difference, equal, erasures, replica, trained, unlearn, utility
from unlearnbench.methods.original import Original
from unlearnbench.methods.retrain import Retrain

from unlearnbench.sets import ErasureSets
from unlearnbench.settings import Training

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
