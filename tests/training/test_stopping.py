"""The stop rules: each replica ends at its own step, and stays as it was then."""

import math

import pytest
import torch
from replica_cases import DTYPES, TOLERANCE, Anchored, Ascent, accuracy, alone, backdoored, originals
from small_worlds import CLASSES, SEEDS, blobs, difference, equal, erasures, leak, replica, unlearn, utility
from torch.nn import functional as F

from unlearnbench.settings.scenario import StopRule
from unlearnbench.splits.batches import BatchSource
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.training.replica_run import READ_EVERY
from unlearnbench.training.stopping import Stopper, mean_loss


@DTYPES
@pytest.mark.parametrize("method", [Ascent(), Anchored()], ids=["no state", "state"])
def test_replicas_that_stop_at_different_steps_stop_as_alone(method, dtype):
    sets, before = erasures(), originals(3, dtype)
    together, used = unlearn(method, before, sets, backdoored(), dtype=dtype)
    separate, steps = alone(method, before, sets, backdoored(), dtype=dtype)
    assert len(set(used.steps.tolist())) > 1  # the replicas do stop at different steps
    assert used.steps.tolist() == steps.tolist()
    assert difference(together, separate) < TOLERANCE[dtype]


@DTYPES
@pytest.mark.parametrize("method", [Ascent(), Anchored()], ids=["no state", "state"])
def test_replicas_end_at_their_own_steps_when_nobody_looks_for_a_while(method, dtype, monkeypatch):
    """As on a GPU, where a look at each step would cost more than the step."""
    sets, before = erasures(), originals(3, dtype)
    looked, used = unlearn(method, before, sets, backdoored(), dtype=dtype)
    monkeypatch.setitem(READ_EVERY, "cpu", 7)
    later, later_used = unlearn(method, before, sets, backdoored(), dtype=dtype)
    assert any(step % 7 for step in used.steps.tolist())
    assert later_used.steps.tolist() == used.steps.tolist()
    assert later_used.samples.tolist() == used.samples.tolist()
    assert difference(looked, later) < TOLERANCE[dtype]


def test_the_last_steps_of_a_phase_need_no_look(monkeypatch):
    sets, before = erasures(), originals(3, torch.float64)
    _, used = unlearn(Ascent(), before, sets, backdoored())
    monkeypatch.setitem(READ_EVERY, "cpu", 10_000)
    later, later_used = unlearn(Ascent(), before, sets, backdoored())
    assert later_used.steps.tolist() == used.steps.tolist()
    assert accuracy(later, sets).max() < 0.02


def test_backdoor_rule_ends_below_the_threshold_and_not_before():
    sets, before = erasures(), originals(3, torch.float64)
    assert accuracy(before, sets).min() > 0.9
    stopped, used = unlearn(Ascent(), before, sets, backdoored())
    assert accuracy(stopped, sets).max() < 0.02
    ends = used.steps.tolist()
    # The rule looks at the erased set after an epoch (2 steps of 4 and 2) or a minibatch without a right answer.
    for k, end in enumerate(ends):
        for step in range(2, end, 2):
            scenario = utility(stop=StopRule(rule="steps", steps=step))
            early, _ = unlearn(Ascent(), replica(before, k), sets.take(k, k + 1), scenario, SEEDS[k : k + 1])
            assert float(accuracy(early, sets.take(k, k + 1))) >= 0.02


def test_a_stopped_replica_stays_as_it_was_and_disturbs_no_other():
    dtype, sets, before = torch.float32, erasures(), originals(3, torch.float32)
    stopped, used = unlearn(Ascent(), before, sets, backdoored(), dtype=dtype)
    first = int(used.steps.argmin())
    others = [k for k in range(3) if k != first]
    # Bit for bit the parameters of the moment, in a run of the same three that ends there.
    moment = utility(stop=StopRule(rule="steps", steps=int(used.steps[first])))
    there, _ = unlearn(Ascent(), before, sets, moment, dtype=dtype)
    assert equal(replica(stopped, first), replica(there, first))
    assert used.steps[others].min() > used.steps[first]
    # The others as in a run without it.
    fewer = ErasureSets(sets.pool, sets.members, sets.erased[others])
    without, fewer_used = unlearn(
        Ascent(), replica(before, *others), fewer, backdoored(), [SEEDS[k] for k in others], dtype
    )
    assert fewer_used.steps.tolist() == used.steps[others].tolist()
    assert difference(replica(stopped, *others), without) < 1e-5


def test_a_replicas_minibatch_does_not_stop_another():
    """Alone, the second replica would not be looked at before the end of its epoch."""
    pool = blobs(8)
    labels = torch.zeros(2, 4, dtype=torch.int64)
    rows = torch.arange(8).view(2, 4)
    whole = BatchSource(pool, rows, None, [], torch.float32).whole()._replace(labels=labels)
    minibatch = whole._replace(images=whole.images[:, :2], labels=labels[:, :2])

    def predict(images):
        """All wrong, but that the second replica's minibatch is right."""
        logits = torch.zeros(2, images.shape[1], CLASSES)
        logits[..., 1] = 1
        if images.shape[1] == 2:
            logits[1, 0, 0] = 2
        return logits

    stopper = Stopper(StopRule(rule="backdoor"), whole, None)
    assert stopper.done(predict, minibatch, epoch_ends=False).tolist() == [True, False]
    assert stopper.done(predict, minibatch, epoch_ends=True).tolist() == [True, True]


def test_match_holdout_compares_the_mean_losses_of_each_replica():
    sets = erasures()
    erased, unseen = (
        BatchSource(sets.pool, rows, None, [], torch.float64).whole() for rows in (sets.erased, sets.holdout)
    )
    sure = torch.tensor([1.0, 0.0, 2.0])  # of the erased images; never-seen ones are at 1

    def predict(images):
        certainty = sure if torch.equal(images, erased.images) else torch.ones(3)
        return certainty[:, None, None] * F.one_hot(erased.labels, CLASSES)

    stopper = Stopper(StopRule(rule="match_holdout"), erased, unseen)
    assert stopper.done(predict, None, epoch_ends=False).tolist() == [True, True, False]
    torch.testing.assert_close(mean_loss(predict, unseen), torch.full((3,), math.log(1 + 3 / math.e)))


def test_match_holdout_ends_at_the_first_step_where_the_losses_meet():
    sets, before, limit = erasures(), originals(3, torch.float64), 8
    scenario = leak(erased_count=6, targets=3, stop=StopRule(rule="match_holdout", epochs=limit // 2))
    _, used = unlearn(Ascent(), before, sets, scenario)

    gaps = []
    for steps in range(1, limit + 1):
        stack, _ = unlearn(Ascent(), before, sets, utility(stop=StopRule(steps=steps)))
        losses = []
        for rows in (sets.erased, sets.holdout):
            _, logits = stack.own_outputs(sets.pool.pixels[rows])
            losses.append(F.cross_entropy(logits.mT, sets.pool.labels[rows], reduction="none").mean(1))
        gaps.append(losses[0] - losses[1])
    ends = [next((n for n, gap in enumerate(row, 1) if gap >= 0), limit) for row in torch.stack(gaps, 1).tolist()]
    assert used.steps.tolist() == ends
    assert 1 < min(ends) < max(ends) == limit  # one meets on the way, another never


def test_match_holdout_without_never_seen_images_is_refused():
    sets = erasures()
    scenario = leak(stop=StopRule(rule="match_holdout"))
    bare = ErasureSets(sets.pool, sets.members, sets.erased)
    with pytest.raises(ValueError, match="never-seen"):
        unlearn(Ascent(), originals(1, torch.float64), bare, scenario)
