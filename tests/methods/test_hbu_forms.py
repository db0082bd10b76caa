"""HBU's forms: which parameters belong together, the diagonal and the released step, and replicas."""

from functools import cache
from math import sqrt

import pytest
import torch
from pydantic import ValidationError
from small_worlds import SEEDS, context, difference, erasures, flat, trained, unlearn, utility
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector
from unlearnbench.methods.hbu import Hbu

from unlearnbench.models.noise import NoiseStreams, StreamNoise
from unlearnbench.models.stack import Functional, Stack
from unlearnbench.plugin import Batch, Models
from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import Network, Scenario, StopRule, Training
from unlearnbench.settings.validation import check, within
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.stages.result_checks import PluginError, erase
from unlearnbench.system.seeding import derive, stream

F64 = torch.float64
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


# --- parameters ---


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"form": "released", "solver": "diagonal"}, "form 'released' has no solver"),
        ({"form": "released", "damping": 1.0, "batch": None}, "form 'released' has no damping and no batch"),
        ({"hessian_rate": 1e-3}, "form 'paper' has no hessian_rate"),
        ({"solver": "diagonal", "solver_steps": 3}, "solver 'diagonal' has no solver_steps"),
        ({"probes": 4}, "solver 'newton' has no probes"),
        ({"delta": 1e-3}, "without perturbation has no delta"),
    ],
)
def test_parameters_of_another_form_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        Hbu.Params(**values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"form": "released", "hessian_rate": 0.0, "perturbation": 0.1, "delta": 0.01, "steps": 3},
        {"solver": "diagonal", "probes": 3, "curvature": "gauss_newton"},
        {"curvature_images": None, "batch": None, "radius": None, "damping": 0.0, "steps": 1, "curvature": "hessian"},
    ],
)
def test_parameters_survive_being_written_out_with_all_defaults(values):
    params = Hbu.Params(**values)
    assert check(Hbu.Params, params.model_dump(mode="json"), within("hbu")) == params


def test_no_damping_needs_a_penalty():
    bare = Hbu(Hbu.Params(damping=0.0))
    assert "training.l2" in bare.skip(utility())
    assert bare.skip(utility(training=Training(l2=1e-4))) is None
    assert Hbu().skip(utility()) is None
    assert Hbu(Hbu.Params(form="released")).skip(utility()) is None


# --- phases: batches, steps and what is counted ---


def counted(params, members=60, **changes):
    scenario, sets = utility(stop=StopRule(steps=4), **changes), erasures(1, members=members)
    before = context(scenario, SEEDS[:1]).fresh()
    _, used = unlearn(Hbu(Hbu.Params(**params)), before, sets, scenario)
    return int(used.steps[0]), int(used.samples[0])


@pytest.mark.parametrize(
    ("params", "steps", "samples"),
    [
        ({"steps": 1, "solver_steps": 3, "curvature_images": 10}, 1, 6 + 3 * 10),
        ({"steps": 2, "solver_steps": 3, "curvature_images": None, "batch": 4}, 2, 4 + 2 + 2 * 3 * 54),
        ({"solver_steps": 2, "curvature_images": 10, "batch": None}, 4, 4 * (6 + 2 * 10)),
        ({"solver": "diagonal", "probes": 5, "curvature_images": 10}, 4, 4 * (6 + 5 * 10)),
        # Batches of 8 of 6 erased and of 54 remaining.
        ({"form": "released"}, 4, 4 * (6 + 8)),
        ({"form": "released", "steps": 1}, 1, 6 + 8),
    ],
)
def test_steps_and_samples_are_counted_with_every_curvature_product(params, steps, samples):
    assert counted(params) == (steps, samples)


def test_measuring_the_certificate_is_counted_too():
    changes = {"network": Network(name="linear"), "training": Training(l2=0.1)}
    params = {"steps": 1, "solver_steps": 3, "curvature_images": 10}
    assert counted(params | {"perturbation": 0.1}, **changes)[1] == counted(params, **changes)[1] + 54


def test_steps_are_the_most_and_null_leaves_them_to_the_stop_rule():
    assert [counted({"steps": steps})[0] for steps in (1, 3, None)] == [1, 3, 4]


