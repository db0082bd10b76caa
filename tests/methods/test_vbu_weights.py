"""VBU on weights: linear regression with known noise has exact answers (docs/protocol.md#conjugate-posterior)."""

import itertools

import pytest
import torch
from small_worlds import SEEDS, blobs, context, difference, erasures, unlearn, utility
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from unlearnbench.methods import vbu as module
from unlearnbench.methods.vbu import Vbu

from unlearnbench.models.mean_field import MeanField, Posterior
from unlearnbench.models.noise import NoiseStreams, StreamNoise
from unlearnbench.models.stack import Functional, Router, Stack
from unlearnbench.plugin import Batch, Models
from unlearnbench.settings.scenario import StopRule, Training

F64 = torch.float64
VARIANCE = 0.3  # of the observations
PRIOR = 2.0  # variance of each weight


class Regression(nn.Module):
    """y = x w."""

    def __init__(self, dimensions):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dimensions, dtype=F64))

    def forward(self, images, noise=None):
        return images @ self.weight


@pytest.fixture(autouse=True)
def _gaussian_likelihood(monkeypatch):
    """The normal log-likelihood, up to its constant, wherever a test's outputs are regression's."""
    categorical = module.log_likelihood

    def either(outputs, labels):
        return -((labels - outputs) ** 2) / (2 * VARIANCE) if outputs.dim() == 1 else categorical(outputs, labels)

    monkeypatch.setattr(module, "log_likelihood", either)


class SigmaPoints:
    """The 2d points +-sqrt(d) e_i, over which a quadratic function has its exact expectation under N(0, I)."""

    def __init__(self, dimensions):
        eye = dimensions**0.5 * torch.eye(dimensions, dtype=F64)
        self.points = [*eye, *-eye]

    def mean(self, function):
        return sum(function(self._noise(point)) for point in self.points) / len(self.points)

    @staticmethod
    def _noise(point):
        return type("Point", (), {"normal": lambda self, *shape: point})()


def posterior(x, y):
    """Exact precision and mean of w given observations."""
    precision = torch.eye(x.shape[1], dtype=F64) / PRIOR + x.T @ x / VARIANCE
    return precision, torch.linalg.solve(precision, x.T @ y / VARIANCE)


def parameters(mean, scale):
    """A posterior's parameters with the given moments."""
    module = MeanField(Regression(len(mean)), 1.0)
    with torch.no_grad():
        module.mean.weight.copy_(mean)
        module.log_scale.weight.copy_(scale.log())
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def models(mean, scale, frozen_mean, frozen_scale, erased):
    router = Router(MeanField(Regression(len(mean)), 1.0))
    trained = {name: value.requires_grad_() for name, value in parameters(mean, scale).items()}
    frozen = Functional(router, parameters(frozen_mean, frozen_scale), {})
    return Models(Functional(router, trained, {}), frozen, utility(), erased, 1), list(trained.values())


def batch_of(x, y):
    return Batch(x, y, torch.ones(len(y), dtype=F64), torch.arange(len(y)))


def weights_method(**params):
    return Vbu(Vbu.Params(space="weights", **params))


def orthogonal(rows, dimensions, seed):
    """Columns that are orthogonal among all rows and among the first 4: mean-field posteriors are exact there."""
    generator = torch.Generator().manual_seed(seed)
    top, _ = torch.linalg.qr(torch.randn(4, dimensions, generator=generator, dtype=F64))
    rest, _ = torch.linalg.qr(torch.randn(rows - 4, dimensions, generator=generator, dtype=F64))
    scales = torch.rand(dimensions, generator=generator, dtype=F64) + 0.5
    x = torch.cat([top * scales, 3 * rest * scales.flip(0)])
    return x, x @ torch.randn(dimensions, generator=generator, dtype=F64) + 0.3 * torch.randn(
        rows, generator=generator, dtype=F64
    )


def test_subtracting_the_erased_images_is_retraining():
    x, y = orthogonal(20, 3, 0)
    x = x + 0.3 * x.roll(1, 1)  # correlated columns: the full covariance is needed
    precision, mean = posterior(x, y)
    less = precision - x[:4].T @ x[:4] / VARIANCE
    unlearned = torch.linalg.solve(less, precision @ mean - x[:4].T @ y[:4] / VARIANCE)
    retrained_precision, retrained = posterior(x[4:], y[4:])
    torch.testing.assert_close(less, retrained_precision, rtol=0, atol=1e-12)
    torch.testing.assert_close(unlearned, retrained, rtol=0, atol=1e-12)
    assert float((mean - retrained).norm()) > 1e-2


