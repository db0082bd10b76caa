"""VBU on the representation against closed forms; the weights are in test_vbu_weights.py."""

import pytest
import torch
from small_worlds import SEEDS, difference, erasures, trained, unlearn, utility
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from unlearnbench.methods.vbu import Vbu

from unlearnbench.models.noise import NoiseStreams, StreamNoise
from unlearnbench.models.stack import Functional
from unlearnbench.plugin import Models, Phase
from unlearnbench.settings.scenario import StopRule
from unlearnbench.splits.batches import BatchSource

# The loss's weights of log-likelihood and KL, and the KL's reduction.
FORMS = {"paper": (1.0, 0.2, torch.sum), "released": (0.1, 0.1, torch.mean)}
BOTH_FORMS = pytest.mark.parametrize("form", FORMS)


@pytest.fixture(scope="module")
def stack():
    return trained(utility(), erasures(), SEEDS[:1])


def noise():
    return StreamNoise(NoiseStreams(5), torch.device("cpu"), torch.float64)


def vbu(form, **params):
    return Vbu(Vbu.Params(form=form, **({"temperature": FORMS["paper"][1]} if form == "paper" else {}), **params))


def pair(stack, shift):
    router, sets = stack.router(training=False), erasures()
    fixed = {name: value[0] for name, value in stack.params.items()}
    params = {name: (value + shift * value.cos()).requires_grad_() for name, value in fixed.items()}
    models = Models(Functional(router, params, {}), Functional(router, fixed, {}), utility(), 6, 54)
    batch = BatchSource(sets.pool, sets.erased[:1], None, [], torch.float64).whole()
    return params, models, type(batch)(*(part[0] for part in batch))


def parts(models, batch):
    """Log-likelihood [B] and KL per latent dimension [B, J], written out with torch.distributions."""
    mean, scale = models.model.encode(batch.images)
    z = mean + scale * noise().normal(*mean.shape)
    likelihood = -F.cross_entropy(models.model.classify(z), batch.labels, reduction="none")
    fixed = Normal(*models.frozen.encode(batch.images))
    return likelihood, kl_divergence(Normal(mean, scale), fixed), z, fixed


def expected(models, batch, form):
    forget, remember, reduce = FORMS[form]
    likelihood, kl, *_ = parts(models, batch)
    return (forget * likelihood + remember * reduce(kl, 1)).mean()


@BOTH_FORMS
def test_the_loss_is_the_bound_written_out(stack, form):
    _, models, batch = pair(stack, 0.02)
    found = vbu(form).loss(models, batch, None, None, noise())
    torch.testing.assert_close(found, expected(models, batch, form), rtol=1e-12, atol=1e-15)


def test_the_adjusted_likelihood_counts_only_near_the_frozen_peak(stack):
    """log q(z) - log q(peak) = -1/2 sum ((z - mu) / sigma)^2 against the threshold, here over J dimensions."""
    _, models, batch = pair(stack, 0.02)
    likelihood, kl, z, fixed = parts(models, batch)
    below = (fixed.log_prob(z) - fixed.log_prob(fixed.mean)).sum(1) / z.shape[1]
    threshold = float(below.detach().sort().values[2:4].mean())
    near = below > threshold
    assert 0 < int(near.sum()) < len(near)
    masked = (torch.where(near, likelihood, 0.0) + FORMS["paper"][1] * kl.sum(1)).mean()
    found = vbu("paper", log_threshold=threshold).loss(models, batch, None, None, noise())
    torch.testing.assert_close(found, masked, rtol=1e-12, atol=1e-15)


@BOTH_FORMS
def test_the_remembering_term_has_no_gradient_at_start(stack, form):
    params, models, batch = pair(stack, 0.0)
    forgetting = FORMS[form][0] * parts(models, batch)[0].mean()
    loss = vbu(form).loss(models, batch, None, None, noise())
    for found, wanted in zip(*(torch.autograd.grad(v, list(params.values())) for v in (loss, forgetting)),
                             strict=True):  # fmt: skip
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-14)


def test_where_the_likelihood_is_masked_the_original_is_a_fixed_point(stack):
    class Descent(Vbu):
        def phases(self, context):
            return [Phase(optimiser="sgd", lr=1e-6, batch=4)]  # stable: the KL of narrow Gaussians is steep

    scenario = utility(stop=StopRule(steps=20))
    for threshold, moves in ((-1e-9, False), (None, True)):
        after, _ = unlearn(Descent(Descent.Params(log_threshold=threshold)), stack, erasures(), scenario)
        assert (difference(after, stack.expand(3)) > 1e-10) == moves


def test_remembering_changes_the_representer_only(stack):
    params, models, batch = pair(stack, 0.02)
    loss = vbu("paper", log_threshold=-1e-9).loss(models, batch, None, None, noise())
    gradients = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
    for name, gradient in zip(params, gradients, strict=True):
        size = 0.0 if gradient is None else float(gradient.abs().max())
        assert (size > 1e-6) == name.startswith("representer"), name


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"form": "released", "space": "weights"}, "form 'released' has no space"),
        ({"form": "released", "temperature": 0.5}, "form 'released' has no temperature"),
        ({"form": "released", "log_threshold": -1}, "form 'released' has no log_threshold"),
        ({"divergence": "reverse_kl"}, "space 'representation' has no divergence"),
        ({"prior_scale": 1.0, "draws": 3}, "space 'representation' has no draws and no prior_scale"),
    ],
)
def test_parameters_of_another_form_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        Vbu.Params(**params)
