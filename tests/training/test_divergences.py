import pytest
import torch
from torch.distributions import Categorical, Normal, kl_divergence

from unlearnbench.training.divergences import kl_categorical, kl_gaussians, kl_of_logits, kl_to_prior

BATCH, LATENT = 5, 7


@pytest.fixture
def gaussians():
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(2, BATCH, LATENT, generator=generator, dtype=torch.float64)
    scales = torch.rand(2, BATCH, LATENT, generator=generator, dtype=torch.float64) + 0.05
    return means[0], scales[0], means[1], scales[1]


def test_gaussian_divergence_agrees_with_torch_in_both_directions(gaussians):
    mean, scale, mean2, scale2 = gaussians
    first, second = Normal(mean, scale), Normal(mean2, scale2)
    forward, backward = kl_divergence(first, second).sum(1), kl_divergence(second, first).sum(1)
    torch.testing.assert_close(kl_gaussians(mean, scale, mean2, scale2, "sum"), forward, rtol=1e-12, atol=0)
    torch.testing.assert_close(kl_gaussians(mean2, scale2, mean, scale, "sum"), backward, rtol=1e-12, atol=0)
    assert float((forward - backward).abs().min()) > 0.1  # the directions differ, or this test tells nothing


def test_gaussian_divergence_by_hand():
    # KL[N(1, 2^2) || N(0, 1)] = (2 ln(1/2) + 4 + 1 - 1) / 2
    one, two, zero = (torch.full((1, 1), value, dtype=torch.float64) for value in (1.0, 2.0, 0.0))
    assert float(kl_gaussians(one, two, zero, one, "sum")) == pytest.approx(2 - 0.6931471805599453, abs=1e-15)


def test_sum_is_the_mean_times_the_dimensions(gaussians):
    mean, scale, *_ = gaussians
    torch.testing.assert_close(
        kl_gaussians(*gaussians, "sum"), LATENT * kl_gaussians(*gaussians, "mean"), rtol=1e-12, atol=0
    )
    torch.testing.assert_close(
        kl_to_prior(mean, scale, "sum"), LATENT * kl_to_prior(mean, scale, "mean"), rtol=1e-12, atol=0
    )


def test_equal_gaussians_have_no_divergence_and_no_gradient(gaussians):
    mean, scale = (value.requires_grad_() for value in gaussians[:2])
    divergence = kl_gaussians(mean.detach(), scale.detach(), mean, scale, "sum")
    assert float(divergence.detach().abs().max()) == 0
    for gradient in torch.autograd.grad(divergence.sum(), (mean, scale)):
        assert float(gradient.abs().max()) < 1e-14


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_prior_is_the_standard_normal(gaussians, reduction):
    mean, scale, *_ = gaussians
    expected = kl_gaussians(mean, scale, torch.zeros_like(mean), torch.ones_like(scale), reduction)
    torch.testing.assert_close(kl_to_prior(mean, scale, reduction), expected, rtol=1e-12, atol=1e-14)
    assert float(kl_to_prior(torch.zeros(1, 3), torch.ones(1, 3), reduction)) == 0


def test_categorical_divergence_agrees_with_torch(gaussians):
    log_p, log_q = (torch.log_softmax(value, -1) for value in (gaussians[0], gaussians[2]))
    expected = kl_divergence(Categorical(logits=log_p), Categorical(logits=log_q))
    torch.testing.assert_close(kl_categorical(log_p, log_q), expected, rtol=1e-12, atol=0)
    assert float(kl_categorical(log_p, log_p).abs().max()) == 0


def test_divergence_of_logits_agrees_with_torch_and_has_no_gradient_where_they_are_equal():
    generator = torch.Generator().manual_seed(1)
    p, q = 5 * torch.randn(2, BATCH, LATENT, generator=generator, dtype=torch.float64)
    expected = kl_divergence(Categorical(logits=p), Categorical(logits=q))
    torch.testing.assert_close(kl_of_logits(p, q), expected, rtol=1e-12, atol=1e-12)
    assert float(expected.min()) > 0.01  # far from equal, or agreement tells nothing
    for dtype, rounding in ((torch.float32, 1e-10), (torch.float64, 1e-14)):
        teacher, student = p.to(dtype), p.to(dtype).requires_grad_()
        (gradient,) = torch.autograd.grad(kl_of_logits(teacher, student).sum(), student)
        assert float(gradient.abs().max()) < rounding