def test_the_bound_is_stationary_at_the_retrained_posterior():
    x, y = orthogonal(20, 3, 1)
    (precision, mean), (retrained_precision, retrained) = posterior(x, y), posterior(x[4:], y[4:])
    torch.testing.assert_close(precision, torch.diag(precision.diag()), rtol=0, atol=1e-12)

    def gradient(at_mean, at_precision):
        world, leaves = models(at_mean, at_precision.diag() ** -0.5, mean, precision.diag() ** -0.5, 4)
        erased = batch_of(x[:4], y[:4])
        loss = SigmaPoints(3).mean(lambda noise: weights_method().loss(world, erased, None, None, noise))
        return torch.cat(torch.autograd.grad(loss, leaves))

    assert float(gradient(mean, precision).abs().max()) > 1e-2
    assert float(gradient(retrained, retrained_precision).abs().max()) < 1e-12


def test_minimising_the_bound_is_retraining():
    x, y = orthogonal(20, 3, 2)
    (precision, mean), (retrained_precision, retrained) = posterior(x, y), posterior(x[4:], y[4:])
    world, leaves = models(mean, precision.diag() ** -0.5, mean, precision.diag() ** -0.5, 4)
    descent = torch.optim.LBFGS(
        leaves, max_iter=300, tolerance_grad=1e-14, tolerance_change=1e-18, line_search_fn="strong_wolfe"
    )

    def closure():
        descent.zero_grad()
        erased = batch_of(x[:4], y[:4])
        loss = SigmaPoints(3).mean(lambda noise: weights_method().loss(world, erased, None, None, noise))
        loss.backward()
        return loss

    descent.step(closure)
    found = Posterior.of(world.model.params)
    found_mean, found_scale = found.means["weight"].detach(), found.log_scales["weight"].detach().exp()
    torch.testing.assert_close(found_mean, retrained, rtol=0, atol=1e-7)
    torch.testing.assert_close(found_scale**-2, retrained_precision.diag(), rtol=1e-6, atol=0)


def correlated():
    """Erased rows all of one direction: a mean-field posterior forgets that direction's correlation."""
    generator = torch.Generator().manual_seed(3)
    x = torch.cat([torch.ones(4, 3, dtype=F64), 0.3 * torch.randn(6, 3, generator=generator, dtype=F64)])
    y = x.sum(1) + 0.3 * torch.randn(10, generator=generator, dtype=F64)
    precision, mean = posterior(x, y)
    return x, y, mean, precision.diag()


def test_from_a_mean_field_start_the_precision_turns_indefinite_and_the_bound_has_no_minimum():
    x, y, mean, precision = correlated()
    less = torch.diag(precision) - x[:4].T @ x[:4] / VARIANCE
    values, vectors = torch.linalg.eigh(less)
    assert float(values[0]) < 0
    assert float(torch.linalg.eigvalsh(posterior(x, y)[0] - x[:4].T @ x[:4] / VARIANCE).min()) > 0
    losses, masked = [], []
    for size in (0.0, 1e2, 1e4):
        at = mean + size * vectors[:, 0]
        world, _ = models(at, precision**-0.5, mean, precision**-0.5, 4)
        erased = batch_of(x[:4], y[:4])
        for method, kept in ((weights_method(), losses), (weights_method(log_threshold=-10.0), masked)):
            kept.append(float(SigmaPoints(3).mean(lambda n, m=method: m.loss(world, erased, None, None, n)).detach()))  # noqa: B023
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] < -1e6
    assert masked[2] > masked[1] > masked[0]  # only the KL is left there


def test_from_a_mean_field_start_a_minimum_is_not_the_retrained_posterior():
    x, y = orthogonal(20, 3, 4)
    x = x + 0.3 * x.roll(1, 1)
    precision, mean = posterior(x, y)
    less = torch.diag(precision.diag()) - x[:4].T @ x[:4] / VARIANCE
    assert float(torch.linalg.eigvalsh(less).min()) > 0
    minimum = torch.linalg.solve(less, precision.diag() * mean - x[:4].T @ y[:4] / VARIANCE)
    world, leaves = models(minimum, less.diag() ** -0.5, mean, precision.diag() ** -0.5, 4)
    erased = batch_of(x[:4], y[:4])
    loss = SigmaPoints(3).mean(lambda noise: weights_method().loss(world, erased, None, None, noise))
    assert float(torch.cat(torch.autograd.grad(loss, leaves)).abs().max()) < 1e-12
    assert float((minimum - posterior(x[4:], y[4:])[1]).norm()) > 1e-3


def test_the_mask_asks_the_original_posterior_about_the_drawn_weights():
    """Just inside the threshold the likelihood counts, just outside nothing but the KL does."""
    x, y = orthogonal(20, 3, 5)
    precision, mean = posterior(x, y)
    scale = precision.diag() ** -0.5
    shifted = mean + 0.5 * scale
    world, _ = models(shifted, 0.8 * scale, mean, scale, 4)
    eps = torch.tensor([0.5, -1.0, 0.2], dtype=F64)
    weights = shifted + 0.8 * scale * eps
    original = Normal(mean, scale)
    below = float((original.log_prob(weights) - original.log_prob(mean)).sum()) / 3
    kl = float(kl_divergence(Normal(shifted, 0.8 * scale), original).sum()) / 4
    likelihood = float((-((y[:4] - x[:4] @ weights) ** 2) / (2 * VARIANCE)).mean())
    for threshold, expected in ((below - 1e-4, likelihood + kl), (below + 1e-4, kl)):
        loss = weights_method(log_threshold=threshold).loss(
            world, batch_of(x[:4], y[:4]), None, None, SigmaPoints._noise(eps)
        )
        assert float(loss.detach()) == pytest.approx(expected, rel=1e-9)


