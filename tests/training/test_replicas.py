"""K replicas in one stack are K models alone: replicated == looped (docs/protocol.md#replicas)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from replica_cases import DTYPES, TOLERANCE, TWENTY, Anchored, Ascent, alone, backdoored, originals
from small_worlds import (
    CLASSES,
    SEEDS,
    SHAPE,
    blobs,
    context,
    difference,
    equal,
    erasures,
    replica,
    unlearn,
    utility,
)
from torch import nn

from unlearnbench.models.stack import Stack
from unlearnbench.plugin import LossMethod, Phase, TransformMethod
from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import Network, StopRule, Training
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.system.seeding import derive, stream
from unlearnbench.training.context import Context
from unlearnbench.training.descent import clip

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
    # Lengths of their own that come to twenty steps: 54 remaining images are five minibatches of 11, three of 18.
    "fine_tune": [{"epochs": 4, "batch": 11}],
    "scrub": [{"epochs": 5, "max_epochs": 5, "batch": 18}],
    "neggrad_plus": [{}, {"alpha": 0.5}],
    "random_label": [{}, {"weight": 0}],
    "bad_teacher": [{}, {"temperature": 3.0}],
    "salun": [{}, {"share": 0.1, "alpha": 0}],
    "ssd": [{"selection": 1.0}, {"selection": 1.0, "images": 20}],
    "hbu": [{"solver_steps": 3}, {"solver_steps": 3, "damping": 1.0, "batch": 4, "radius": 0.01}],
}

ONE_STEP = {"ssd"}


def vectorised():
    """Every method written for one model and run for many, in every variant of its parameters."""
    methods = {n: i.cls for n, i in discover().methods.items() if issubclass(i.cls, LossMethod | TransformMethod)}
    return [
        pytest.param(cls, changes, id=f"{name}-{'-'.join(map(str, changes.values())) or 'defaults'}")
        for name, cls in methods.items()
        for changes in VARIANTS.get(name, [{}])
    ]


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
    assert used.steps.tolist() == steps.tolist() == [1 if method.name in ONE_STEP else 20] * 3
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
    separate = Stack.concatenate([context(scenario, [SEEDS[k]], dtype).train(sets.take(k, k + 1)) for k in range(3)])
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


# --- counts ---


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
    used.watch = lambda first, epoch, step, stack: calls.append((first, epoch, step, stack.apply(torch.clone)))
    after = Ascent().unlearn_many(before, sets, used)
    assert [call[:3] for call in calls] == [(0, 1, 2), (0, 2, 4), (0, 3, 6)]
    assert equal(calls[-1][3], after)
    assert not equal(calls[0][3], after)


def test_watch_is_told_which_replicas_a_chunk_is_of():
    calls = []
    before, sets = originals(3, torch.float64), erasures()
    used = context(utility(stop=StopRule(rule="none", epochs=2), replicas=2), SEEDS)
    used.watch = lambda first, epoch, step, stack: calls.append((first, epoch, stack.apply(torch.clone)))
    after = Ascent().unlearn_many(before, sets, used)
    assert [call[:2] for call in calls] == [(0, 1), (0, 2), (2, 1), (2, 2)]
    assert equal(calls[1][2], replica(after, 0, 1))
    assert equal(calls[3][2], replica(after, 2))


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
    separate = Stack.concatenate([make(k, k + 1).train(sets.take(k, k + 1)) for k in range(2)])
    return scenario, sets, make, together, separate


def test_batch_normalised_replicas_train_as_alone_in_train_mode(resnet):
    *_, together, separate = resnet
    assert float(together.buffers["representer.bn1.running_mean"].abs().min()) > 0
    assert together.buffers["representer.bn1.num_batches_tracked"].tolist() == [2, 2]
    assert difference(together, separate) < 1e-9


@pytest.mark.parametrize(("side", "batches"), [(8, 2), (9, 3)], ids=["one value a channel", "four"])
def test_a_last_image_that_batch_normalisation_can_not_take_is_joined_to_its_neighbour(side, batches):
    """9 images by 4. From 9x9 the last layers have 2x2 values of an image, which is trained on by itself as ever."""
    pool = blobs(20, shape=(1, side, side))
    sets = ErasureSets(pool, torch.arange(9), torch.empty(1, 0, dtype=torch.int64))
    network, training = Network(name="resnet18", hidden=8, latent=4), Training(epochs=1, batch=4, lr=1e-3)
    context = Context(utility(network=network, training=training), SEEDS[:1], (1, side, side), CLASSES)
    assert context.train(sets).buffers["representer.bn1.num_batches_tracked"].tolist() == [batches]


@pytest.mark.parametrize(("members", "batch"), [(1, 4), (9, 1)])
def test_what_batch_normalisation_can_not_take_at_all_is_said_in_words(members, batch):
    pool = blobs(20, shape=(1, 8, 8))
    sets = ErasureSets(pool, torch.arange(members), torch.empty(1, 0, dtype=torch.int64))
    scenario = utility(network=Network(name="resnet18"), training=Training(epochs=1, batch=batch))
    with pytest.raises(ValueError, match="train it on minibatches of two images or more"):
        Context(scenario, SEEDS[:1], (1, 8, 8), CLASSES).train(sets)


def test_batch_normalised_replicas_are_erased_in_eval_mode_as_alone(resnet):
    _, sets, make, together, _ = resnet
    method = discover().methods["crfu"].cls()
    after = method.unlearn_many(together, sets, make(0, 2))
    separate = Stack.concatenate(
        [method.unlearn_many(together.slice(k, k + 1), sets.take(k, k + 1), make(k, k + 1)) for k in range(2)]
    )
    assert difference(after, separate) < 1e-9
    assert difference(after, together) > 1e-4
    for name, value in after.buffers.items():
        assert torch.equal(value, together.buffers[name]), name
