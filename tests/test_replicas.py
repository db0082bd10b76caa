"""K replicas in one stack are K models alone: replicated == looped (PROTOCOL section 11, rule 13)."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from small_worlds import (
    CLASSES,
    SEEDS,
    SHAPE,
    blobs,
    context,
    difference,
    equal,
    erasures,
    leak,
    replica,
    trained,
    unlearn,
    utility,
)
from torch import nn
from torch.nn import functional as F

from unlearnbench.context import Context
from unlearnbench.descent import LossDescent, clip
from unlearnbench.frozen import Frozen
from unlearnbench.plugin import LossMethod, Phase, TransformMethod
from unlearnbench.registry import discover
from unlearnbench.replicas import READ_EVERY
from unlearnbench.seeding import derive, stream
from unlearnbench.sets import BatchSource, ErasureSets
from unlearnbench.settings import Backdoor, Network, StopRule, Training
from unlearnbench.stack import Functional, Stack, concatenate
from unlearnbench.stopping import Stopper, mean_loss

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
DTYPES = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float64", "float32"])
TWENTY = StopRule(rule="steps", steps=20)
VARIANTS = {
    "crfu": [
        {},
        {"beta_u": 1.0},
        {"label_reference": "frozen_z"},
        {"reference_gradient": False},
        {"remember": "current_first"},
        {"reduction": "sum", "batch": 4, "lr": 1e-3},
        {"form": "released"},
    ],
    "vbu": [{}, {"log_threshold": -1.0}, {"form": "released"}],  # on weights: tests/methods/test_vbu_weights.py
    "renew": [{"steps": 20, "pieces": 2, "agreement": 0.1}],
    # Ten conjugate-gradient iterations blow rounding up; what vectorising does shows at few.
    "hbu": [{"solver_steps": 3}, {"solver_steps": 3, "damping": 1.0, "batch": 4, "radius": 0.01}],
}


def vectorised():
    """Every method written for one model and run for many, in every variant of its parameters."""
    methods = {n: i.cls for n, i in discover().methods.items() if issubclass(i.cls, LossMethod | TransformMethod)}
    return [
        pytest.param(cls, changes, id=f"{name}-{'-'.join(map(str, changes.values())) or 'defaults'}")
        for name, cls in methods.items()
        for changes in VARIANTS.get(name, [{}])
    ]


@cache
def originals(count, dtype):
    """Trained once for all tests, never changed by any."""
    return trained(utility(), erasures(), SEEDS[:count], dtype)


def alone(method, before, sets, scenario, seeds=SEEDS, dtype=torch.float64):
    """One replica after the other, each in a stack of its own."""
    runs = [
        unlearn(method, before.take(k, k + 1), sets.take(k, k + 1), scenario, seeds[k : k + 1], dtype)
        for k in range(sets.replicas)
    ]
    return concatenate([stack for stack, _ in runs]), torch.cat([used.steps for _, used in runs])


# --- replicated == looped ---


def test_the_registry_has_the_methods_that_are_compared():
    assert {"crfu", "vbu", "hbu"} <= {param.values[0].name for param in vectorised()}


@DTYPES
@pytest.mark.parametrize("shared", [True, False], ids=["shared original", "own originals"])
@pytest.mark.parametrize(("cls", "changes"), vectorised())
def test_unlearning_replicas_together_is_unlearning_each_alone(cls, changes, shared, dtype):
    method, scenario, sets = cls(cls.Params(**changes)), utility(stop=TWENTY), erasures()
    before = originals(1 if shared else 3, dtype)
    together, used = unlearn(method, before, sets, scenario, dtype=dtype)
    separate, steps = alone(method, before, sets, scenario, dtype=dtype)
    assert used.steps.tolist() == steps.tolist() == [20, 20, 20]
    assert difference(together, before.expand(3)) > 10 * TOLERANCE[dtype]  # something was learned
    assert difference(together, separate) < TOLERANCE[dtype]


def test_a_step_of_hbu_with_its_defaults_is_the_same_together_and_alone():
    method, scenario, sets = discover().methods["hbu"].cls(), utility(stop=StopRule(steps=1)), erasures()
    before = originals(3, torch.float64)
    together, _ = unlearn(method, before, sets, scenario)
    separate, _ = alone(method, before, sets, scenario)
    assert difference(together, separate) < 1e-9


@DTYPES
def test_training_replicas_together_is_training_each_alone(dtype):
    sets = erasures(members=44)  # 38 remaining: 4 steps of 8 and one of 6
    scenario = utility(training=Training(epochs=4, batch=8, lr=1e-3))
    used = context(scenario, SEEDS, dtype)
    together = used.train(sets)
    separate = concatenate([context(scenario, [SEEDS[k]], dtype).train(sets.take(k, k + 1)) for k in range(3)])
    assert used.steps.tolist() == [20] * 3
    assert difference(together, separate) < TOLERANCE[dtype]
    assert difference(replica(together, 0), replica(together, 1)) > 0.01


@pytest.mark.parametrize("size", [1, 2])
def test_the_number_of_models_at_a_time_changes_nothing_but_rounding(size):
    method = discover().methods["crfu"].cls()
    before, sets = originals(1, torch.float32), erasures()
    whole, _ = unlearn(method, before, sets, utility(stop=TWENTY), dtype=torch.float32)
    chunked, used = unlearn(method, before, sets, utility(stop=TWENTY, replicas=size), dtype=torch.float32)
    assert used.steps.tolist() == [20] * 3
    assert difference(whole, chunked) < 1e-4


# --- the trainer's gradient written out, against autograd ---


@DTYPES
@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize(
    "changes",
    [{}, {"kl_reduction": "sum", "clip": 0.5}, {"l2": 0.1}, {"batch": 7}],
    ids=["defaults", "sum, clipped", "l2", "batches of two sizes"],
)
def test_the_trainers_written_out_step_is_autograds(changes, replicas, dtype, monkeypatch):
    scenario = utility(beta=0.3, training=Training(**({"epochs": 3, "batch": 8, "lr": 5e-3} | changes)))
    sets = erasures(replicas, members=60)
    by_hand = context(scenario, SEEDS[:replicas], dtype).train(sets)
    monkeypatch.setattr("unlearnbench.mlp_descent.applies", lambda *_: False)
    steps = []
    step = LossDescent.step
    monkeypatch.setattr(LossDescent, "step", lambda self, inputs: steps.append(1) or step(self, inputs))
    by_autograd = context(scenario, SEEDS[:replicas], dtype).train(sets)
    assert len(steps) > 20
    assert difference(by_hand, by_autograd) < TOLERANCE[dtype]


# --- against torch.nn and torch.optim ---


@DTYPES
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_shared_trainer_is_adam_on_a_plain_module(dtype, reduction):
    """Eq. 2 written out, with torch.optim.Adam and clip_grad_norm_, on the same batches and noise."""
    training = Training(epochs=4, batch=8, lr=5e-3, clip=0.5, kl_reduction=reduction)
    scenario, sets, k = utility(training=training, beta=0.1), erasures(members=44), 1
    ours = replica(context(scenario, SEEDS, dtype).train(sets), k)

    model = context(scenario, [SEEDS[k]]).build(derive(SEEDS[k], "init")).to(dtype)
    first, second = model.representer, model.approximator
    adam = torch.optim.Adam(model.parameters(), lr=5e-3)
    order = stream(SEEDS[k], "order", "remaining", 0)
    normals = stream(derive(SEEDS[k], "noise", 0), "normal")
    rows, clipped, steps = sets.remaining(k), 0, 0
    for _ in range(4):
        for chosen in torch.from_numpy(order.permutation(len(rows))).split(8):
            images, labels = sets.pool.pixels[rows[chosen]].to(dtype) / 255, sets.pool.labels[rows[chosen]]
            mean, raw = first(images).split(5, 1)
            sigma = torch.log1p(raw.exp()) + 1e-6
            eps = torch.from_numpy(normals.standard_normal((len(chosen), 5), np.float32)).to(dtype)
            logits = second(mean + sigma * eps)
            kl = (0.5 * (sigma**2 + mean**2 - 1) - sigma.log()).sum(1) / (5 if reduction == "mean" else 1)
            loss = nn.CrossEntropyLoss()(logits, labels) + 0.1 * kl.mean()
            adam.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            clipped, steps = clipped + int(norm > 0.5), steps + 1
            adam.step()
    assert steps == 20
    assert clipped > 0
    assert difference(ours, Stack.of([model])) < TOLERANCE[dtype]


@DTYPES
def test_gradients_are_clipped_for_each_replica_as_torch_does(dtype):
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([0.01, 1.0, 1e6], dtype=dtype)
    gradients = [torch.randn(3, 4, 5, generator=generator, dtype=dtype) * sizes[:, None, None],
                 torch.randn(3, 4, generator=generator, dtype=dtype) * sizes[:, None]]  # fmt: skip
    ours = clip([*gradients, None], 5.0)
    assert ours[2] is None
    for k in range(3):
        params = [nn.Parameter(torch.zeros_like(g[k])) for g in gradients]
        for param, gradient in zip(params, gradients, strict=True):
            param.grad = gradient[k].clone()
        nn.utils.clip_grad_norm_(params, 5.0)
        for param, clipped in zip(params, ours, strict=False):
            torch.testing.assert_close(clipped[k], param.grad, rtol=1e-6, atol=1e-12)
    assert torch.equal(ours[0][0], gradients[0][0])  # under the limit: untouched


# --- methods that tests need ---


class Ascent(LossMethod):
    """Gradient ascent: forgets quickly, at another step for every erased set."""

    lr = 1e-3

    def phases(self, context):
        return [Phase(batch=4, lr=self.lr)]

    def loss(self, models, erased, remaining, state, noise):
        mean, scale = models.model.encode(erased.images)
        z = mean + 0.1 * scale * noise.normal(*mean.shape)
        return -erased.mean(F.cross_entropy(models.model.classify(z), erased.labels, reduction="none"))


class Anchored(Ascent):
    """Ascent that is held back by a state of its own: the mean erased image's logits, and a noise vector."""

    def prepare(self, models, erased, noise):
        return {"image": erased.images.mean(0, keepdim=True), "shift": [noise.normal(CLASSES)]}

    def loss(self, models, erased, remaining, state, noise):
        logits = models.model(state["image"]) + state["shift"][0]
        return super().loss(models, erased, remaining, state, noise) + 0.1 * logits.square().mean()


