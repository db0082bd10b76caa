"""CRFU against closed forms (docs/protocol.md#crfu-at-its-start)."""

import itertools

import pytest
import torch
from small_worlds import SEEDS, difference, erasures, trained, unlearn, utility
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from unlearnbench.methods.crfu import Crfu

from unlearnbench.models.noise import NoiseStreams, StreamNoise
from unlearnbench.models.stack import Functional
from unlearnbench.plugin import Models
from unlearnbench.settings.scenario import StopRule
from unlearnbench.splits.batches import BatchSource

BETA = 0.01
FORMS = [
    {"label_reference": reference, "reference_gradient": gradient, "remember": remember, "reduction": reduction}
    for reference, gradient, remember, reduction in itertools.product(
        ("current_z", "frozen_z"), (True, False), ("fixed_first", "current_first"), ("mean", "sum")
    )
]
ALL_FORMS = pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form.values())))


@pytest.fixture(scope="module")
def stack():
    return trained(utility(beta=BETA), erasures(), SEEDS[:1])


class Pair:
    """A model that changes, a frozen one, and a batch of erased images, all in float64."""

    def __init__(self, stack, scenario=None, shift=0.0):
        router, sets = stack.router(training=False), erasures()
        fixed = {name: value[0] for name, value in stack.params.items()}
        generator = torch.Generator().manual_seed(0)
        self.params = {
            name: (value + shift * torch.randn(value.shape, generator=generator, dtype=value.dtype)).requires_grad_()
            for name, value in fixed.items()
        }
        self.model, frozen = Functional(router, self.params, {}), Functional(router, fixed, {})
        self.models = Models(self.model, frozen, scenario or utility(beta=BETA), 6, 54)
        batch = BatchSource(sets.pool, sets.erased[:1], None, [], torch.float64).whole()
        self.erased = type(batch)(*(part[0] for part in batch))

    def loss(self, **params):
        return Crfu(Crfu.Params(**params)).loss(self.models, self.erased, None, None, noise())

    def gradient(self, loss):
        parts = torch.autograd.grad(loss, list(self.params.values()), allow_unused=True)
        return torch.cat([torch.zeros(0) if part is None else part.flatten() for part in parts])

    def sample(self):
        mean, scale = self.model.encode(self.erased.images)
        return mean, scale, mean + scale * noise().normal(*mean.shape)


def noise():
    return StreamNoise(NoiseStreams(5), torch.device("cpu"), torch.float64)


@ALL_FORMS
def test_remembering_terms_have_no_gradient_at_start(stack, form):
    """At theta = theta_fix: grad = beta * beta_u * grad KL_prior - beta_u * grad CE."""
    pair, beta_u = Pair(stack), 0.3
    found = pair.gradient(pair.loss(beta_u=beta_u, **form))
    mean, scale, z = pair.sample()
    prior = kl_divergence(Normal(mean, scale), Normal(torch.zeros_like(mean), torch.ones_like(scale)))
    prior = prior.mean() if form["reduction"] == "mean" else prior.sum(1).mean()
    cross_entropy = F.cross_entropy(pair.model.classify(z), pair.erased.labels)
    expected = pair.gradient(BETA * beta_u * prior - beta_u * cross_entropy)
    assert float(expected.abs().max()) > 1e-4
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


@ALL_FORMS
def test_without_forgetting_terms_the_original_is_a_fixed_point(stack, form):
    pair = Pair(stack)
    loss = pair.loss(beta_u=0.0, **form)
    assert abs(float(loss.detach())) < 1e-15
    assert float(pair.gradient(loss).abs().max()) < 1e-15


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_without_forgetting_terms_plain_descent_stays_at_the_original(stack, dtype):
    class Descent(Crfu):
        def phases(self, context):
            return [context.default_phase(self.params).__class__(optimiser="sgd", lr=1e-3, batch=4)]

    before, scenario = stack.to("cpu", dtype), utility(beta=BETA, stop=StopRule(steps=20))
    for beta_u, moves in ((0.0, False), (0.1, True)):
        after, _ = unlearn(Descent(Descent.Params(beta_u=beta_u)), before, erasures(), scenario, dtype=dtype)
        assert (difference(after, before.expand(3)) > 1e-5) == moves


