"""VBU against closed forms."""

import itertools

import pytest
import torch
from small_worlds import SEEDS, difference, erasures, trained, unlearn, utility
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from unlearnbench.methods.vbu import Vbu

from unlearnbench.noise import NoiseStreams, StreamNoise
from unlearnbench.plugin import Models, Phase
from unlearnbench.sets import BatchSource
from unlearnbench.settings import StopRule
from unlearnbench.stack import Functional


@pytest.fixture(scope="module")
def stack():
    return trained(utility(), erasures(), SEEDS[:1])


def noise():
    return StreamNoise(NoiseStreams(5), torch.device("cpu"), torch.float64)


def pair(stack, shift):
    router, sets = stack.router(training=False), erasures()
    fixed = {name: value[0] for name, value in stack.params.items()}
    params = {name: (value + shift * value.cos()).requires_grad_() for name, value in fixed.items()}
    models = Models(Functional(router, params, {}), Functional(router, fixed, {}), utility(), 6, 54)
    batch = BatchSource(sets.pool, sets.erased[:1], None, [], torch.float64).whole()
    return params, models, type(batch)(*(part[0] for part in batch))


def expected(models, batch, forget, remember, reduction):
    mean, scale = models.model.encode(batch.images)
    logits = models.model.classify(mean + scale * noise().normal(*mean.shape))
    kl = kl_divergence(Normal(mean, scale), Normal(*models.frozen.encode(batch.images)))
    kl = kl.mean(1) if reduction == "mean" else kl.sum(1)
    return (-forget * F.cross_entropy(logits, batch.labels, reduction="none") + remember * kl).mean()


@pytest.mark.parametrize(("forget", "reduction"), itertools.product([0.0, 0.1, 1.0], ["mean", "sum"]))
def test_the_loss_is_the_bound_written_out(stack, forget, reduction):
    _, models, batch = pair(stack, 0.02)
    method = Vbu(Vbu.Params(forget=forget, remember=0.2, reduction=reduction))
    found = method.loss(models, batch, None, None, noise())
    torch.testing.assert_close(found, expected(models, batch, forget, 0.2, reduction), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_remembering_term_has_no_gradient_at_start(stack, reduction):
    params, models, batch = pair(stack, 0.0)
    loss = Vbu(Vbu.Params(forget=0.3, remember=5.0, reduction=reduction)).loss(models, batch, None, None, noise())
    only_forgetting = expected(models, batch, 0.3, 0.0, reduction)
    for found, wanted in zip(*(torch.autograd.grad(v, list(params.values())) for v in (loss, only_forgetting)),
                             strict=True):  # fmt: skip
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-14)


def test_without_forgetting_the_original_is_a_fixed_point(stack):
    class Descent(Vbu):
        def phases(self, context):
            return [Phase(optimiser="sgd", lr=1e-3, batch=4)]

    scenario = utility(stop=StopRule(steps=20))
    for forget, moves in ((0.0, False), (0.1, True)):
        after, _ = unlearn(Descent(Descent.Params(forget=forget)), stack, erasures(), scenario)
        assert (difference(after, stack.expand(3)) > 1e-9) == moves


def test_remembering_changes_the_representer_only(stack):
    params, models, batch = pair(stack, 0.02)
    loss = Vbu(Vbu.Params(forget=0.0, remember=1.0)).loss(models, batch, None, None, noise())
    gradients = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
    for name, gradient in zip(params, gradients, strict=True):
        size = 0.0 if gradient is None else float(gradient.abs().max())
        assert (size > 1e-6) == name.startswith("representer"), name
