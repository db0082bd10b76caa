import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch.nn import functional as F

from unlearnbench.metrics.distributions import EPSILON_CAP, epsilon, klom, margin


def normals(shift, models, images=50, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(shift, 1, (models, images)), generator.normal(0, 1, (models, images))


def exactly(mean, deviation, models=20):
    """Margins of one image with this sample mean and standard deviation."""
    values = np.where(np.arange(models) % 2 == 0, 1.0, -1.0) * math.sqrt((models - 1) / models)
    return mean + deviation * values[:, None]


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


# --- epsilon ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("delta", [0.05, 0.01])
@pytest.mark.parametrize("sign", [1, -1])
def test_epsilon_of_equal_variances_is_the_normal_mechanisms(distance, delta, sign):
    def privacy_curve(eps):
        half, slope = distance / 2, eps / distance
        return norm.cdf(half - slope) - math.exp(eps) * norm.cdf(-half - slope) - delta

    expected = brentq(privacy_curve, 0, 50)
    found = epsilon(exactly(3 + sign * 2 * distance, 2.0), exactly(3.0, 2.0), delta)
    assert found == pytest.approx([expected], rel=1e-3)


def test_epsilon_is_zero_for_equal_and_capped_for_far_distributions():
    same = exactly(0.0, 1.0)
    assert epsilon(same, same) == [0]
    assert epsilon(exactly(100.0, 1.0), same) == [EPSILON_CAP]
    assert epsilon(np.ones((5, 1)), np.ones((5, 1))) == [0]
    assert epsilon(np.ones((5, 1)), np.zeros((5, 1))) == [EPSILON_CAP]


def test_epsilon_sees_a_difference_of_spread():
    """A margin far out is nearly surely the wider distribution's: P(|x| > t) differs though the means are equal."""
    wide, narrow = exactly(0.0, 3.0), exactly(0.0, 1.0)
    assert epsilon(wide, narrow) == epsilon(narrow, wide)
    assert float(epsilon(wide, narrow)[0]) > 3