def backdoored(**rule):
    return utility(stop=StopRule(rule="backdoor", epochs=60, **rule), backdoor=Backdoor())


# --- the frozen model's outputs, computed once ---


class Watched(LossMethod):
    """Stays near what the frozen model makes of the erased images, and counts how often that is computed."""

    def __init__(self, batch, copied=False):
        super().__init__()
        self.batch, self.copied, self.seen = batch, copied, []

    def phases(self, context):
        return [Phase(batch=self.batch, lr=1e-2)]

    def loss(self, models, erased, remaining, state, noise):
        images = erased.images + 0 if self.copied else erased.images  # a copy is nothing that anybody knows
        mean, _ = models.model.encode(erased.images)
        fixed, scale = models.frozen.encode(images)
        shift = ((mean - 2 * fixed) / scale).square().mean(1)
        return erased.mean(shift - F.cross_entropy(models.model.classify(mean), erased.labels, reduction="none"))


@pytest.mark.parametrize("batch", [4, 6], ids=["minibatches", "the whole set"])
@pytest.mark.parametrize("count", [1, 3], ids=["shared original", "own originals"])
@pytest.mark.parametrize("replicas", [1, 3])
def test_what_the_frozen_model_makes_of_the_erased_images_is_remembered(batch, count, replicas):
    sets, before = erasures(replicas), originals(count, torch.float64).take(0, replicas)
    scenario = utility(stop=TWENTY)
    recalled, _ = unlearn(Watched(batch), before, sets, scenario)
    computed, _ = unlearn(Watched(batch, copied=True), before, sets, scenario)
    assert difference(recalled, before.expand(replicas)) > 0.01
    assert difference(recalled, computed) < 1e-12