@ALL_FORMS
def test_the_label_term_pulls_back_once_the_model_has_moved(stack, form):
    """With beta = 0 and beta_u = 0 only KL[p_fix(y|z) || p(y|z)] is left."""
    pair = Pair(stack, utility(beta=0.0), shift=0.05)
    loss = pair.loss(beta_u=0.0, **form)
    assert float(loss.detach()) > 1e-6
    gradient = pair.gradient(loss)
    assert float(gradient.norm()) > 1e-4
    smaller = Pair(stack, utility(beta=0.0), shift=0.05)
    with torch.no_grad():
        for value, part in zip(smaller.params.values(), gradient.split([p.numel() for p in pair.params.values()]),
                               strict=True):  # fmt: skip
            value -= 1e-3 * part.view(value.shape)
    assert float(smaller.loss(beta_u=0.0, **form).detach()) < float(loss.detach()) or not form["reference_gradient"]


@pytest.mark.parametrize("beta_u", [0.1, 1.0])
@ALL_FORMS
def test_the_loss_is_equation_13_written_out(stack, form, beta_u):
    pair = Pair(stack, shift=0.05)
    mean, scale, z = pair.sample()
    fixed_mean, fixed_scale = pair.models.frozen.encode(pair.erased.images)
    current, fixed = Normal(mean, scale), Normal(fixed_mean, fixed_scale)
    remember = kl_divergence(fixed, current) if form["remember"] == "fixed_first" else kl_divergence(current, fixed)
    prior = kl_divergence(current, Normal(torch.zeros_like(mean), torch.ones_like(scale)))
    reduce = torch.mean if form["reduction"] == "mean" else torch.sum
    if form["label_reference"] == "frozen_z":
        reference = pair.models.frozen.classify(fixed_mean + fixed_scale * noise().normal(*mean.shape))
    else:
        reference = pair.models.frozen.classify(z)
    log_p = torch.log_softmax(pair.model.classify(z), 1)
    p_fix = reference.softmax(1)
    expected = 0
    for i, label in enumerate(pair.erased.labels):
        expected += BETA * (beta_u * reduce(prior[i]) + reduce(remember[i]))
        expected += beta_u * log_p[i, label] + (p_fix[i] * (p_fix[i].log() - log_p[i])).sum()
    torch.testing.assert_close(pair.loss(beta_u=beta_u, **form), expected / 6, rtol=1e-12, atol=1e-14)


def test_reference_gradient_changes_the_gradient_but_not_the_loss(stack):
    pair = Pair(stack, shift=0.05)
    attached, detached = (pair.loss(reference_gradient=choice) for choice in (True, False))
    assert float(attached.detach()) == float(detached.detach())
    gradient = pair.gradient(attached)
    moved = gradient - pair.gradient(detached)
    assert float(moved.norm()) > 1e-3 * float(gradient.norm())
    # It passes through z: the approximator's gradient is the same, the representer's is not.
    approximator = sum(value.numel() for name, value in pair.params.items() if name.startswith("approximator"))
    assert float(moved[-approximator:].abs().max()) < 1e-14


def test_null_reduction_is_that_of_training(stack):
    for reduction in ("mean", "sum"):
        scenario = utility(beta=BETA)
        training = scenario.training.model_copy(update={"kl_reduction": reduction})
        pair = Pair(stack, scenario.model_copy(update={"training": training}), shift=0.05)
        assert float(pair.loss().detach()) == float(pair.loss(reduction=reduction).detach())
        other = "sum" if reduction == "mean" else "mean"
        assert float(pair.loss().detach()) != float(pair.loss(reduction=other).detach())


# --- the released form ---


@pytest.mark.parametrize(
    ("network", "weights"), [("mlp", (0.1, 0.01, 0.1, 1e-4)), ("resnet18", (6e-8, 0.0, 0.1, 1e-4))]
)
def test_the_released_loss_is_the_authors_written_out(stack, network, weights):
    scenario = utility(beta=BETA)
    scenario = scenario.model_copy(update={"network": scenario.network.model_copy(update={"name": network})})
    pair = Pair(stack, scenario, shift=0.05)
    mean, scale, z = pair.sample()
    fixed = Normal(*pair.models.frozen.encode(pair.erased.images))
    prior = Normal(torch.zeros_like(mean), torch.ones_like(scale))
    logits = pair.model.classify(z)
    a, b, c, d = weights
    expected = (
        a * kl_divergence(Normal(mean, scale), fixed).mean() + b * kl_divergence(Normal(mean, scale), prior).mean()
    )
    expected = expected - c * F.cross_entropy(logits, pair.erased.labels)
    expected = expected - d * (z.log_softmax(1).mean() + logits.log_softmax(1).mean())
    torch.testing.assert_close(pair.loss(form="released"), expected, rtol=1e-12, atol=1e-15)


