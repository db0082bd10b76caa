import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom, norm

from unlearnbench.metrics.epsilon import CAP, DELTA, fitted, largest_bound, lower_bound
from unlearnbench.metrics.shares import share_at_least, share_at_most


def normal_mechanism(distance, delta=DELTA):
    """Epsilon of two normals of equal variance, `distance` standard deviations apart (Balle and Wang, 2018)."""

    def privacy_curve(eps):
        half, slope = distance / 2, eps / distance
        return norm.cdf(half - slope) - math.exp(eps) * norm.cdf(-half - slope) - delta

    return brentq(privacy_curve, 0, 50) if privacy_curve(0) > 0 else 0.0


def normals(distance, models, images=1_000, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(distance, 1, (models, images)), generator.normal(0, 1, (models, images))


def exactly(mean, deviation, models=20):
    """Margins of one image with this sample mean and standard deviation."""
    values = np.where(np.arange(models) % 2 == 0, 1.0, -1.0) * math.sqrt((models - 1) / models)
    return mean + deviation * values[:, None]


# --- the lower bound --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("models", [16, 128])
@pytest.mark.parametrize("distance", [0.2, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_bounds_seldom_exceed_the_exact_epsilon(distance, models, sign):
    bounds = lower_bound(*normals(sign * distance, models))
    assert (bounds > normal_mechanism(distance)).mean() <= 0.05


@pytest.mark.parametrize("models", [8, 16, 128])
def test_bounds_of_equal_distributions_are_0(models):
    assert (lower_bound(*normals(0.0, models)) == 0).mean() >= 0.95


def test_bounds_hold_for_margins_that_are_not_normal():
    """P(u above 0) = 0.4 and P(r above 0) = 0.1: sets on either side of 0 are all that tells these apart."""
    generator, images, bounds = np.random.default_rng(0), 1_000, []
    heavy = np.abs(generator.standard_cauchy((2, 128, images)))
    for row, chance in zip(heavy, (0.4, 0.1), strict=True):
        bounds.append(np.where(generator.random(row.shape) < chance, row, -row))
    truth = math.log((0.4 - DELTA) / 0.1)
    found = lower_bound(*bounds)
    assert (found > truth).mean() <= 0.05
    assert (found > 0).mean() > 0.5


@pytest.mark.parametrize("n", [16, 48, 96])
def test_bounding_each_rate_at_the_full_level_keeps_it(n):
    """All outcomes of n models a side, for rates p and q: the bound on log((p - delta) / q) errs in 5 % at most."""
    outcomes = np.arange(n + 1)
    p_low, q_high = share_at_least(outcomes, n, 0.95), share_at_most(outcomes, n, 0.95)
    bounds = np.log(np.maximum(p_low - DELTA, 1e-300))[:, None] - np.log(q_high)
    worst = 0.0
    for q in np.concatenate([np.linspace(1e-4, 0.05, 40), np.linspace(0.06, 0.95, 45)]):
        of_q = binom.pmf(outcomes, n, q)
        for p in np.concatenate([np.linspace(0.051, 0.999, 60), [1 - 1e-4, 1 - 1e-6]]):
            too_high = np.maximum(bounds, 0) > max(0.0, math.log((p - DELTA) / q)) + 1e-12
            worst = max(worst, binom.pmf(outcomes, n, p) @ too_high @ of_q)
    assert worst <= 0.05


def test_a_shift_of_one_standard_deviation_is_found_with_128_models():
    """The power is 90 % of images at 128 models a side, and 4 % at 16, of which 12 are counted."""
    truth = normal_mechanism(1.0)
    assert truth == pytest.approx(1.57, abs=0.01)
    bounds = lower_bound(*normals(1.0, 128))
    assert (bounds > 0).mean() > 0.85
    assert 0.3 < np.median(bounds) < truth
    assert (lower_bound(*normals(1.0, 16)) > 0).mean() < 0.15


def test_more_models_come_nearer_to_the_truth():
    medians = [np.median(lower_bound(*normals(2.0, models, images=200))) for models in (16, 64, 256, 1_024)]
    assert medians == sorted(medians)
    assert medians[-1] > 0.6 * normal_mechanism(2.0)


@pytest.mark.parametrize(("counted", "expected"), [(16, 1.52), (64, 2.98), (512, 5.09)])
def test_the_largest_bound_is_clopper_and_pearsons(counted, expected):
    """With no error among the models that are counted, three quarters of all."""
    q = 1 - 0.05 ** (1 / counted)
    assert math.log((1 - q - DELTA) / q) == pytest.approx(expected, abs=0.005)
    models = counted + counted // 3
    assert largest_bound(models) == pytest.approx(expected, abs=0.005)
    apart = lower_bound(*normals(1e3, models, images=3))
    assert apart == pytest.approx([largest_bound(models)] * 3)


def test_bounds_see_a_difference_of_spread():
    generator = np.random.default_rng(0)
    wide, narrow = generator.normal(0, 6, (128, 200)), generator.normal(0, 1, (128, 200))
    assert (lower_bound(wide, narrow) > 0).mean() > 0.9
    assert (lower_bound(narrow, wide) > 0).mean() > 0.9


def test_constant_margins_are_equal_or_far_apart():
    same = np.ones((8, 3))
    assert np.array_equal(lower_bound(same, same), np.zeros(3))
    assert lower_bound(same, 0 * same) == pytest.approx([largest_bound(8)] * 3)


def test_too_few_models_are_refused():
    with pytest.raises(ValueError, match="needs 4"):
        lower_bound(np.zeros((3, 1)), np.zeros((3, 1)))


# --- the estimate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("delta", [0.05, 0.01])
@pytest.mark.parametrize("sign", [1, -1])
def test_epsilon_of_equal_variances_is_the_normal_mechanisms(distance, delta, sign):
    expected = normal_mechanism(distance, delta)
    found = fitted(exactly(3 + sign * 2 * distance, 2.0), exactly(3.0, 2.0), delta)
    assert found == pytest.approx([expected], rel=1e-3)


def test_epsilon_is_zero_for_equal_and_capped_for_far_distributions():
    same = exactly(0.0, 1.0)
    assert fitted(same, same) == [0]
    assert fitted(exactly(100.0, 1.0), same) == [CAP]
    assert fitted(np.ones((5, 1)), np.ones((5, 1))) == [0]
    assert fitted(np.ones((5, 1)), np.zeros((5, 1))) == [CAP]


def test_epsilon_sees_a_difference_of_spread():
    """A margin far out is nearly surely the wider distribution's: P(|x| > t) differs though the means are equal."""
    wide, narrow = exactly(0.0, 3.0), exactly(0.0, 1.0)
    assert fitted(wide, narrow) == fitted(narrow, wide)
    assert float(fitted(wide, narrow)[0]) > 3