def test_the_frozen_model_encodes_the_erased_images_twice_in_twenty_steps(monkeypatch):
    calls = []
    encode = Functional.encode
    monkeypatch.setattr(Functional, "encode", lambda self, x: calls.append(type(self)) or encode(self, x))
    unlearn(Watched(6), originals(1, torch.float64), erasures(), utility(stop=TWENTY))
    assert calls.count(Frozen) == 2  # when numbers are counted, and at the first step; then the whole set, once


# --- the stop rules ---


def accuracy(stack, sets):
    _, logits = stack.own_outputs(sets.pool.pixels[sets.erased])
    return (logits.argmax(-1) == sets.pool.labels[sets.erased]).float().mean(1)


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


def test_steps_and_samples_are_counted_for_each_replica():
    before, sets = originals(1, torch.float64), erasures()
    _, used = unlearn(Ascent(), before, sets, utility(stop=StopRule(rule="steps", steps=5)))
    assert used.steps.tolist() == [5] * 3
    assert used.samples.tolist() == [4 + 2 + 4 + 2 + 4] * 3
    _, used = unlearn(Ascent(), before, sets, utility(stop=StopRule(rule="none", epochs=3)))
    assert used.steps.tolist() == [6] * 3
    assert used.samples.tolist() == [18] * 3
    hbu = discover().methods["hbu"].cls
    _, used = unlearn(hbu(hbu.Params(curvature_images=16)), before, sets, utility(stop=StopRule(steps=3)))
    assert used.samples.tolist() == [3 * (6 + 10 * 16)] * 3  # ten iterations of the solver
    _, used = unlearn(Ascent(), before, sets, backdoored())
    assert [4 * (n // 2) + 2 * (n // 2) + 4 * (n % 2) for n in used.steps.tolist()] == used.samples.tolist()
    assert len(set(used.samples.tolist())) > 1


def test_counts_of_chunks_and_of_later_work_add_up():
    used = context(utility(replicas=2, stop=StopRule(steps=5)), SEEDS)
    before, sets = originals(1, torch.float64), erasures()
    for _ in range(2):
        Ascent().unlearn_many(before, sets, used)
    assert used.steps.tolist() == [10] * 3


# --- what must not spread ---


def test_a_replica_of_nan_touches_no_other():
    sets, healthy = erasures(), originals(3, torch.float32)
    sick = healthy.apply(torch.clone)
    for value in sick.params.values():
        value[1] = float("nan")
    scenario = utility(stop=TWENTY)
    expected, _ = unlearn(Ascent(), healthy, sets, scenario, dtype=torch.float32)
    found, _ = unlearn(Ascent(), sick, sets, scenario, dtype=torch.float32)
    assert equal(replica(found, 0, 2), replica(expected, 0, 2))
    assert all(value[1].isnan().all() for value in found.params.values())


def test_a_replica_with_huge_gradients_clips_no_other():
    class Scaled(Ascent):
        """The loss is multiplied by the brightest erased pixel."""

        def prepare(self, models, erased, noise):
            return erased.images.amax() ** 40

        def loss(self, models, erased, remaining, state, noise):
            return 1e3 * state * super().loss(models, erased, remaining, state, noise)

    sets, before = erasures(), originals(1, torch.float32)
    bright = sets.pool.pixels.clone()
    bright[sets.erased[1], :, 0, 0] = 255
    scenario = utility(stop=TWENTY)
    # Only the second replica's images change, and with them its gradient, by orders of magnitude.
    dim, _ = unlearn(Scaled(), before, sets, scenario, dtype=torch.float32)
    brighter = replace(sets, pool=replace(sets.pool, pixels=bright))
    loud, _ = unlearn(Scaled(), before, brighter, scenario, dtype=torch.float32)
    assert equal(replica(dim, 0, 2), replica(loud, 0, 2))
    assert not equal(replica(dim, 1), replica(loud, 1))


def test_unlearning_leaves_the_original_alone():
    before, sets = originals(3, torch.float64), erasures()
    copied = before.apply(torch.clone)
    unlearn(Ascent(), before, sets, utility(stop=TWENTY))
    assert equal(before, copied)


# --- phases ---


def test_trains_freezes_all_other_parameters():
    class Half(Ascent):
        def phases(self, context):
            return [Phase(batch=4, trains=lambda name: name.startswith("approximator"))]

    for count in (1, 3):
        before, sets = originals(count, torch.float64).expand(3), erasures()
        after, _ = unlearn(Half(), before, sets, utility(stop=StopRule(steps=3)))
        for name, value in after.params.items():
            assert torch.equal(value, before.params[name]) == name.startswith("representer"), name


def test_prepare_sees_each_replicas_whole_erased_set():
    seen = {}

    class Recording(Anchored):
        def loss(self, models, erased, remaining, state, noise):
            seen.setdefault("shape", state["image"].shape)
            return (models.model.params["approximator.0.bias"] * state["image"].mean()).sum()

        def phases(self, context):
            return [Phase(batch=4, optimiser="sgd", lr=1.0, clip=None)]

    before, sets = originals(1, torch.float64), erasures()
    after, _ = unlearn(Recording(), before, sets, utility(stop=StopRule(steps=1)))
    moved = (before.params["approximator.0.bias"] - after.params["approximator.0.bias"])[:, 0]
    expected = torch.stack([(sets.splits(k).erased.pixels.double() / 255).mean() for k in range(3)])
    torch.testing.assert_close(moved, expected, rtol=1e-12, atol=0)
    assert seen["shape"] == (1, *SHAPE)


def test_phases_follow_one_another_with_their_own_losses_and_lengths():
    def towards(value):
        def loss(models, erased, remaining, state, noise):
            return (models.model.params["approximator.0.bias"] - value).square().sum()

        return loss

    class TwoPhases(Ascent):
        def phases(self, context):
            plain = {"optimiser": "sgd", "clip": None, "lr": 0.5, "batch": 4}
            return [
                Phase(loss=towards(3.0), steps=2, **plain),
                Phase(loss=towards(-1.0), over="remaining", epochs=1, **plain),
            ]

    before, sets = originals(1, torch.float64), erasures(members=60)
    after, used = unlearn(TwoPhases(), before, sets, utility())
    # With lr 1/2 one step of gradient descent on (b - v)^2 is at v: the last phase decides.
    torch.testing.assert_close(after.params["approximator.0.bias"], torch.full((3, 12), -1.0, dtype=torch.float64))
    assert used.steps.tolist() == [2 + 14] * 3  # 54 remaining in batches of 4
    assert used.samples.tolist() == [4 + 2 + 54] * 3


def test_watch_is_called_at_the_end_of_each_epoch():
    calls = []
    before, sets = originals(1, torch.float64), erasures(replicas=1)
    scenario = utility(stop=StopRule(rule="none", epochs=3))
    used = Context(scenario, SEEDS[:1], SHAPE, CLASSES, dtype=torch.float64)
    used.watch = lambda epoch, step, stack: calls.append((epoch, step, stack.apply(torch.clone)))
    after = Ascent().unlearn_many(before, sets, used)
    assert [call[:2] for call in calls] == [(1, 2), (2, 4), (3, 6)]
    assert equal(calls[-1][2], after)
    assert not equal(calls[0][2], after)


# --- batch normalisation ---


@pytest.fixture(scope="module")
def resnet():
    """A ResNet-18 on 8x8 images: two replicas trained together and alone, for 2 steps of 4 and 3 images."""
    pool = blobs(20, shape=(3, 8, 8))
    sets = ErasureSets(pool, torch.arange(9), torch.tensor([[0, 1], [4, 7]]))
    scenario = utility(network=Network(name="resnet18", hidden=8, latent=4), stop=StopRule(steps=1),
                       training=Training(epochs=1, batch=4, lr=1e-3))  # fmt: skip

    def make(k, last):
        return Context(scenario, SEEDS[k:last], (3, 8, 8), CLASSES, dtype=torch.float64)

    together = make(0, 2).train(sets)
    separate = concatenate([make(k, k + 1).train(sets.take(k, k + 1)) for k in range(2)])
    return scenario, sets, make, together, separate


def test_batch_normalised_replicas_train_as_alone_in_train_mode(resnet):
    *_, together, separate = resnet
    assert float(together.buffers["representer.bn1.running_mean"].abs().min()) > 0
    assert together.buffers["representer.bn1.num_batches_tracked"].tolist() == [2, 2]
    assert difference(together, separate) < 1e-9


def test_batch_normalised_replicas_are_erased_in_eval_mode_as_alone(resnet):
    _, sets, make, together, _ = resnet
    method = discover().methods["crfu"].cls()
    after = method.unlearn_many(together, sets, make(0, 2))
    separate = concatenate(
        [method.unlearn_many(together.slice(k, k + 1), sets.take(k, k + 1), make(k, k + 1)) for k in range(2)]
    )
    assert difference(after, separate) < 1e-9
    assert difference(after, together) > 1e-4
    for name, value in after.buffers.items():
        assert torch.equal(value, together.buffers[name]), name