def test_curvature_on_all_images_is_that_of_one_chunk(monkeypatch):
    scenario, sets = utility(stop=StopRule(steps=1)), erasures()
    before = trained(scenario, sets, SEEDS[:1])
    method = Hbu(Hbu.Params(curvature_images=None, batch=None, solver_steps=3))
    whole, _ = unlearn(method, before, sets, scenario)
    monkeypatch.setattr("unlearnbench.methods.hbu.SMALL_CHUNK", 5)
    chunked, _ = unlearn(method, before, sets, scenario)
    assert difference(whole, before.expand(3)) > 1e-3
    assert difference(whole, chunked) < 1e-10


# --- a Hessian that is not positive ---


def test_negative_curvature_fails_the_cell_and_damping_cures_it():
    sets, scenario = erasures(), utility(stop=StopRule(steps=1))
    before = context(scenario, SEEDS[:1]).fresh()

    def params(damping):
        return Hbu.Params(curvature="hessian", damping=damping, curvature_images=None)

    with pytest.raises(PluginError, match=r"unlearning with hbu made .* not finite"):
        erase(hbu_of_the_registry(params(1e-4)), before, sets, context(scenario, SEEDS))
    after = erase(hbu_of_the_registry(params(1.0)), before, sets, context(scenario, SEEDS))
    assert difference(after, before.expand(3)) > 1e-5


def hbu_of_the_registry(params):
    return discover().methods["hbu"].cls(params)


# --- one model, its batches and its noise, and the same in plain autograd ---


@pytest.fixture
def small():
    """An information-bottleneck model off its optimum, and batches of 4 and 5 images."""
    scenario = utility(beta=0.3, training=Training(lr=2e-3, batch=8), network=Network(hidden=5, latent=3))
    sets = erasures(1)
    stack = context(scenario, SEEDS[:1]).fresh()
    batches = []
    for rows in (torch.arange(0, 16, 4), torch.arange(21, 26)):
        images = sets.pool.take(rows)
        batches.append(Batch(images.pixels.double() / 255, images.labels, torch.ones(len(rows), dtype=F64), rows))
    return scenario, stack, *batches


def transformed(params, small, seed=5):
    """One step of the method with the noise of a seed, as one vector."""
    scenario, stack, erased, remaining = small
    model = Functional(stack.router(False), {n: v[0] for n, v in stack.params.items()}, {})
    models = Models(model, model, scenario, 4, 50)
    noise = StreamNoise(NoiseStreams(seed), torch.device("cpu"), F64)
    return flat(Hbu(params).transform(models, erased, remaining, noise))


def on_vectors(module, loss):
    """A loss of a module as a function of all its parameters as one vector."""

    def of(vector):
        names = [name for name, _ in module.named_parameters()]
        parts = vector.split([value.numel() for value in module.parameters()])
        values = {n: p.view(v.shape) for n, p, v in zip(names, parts, module.parameters(), strict=True)}
        return torch.func.functional_call(_Loss(module, loss), {f"module.{n}": v for n, v in values.items()}, ())

    return of


class _Loss(torch.nn.Module):
    def __init__(self, module, loss):
        super().__init__()
        self.module, self.loss = module, loss

    def forward(self):
        return self.loss(self.module)


def probe_of(generator, module):
    """Signs as `random_signs` draws them, as one vector."""
    draws = [generator.random(value.numel(), "float32") for value in module.parameters()]
    return torch.cat([torch.from_numpy(draw) for draw in draws]).lt(0.5).double() * 2 - 1


