import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unlearnbench.metrics.distributions import klom, klom_ceiling, margin


def normals(shift, models, images=50, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(shift, 1, (models, images)), generator.normal(0, 1, (models, images))


# --- margins ----------------------------------------------------------------------------------------------------------


def test_margin_is_the_logit_of_the_true_probability():
    p = torch.tensor([[[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]])
    labels = torch.tensor([0, 2])
    expected = torch.tensor([[math.log(0.7 / 0.3), 0.0]]).double()
    torch.testing.assert_close(margin(p, labels, "probabilities"), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(margin(p.log(), labels, "log_probabilities"), expected, atol=1e-6, rtol=0)


def test_margin_keeps_its_digits_where_a_model_is_sure():
    logits = torch.tensor([40.0, 0.0, 0.0])
    found = margin(F.log_softmax(logits, -1), torch.tensor(0), "log_probabilities")
    assert float(found) == pytest.approx(40 - math.log(2), rel=1e-6)
    assert math.isfinite(float(margin(torch.tensor([1.0, 0.0, 0.0]), torch.tensor(1), "probabilities")))


# --- KLoM -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", ["half", "published"])
def test_klom_of_equal_distributions_vanishes_with_many_models(smoothing):
    assert klom(*normals(0.0, 20_000, images=5), smoothing).max() < 0.01
    same, _ = normals(0.0, 16)
    assert np.array_equal(klom(same, same, smoothing), np.zeros(50))


@pytest.mark.parametrize("smoothing", ["half", "published"])
def test_klom_grows_with_the_shift(smoothing):
    values = [klom(*normals(shift, 64), smoothing).mean() for shift in (0.0, 1.0, 2.0, 4.0)]
    assert values == sorted(values)
    assert values[-1] > 3 * values[0]


def test_klom_nears_the_divergence_of_normals():
    assert klom(*normals(1.0, 200_000, images=2)) == pytest.approx([0.5, 0.5], abs=0.03)


def test_klom_by_hand():
    """All unlearned models in the first bin, all retrained ones in the last."""
    unlearned, retrained = np.zeros((4, 1)), np.ones((4, 1))
    p, q = np.full(20, 0.5 / 14), np.full(20, 0.5 / 14)
    p[0], q[-1] = 4.5 / 14, 4.5 / 14
    assert klom(unlearned, retrained) == pytest.approx([(p * np.log(p / q)).sum()])
    assert klom(unlearned, retrained, "published") == pytest.approx([-math.log(1e-5)], rel=1e-4)


def test_klom_counts_all_margins_beyond_a_hundred_as_equal():
    unlearned, retrained = normals(0.0, 16)
    assert np.array_equal(klom(unlearned + 1e3, retrained + 1e6), np.zeros(50))


@pytest.mark.parametrize("smoothing", ["half", "published"])
@pytest.mark.parametrize("models", [16, 128])
def test_klom_never_exceeds_its_ceiling(models, smoothing):
    ceiling = klom_ceiling(models, smoothing)
    assert klom(*normals(1e6, models), smoothing).max() <= ceiling
    assert klom(*normals(20.0, models), smoothing).max() < ceiling


def test_ceiling_is_the_closed_form():
    """However far apart they are: the true divergence of these normals is 200 nat."""
    assert klom_ceiling(16) == pytest.approx(16 / 26 * math.log(33))
    assert klom_ceiling(128) == pytest.approx(128 / 138 * math.log(257))
    assert klom(*normals(20.0, 16)).mean() < 2