def test_the_released_form_does_not_remember_labels(stack):
    """Nothing in its loss depends on the frozen approximator."""
    pair = Pair(stack, shift=0.05)
    frozen = {name: value.clone() for name, value in pair.models.frozen.params.items()}
    for name, value in frozen.items():
        if name.startswith("approximator"):
            value += 1
    other = pair.models._replace(frozen=pair.models.frozen.with_params(frozen))
    for form, same in (("released", True), ("paper", False)):
        method = Crfu(Crfu.Params(form=form))
        losses = [
            float(method.loss(models, pair.erased, None, None, noise()).detach()) for models in (pair.models, other)
        ]
        assert (losses[0] == losses[1]) == same


def test_beta_of_its_own_replaces_the_scenarios(stack):
    own, scenario = Pair(stack, utility(beta=5.0), shift=0.05), Pair(stack, utility(beta=0.3), shift=0.05)
    assert float(own.loss(beta=0.3).detach()) == float(scenario.loss().detach()) != float(own.loss().detach())


@pytest.mark.parametrize("name", ["beta", "beta_u", "label_reference", "reference_gradient", "remember", "reduction"])
def test_the_released_form_has_none_of_the_papers_parameters(name):
    values = {"label_reference": "frozen_z", "remember": "current_first", "reduction": "sum"}
    value = values.get(name, 0)
    with pytest.raises(ValueError, match=f"form 'released' has no {name}; leave out"):
        Crfu.Params(form="released", **{name: value})
    default = Crfu.Params.model_fields[name].default
    Crfu.Params(form="released", **{name: default})  # as stored cells write it


# --- the minimiser ---


class FreeLogits:
    """A model whose logits can be chosen for every sample."""

    def __init__(self, logits):
        self.logits = logits

    def encode(self, images):
        return torch.zeros(len(images), 1, dtype=torch.float64), torch.ones(len(images), 1, dtype=torch.float64)

    def classify(self, z):
        return self.logits


def free(p_fix, labels):
    frozen = FreeLogits(p_fix.log())
    logits = p_fix.log().clone().requires_grad_()
    models = Models(FreeLogits(logits), frozen, utility(beta=0.0), len(labels), 1)
    batch = BatchSource(erasures().pool, torch.arange(len(labels))[None], None, [], torch.float64).whole()
    return logits, models, type(batch)(batch.images[0], labels, batch.weight[0], batch.rows[0])


def test_the_minimiser_of_the_label_terms_under_frozen_z():
    """p* = (p_fix - beta_u 1[y_e]) / (1 - beta_u) while beta_u < p_fix(y_e)."""
    beta_u = 0.3
    p_fix = torch.tensor([[0.9, 0.06, 0.04], [0.5, 0.3, 0.2], [0.02, 0.38, 0.6]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 2])
    logits, models, batch = free(p_fix, labels)
    method = Crfu(Crfu.Params(beta_u=beta_u, label_reference="frozen_z"))
    descent = torch.optim.LBFGS(
        [logits], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure():
        descent.zero_grad()
        loss = method.loss(models, batch, None, None, noise())
        loss.backward()
        return loss

    for _ in range(3):
        descent.step(closure)
    expected = (p_fix - beta_u * F.one_hot(labels, 3)) / (1 - beta_u)
    torch.testing.assert_close(logits.detach().softmax(1), expected, rtol=0, atol=1e-6)
    assert logits.argmax(1).tolist()[0] == 0  # who is sure does not forget


def test_the_loss_is_unbounded_below_where_beta_u_exceeds_the_frozen_probability():
    p_fix = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
    logits, models, batch = free(p_fix, torch.tensor([0]))
    method = Crfu(Crfu.Params(beta_u=0.3, label_reference="frozen_z"))
    losses = []
    for size in (0.0, 50.0, 5_000.0):
        with torch.no_grad():
            logits[0, 0] = -size
        losses.append(float(method.loss(models, batch, None, None, noise()).detach()))
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] < -400