def derivatives(module, loss):
    """Gradient and Hessian of a loss at a module's parameters."""
    start = parameters_to_vector(module.parameters()).detach()
    of = on_vectors(module, loss)
    return (
        start,
        torch.autograd.functional.jacobian(of, start, create_graph=False),
        torch.autograd.functional.hessian(of, start),
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("l2", "hessian_rate"), [(0.0, None), (0.2, 3e-3)])
def test_a_released_step_is_the_formula_written_out(small, reduction, l2, hessian_rate):
    scenario, stack, erased, remaining = small
    training = scenario.training.model_copy(update={"kl_reduction": reduction, "l2": l2})
    scenario = scenario.model_copy(update={"training": training})
    found = transformed(Hbu.Params(form="released", hessian_rate=hessian_rate), (scenario, stack, erased, remaining))

    module, normals, uniforms = stack.module(0), stream(5, "normal"), stream(5, "uniform")
    eps_r = torch.from_numpy(normals.standard_normal((5, 3), "float32")).double()
    eps_e = torch.from_numpy(normals.standard_normal((4, 3), "float32")).double()

    def loss(batch, eps):
        def of(model):
            mean, raw = model.representer(batch.images).chunk(2, 1)
            sigma = torch.log1p(raw.exp()) + 1e-6
            logits = model.approximator(mean + sigma * eps)
            kl = (0.5 * (sigma**2 + mean**2 - 1) - sigma.log()).sum(1).mean() / (3 if reduction == "mean" else 1)
            squares = sum(value.square().sum() for value in model.parameters())
            return F.cross_entropy(logits, batch.labels) + 0.3 * kl + l2 / 2 * squares

        return of

    start, _, h_r = derivatives(module, loss(remaining, eps_r))
    _, g_e, _ = derivatives(module, loss(erased, eps_e))
    z = probe_of(uniforms, module)
    c = (0.1 * 2e-3 + (1e-4 if hessian_rate is None else hessian_rate)) * 0.1
    expected = start + c * g_e / (sqrt(0.001) * (z * (h_r @ z)).abs() + 2e-3)
    assert float((expected - start).abs().max()) > 1e-5
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_the_rate_of_the_released_step_is_the_scripts():
    def rate(**changes):
        return Hbu(Hbu.Params(form="released")).released_rate(Scenario(kind="utility", erased_count=1, **changes))

    assert rate() == pytest.approx(2e-5, rel=1e-12)
    resnet = {"network": Network(name="resnet18"), "training": Training(lr=5e-4)}
    assert rate(**resnet) == pytest.approx(5e-6, rel=2e-4)
    assert rate(**resnet) == pytest.approx(5.0005e-6, rel=1e-12)


@pytest.mark.parametrize("curvature", [None, "gauss_newton"])
@pytest.mark.parametrize("probes", [1, 3])
def test_a_diagonal_step_is_the_formula_written_out(small, probes, curvature):
    scenario, stack, erased, remaining = small
    scenario = scenario.model_copy(update={"training": scenario.training.model_copy(update={"l2": 0.02})})
    params = Hbu.Params(solver="diagonal", probes=probes, curvature=curvature, damping=0.1, radius=None)
    found = transformed(params, (scenario, stack, erased, remaining))

    module, uniforms = stack.module(0), stream(5, "uniform")

    def loss(batch):
        return lambda model: F.cross_entropy(model(batch.images), batch.labels)

    start, _, matrix = derivatives(module, loss(remaining))
    _, g_e, _ = derivatives(module, loss(erased))
    if curvature == "gauss_newton":
        j = torch.autograd.functional.jacobian(on_vectors(module, lambda model: model(remaining.images)), start)
        p = module(remaining.images).detach().softmax(1)
        matrix = torch.einsum("byi,byz,bzj->ij", j, torch.diag_embed(p) - p[:, :, None] * p[:, None], j) / 5
    estimates = []
    for _ in range(probes):
        z = probe_of(uniforms, module)
        estimates.append(z * (matrix @ z))
    h = (torch.stack(estimates).mean(0) + 0.02).abs()
    expected = start + 4 / 50 * (g_e + 0.02 * start) / (h + 0.1)
    assert float((expected - start).abs().max()) > 1e-3
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("curvature", ["gauss_newton", "hessian"])
def test_a_newton_step_holds_the_penalty_on_both_sides(small, curvature):
    """(H + (l2 + damping) I)^-1 (g_e + l2 theta), solved densely."""
    scenario, stack, erased, remaining = small
    scenario = scenario.model_copy(update={"training": scenario.training.model_copy(update={"l2": 0.5})})
    params = Hbu.Params(curvature=curvature, damping=0.5, radius=None, solver_steps=60)
    found = transformed(params, (scenario, stack, erased, remaining))
    module = stack.module(0)

    def loss(batch):
        return lambda model: F.cross_entropy(model(batch.images), batch.labels)

    start, _, matrix = derivatives(module, loss(remaining))
    _, g_e, _ = derivatives(module, loss(erased))
    if curvature == "gauss_newton":
        j = torch.autograd.functional.jacobian(on_vectors(module, lambda model: model(remaining.images)), start)
        p = module(remaining.images).detach().softmax(1)
        matrix = torch.einsum("byi,byz,bzj->ij", j, torch.diag_embed(p) - p[:, :, None] * p[:, None], j) / 5
    damped = matrix + (0.5 + 0.5) * torch.eye(len(start), dtype=F64)
    expected = start + 4 / 50 * torch.linalg.solve(damped, g_e + 0.5 * start)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