def test_reverse_kl_with_many_draws_points_to_the_retrained_posterior():
    x, y = orthogonal(20, 2, 6)
    (precision, mean), (retrained_precision, retrained) = posterior(x, y), posterior(x[4:], y[4:])
    method = weights_method(divergence="reverse_kl", draws=20_000)

    def gradient(at_mean, at_precision):
        world, leaves = models(at_mean, at_precision.diag() ** -0.5, mean, precision.diag() ** -0.5, 4)
        noise = StreamNoise(NoiseStreams(1), torch.device("cpu"), F64)
        return torch.cat(torch.autograd.grad(method.loss(world, batch_of(x[:4], y[:4]), None, None, noise), leaves))

    start, end = gradient(mean, precision), gradient(retrained, retrained_precision)
    assert float(end.norm()) < 0.1 * float(start.norm())


def test_reverse_kl_is_the_weighted_cross_entropy_written_out():
    x, y = orthogonal(20, 2, 7)
    precision, mean = posterior(x, y)
    scale = precision.diag() ** -0.5
    world, _ = models(mean + 0.1, 0.9 * scale, mean, scale, 4)
    found = weights_method(divergence="reverse_kl", draws=3).loss(
        world, batch_of(x[:4], y[:4]), None, None, StreamNoise(NoiseStreams(2), torch.device("cpu"), F64)
    )
    noise = StreamNoise(NoiseStreams(2), torch.device("cpu"), F64)
    draws = [mean + scale * noise.normal(2) for _ in range(3)]
    inverse = torch.stack([(((y[:4] - x[:4] @ w) ** 2) / (2 * VARIANCE)).sum().exp() for w in draws])
    density = torch.stack([Normal(mean + 0.1, 0.9 * scale).log_prob(w).sum() for w in draws])
    constant = 0.5 * 2 * torch.log(torch.tensor(2 * torch.pi, dtype=F64))
    expected = -((inverse / inverse.sum()) * (density + constant)).sum() / 2
    torch.testing.assert_close(found.detach(), expected, rtol=1e-12, atol=0)


# --- networks ---

SCENARIO = utility(training=Training(epochs=30, batch=8, lr=5e-3), stop=StopRule(steps=20))
PARAMS = {"space": "weights", "temperature": 0.01}


def original(params=PARAMS, dtype=F64):
    sets = erasures()
    method = Vbu(Vbu.Params(**params))
    model = method.train(sets.pool.take(sets.members), context(SCENARIO, SEEDS[:1], dtype))
    return Stack.of([model])


def test_the_posterior_is_trained_with_the_evidence_lower_bound():
    """Accurate at its mean, narrower than the prior, and wider where the temperature is higher."""
    members = blobs(60)
    scales = {}
    for temperature in (0.01, 1.0):
        stack = original({**PARAMS, "temperature": temperature})
        found = Posterior.of({name: value[0] for name, value in stack.params.items()}).log_scales
        scales[temperature] = float(torch.cat([value.flatten() for value in found.values()]).exp().mean())
        if temperature == 0.01:
            _, logits = stack.outputs(members.pixels)
            assert float((logits[0].argmax(1) == members.labels).double().mean()) > 0.8
    assert scales[0.01] < scales[1.0] <= 0.11


@pytest.mark.parametrize(("divergence", "dtype"), list(itertools.product(["eubo", "reverse_kl"], [F64, torch.float32])))
def test_replicas_of_posteriors_unlearn_as_alone(divergence, dtype):
    before, sets = original(dtype=dtype), erasures()
    method = Vbu(Vbu.Params(**PARAMS, divergence=divergence, draws=2, log_threshold=-2.0))
    together, used = unlearn(method, before, sets, SCENARIO, dtype=dtype)
    alone = [
        method.unlearn_many(before, sets.take(k, k + 1), context(SCENARIO, SEEDS[k : k + 1], dtype)) for k in range(3)
    ]
    assert used.steps.tolist() == [20] * 3
    assert difference(together, Stack.concatenate(alone)) < (1e-9 if dtype == F64 else 1e-4)
    assert difference(together, before.expand(3)) > 1e-3


def test_erasing_raises_the_erased_images_loss():
    before, sets = original(), erasures()
    after, _ = unlearn(Vbu(Vbu.Params(**PARAMS)), before, sets, SCENARIO)
    images, labels = sets.pool.pixels[sets.erased], sets.pool.labels[sets.erased]
    losses = [
        F.cross_entropy(stack.own_outputs(images)[1].flatten(0, 1), labels.flatten()) for stack in (before, after)
    ]
    assert float(losses[1]) > float(losses[0]) + 0.5