# --- in the harness ---

VARIANTS = {
    "newton in chunks": {"solver_steps": 2, "curvature_images": None, "batch": None},
    "newton with the hessian": {"solver_steps": 2, "curvature": "hessian", "damping": 10.0, "radius": None},
    # Damped: where a curvature is near zero, what divides by it blows rounding up by a factor of a thousand.
    "diagonal": {"solver": "diagonal", "radius": 0.05, "damping": 0.1},
    "diagonal of gauss-newton": {"solver": "diagonal", "curvature": "gauss_newton", "probes": 2, "radius": 0.05},
    "released": {"form": "released"},
    "perturbed": {"form": "released", "perturbation": 0.01},
}


@cache
def originals(count, dtype):
    """Trained once for all forms, never changed by any."""
    return trained(utility(), erasures(), SEEDS[:count], dtype)


@pytest.mark.parametrize(
    ("count", "dtype"), [(1, torch.float64), (3, torch.float64), (3, torch.float32)], ids=["shared", "own", "float32"]
)
@pytest.mark.parametrize("name", VARIANTS)
def test_replicas_together_are_each_alone_in_every_form(name, count, dtype, monkeypatch):
    monkeypatch.setattr("unlearnbench.methods.hbu.SMALL_CHUNK", 30)
    scenario, sets = utility(stop=StopRule(steps=20), training=Training(epochs=3, batch=4, lr=5e-3)), erasures()
    method = Hbu(Hbu.Params(**VARIANTS[name]))
    before = originals(count, dtype)
    together, used = unlearn(method, before, sets, scenario, dtype=dtype)
    alone = []
    for k, seed in enumerate(SEEDS):
        own = ErasureSets(sets.pool, sets.members, sets.erased[k : k + 1])
        alone.append(unlearn(method, before.take(k, k + 1), own, scenario, [seed], dtype)[0])
    assert used.steps.tolist() == [20] * 3
    assert difference(together, before.expand(3)) > 10 * TOLERANCE[dtype]
    assert difference(together, Stack.concatenate(alone)) < TOLERANCE[dtype]


@pytest.mark.parametrize("name", ["diagonal", "released"])
def test_steps_go_uphill_on_the_erased(name):
    scenario, sets = utility(stop=StopRule(steps=20)), erasures()
    before = trained(scenario, sets, SEEDS[:1])
    after, _ = unlearn(Hbu(Hbu.Params(**VARIANTS[name])), before, sets, scenario)

    def losses(stack):
        _, logits = stack.own_outputs(sets.pool.pixels[sets.erased])
        return F.cross_entropy(logits.flatten(0, 1), sets.pool.labels[sets.erased].flatten(), reduction="none")

    assert float(losses(after).mean()) > 1.2 * float(losses(before).mean())


def test_the_perturbation_comes_last_and_is_the_replicas_own():
    scenario, sets = utility(stop=StopRule(steps=2)), erasures()
    before = trained(scenario, sets, SEEDS[:1])
    plain, _ = unlearn(Hbu(), before, sets, scenario)
    noisy, _ = unlearn(Hbu(Hbu.Params(perturbation=0.2)), before, sets, scenario)
    again, _ = unlearn(Hbu(Hbu.Params(perturbation=0.2)), before, sets, scenario)
    other, _ = unlearn(Hbu(Hbu.Params(perturbation=0.2)), before, sets, scenario, seeds=(1, 2, 3))
    assert difference(noisy, again) == 0
    assert difference(noisy, other) > 0.1
    generators = [stream(seed, "perturbation") for seed in SEEDS]
    for name, value in plain.params.items():
        noise = torch.stack([torch.from_numpy(one.standard_normal(value.shape[1:])) for one in generators])
        torch.testing.assert_close(noisy.params[name], value + 0.2 * noise, rtol=0, atol=1e-12)
    assert derive(1, "perturbation") != derive(1, "noise", 0)
