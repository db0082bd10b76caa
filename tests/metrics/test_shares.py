import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from unlearnbench.metrics.shares import clopper_pearson, share_interval

shares = st.lists(st.floats(0, 1), min_size=3, max_size=12)


# --- one binomial share -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("found", "n"), [(0, 5), (5, 5), (25, 32), (1, 1_000)])
@pytest.mark.parametrize("level", [0.95, 0.9])
def test_clopper_pearson_is_scipys(found, n, level):
    expected = stats.binomtest(found, n).proportion_ci(level, method="exact")
    assert clopper_pearson(found, n, level) == pytest.approx((expected.low, expected.high))


def test_clopper_pearson_takes_effective_numbers():
    low, high = clopper_pearson(12.5, 31.5)
    assert clopper_pearson(12, 31)[0] < low < 12.5 / 31.5 < high < clopper_pearson(13, 31)[1]


@pytest.mark.parametrize(("found", "n"), [(-1, 5), (6, 5), (0, 0), (math.nan, 5), (1, math.inf)])
def test_what_is_no_share_is_refused(found, n):
    with pytest.raises(ValueError, match="no share"):
        clopper_pearson(found, n)


# --- shares of seeds --------------------------------------------------------------------------------------------------


def test_the_same_images_found_by_every_seed_are_known_no_better_than_by_one():
    """25 of the same 32 images in each of 3 seeds, which Student t calls 0.78 +- 0.00."""
    mean, low, high = share_interval([25 / 32] * 3, 32, shared=True)
    assert (mean, low, high) == pytest.approx((0.78, 0.60, 0.91), abs=0.005)
    assert (low, high) == pytest.approx(clopper_pearson(25, 32))


def test_equal_shares_of_own_images_are_known_as_well_as_all_images_together():
    _, low, high = share_interval([25 / 32] * 3, 32, shared=False)
    assert (low, high) == pytest.approx(clopper_pearson(75, 96))


def test_by_hand():
    # Mean 0.5, s^2 = 0.01, v = 0.01 / 3, inflated by (4.302653 / 1.959964)^2 = 4.8193: v' = 0.016064.
    values, own = [0.4, 0.5, 0.6], 0.25 / 0.016064
    assert share_interval(values, 1_000, shared=False)[1:] == pytest.approx(clopper_pearson(own / 2, own), abs=1e-4)
    both = 1 / (1 / 40 + 1 / own)
    assert share_interval(values, 40, shared=True)[1:] == pytest.approx(clopper_pearson(both / 2, both), abs=1e-4)


def test_fewer_than_three_seeds_get_no_interval():
    assert share_interval([0.5, 0.7], 100, shared=True) == (0.6, None, None)
    assert share_interval([1.0], 100, shared=False) == (1.0, None, None)


@pytest.mark.parametrize("shared", [True, False])
def test_nothing_and_everything_found_count_a_seeds_images(shared):
    assert share_interval([1.0] * 3, 24, shared)[1:] == pytest.approx(clopper_pearson(24, 24))
    assert share_interval([0.0] * 3, 24, shared)[1:] == pytest.approx(clopper_pearson(0, 24))


def test_seeds_with_one_image_each_are_as_many_images():
    assert share_interval([1.0] * 5, 1, shared=False)[1:] == pytest.approx(clopper_pearson(5, 5))


@given(shares, st.integers(1, 10_000), st.booleans())
def test_intervals_stay_in_bounds_and_hold_the_mean(values, n, shared):
    mean, low, high = share_interval(values, n, shared)
    assert 0 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1


@given(shares, st.integers(1, 2_000), st.booleans())
def test_intervals_are_never_narrower_than_the_binomials(values, n, shared):
    mean, low, high = share_interval(values, n, shared)
    images = n if shared else len(values) * n
    least = clopper_pearson(min(mean * images, images), images)
    assert high - low >= least[1] - least[0] - 1e-9


@pytest.mark.parametrize("values", [[], [0.5, 1.5, 0.1], [0.1, math.nan, 0.2], 0.5])
def test_what_are_no_shares_is_refused(values):
    with pytest.raises(ValueError, match="from 0 to 1"):
        share_interval(values, 10, shared=True)
    with pytest.raises(ValueError, match="0 images"):
        share_interval([0.5] * 3, 0, shared=True)


# --- coverage ---------------------------------------------------------------------------------------------------------


def chance(seed, image):
    """That a seed of this skill finds an image of this difficulty."""
    return 1 / (1 + np.exp(-(1 + seed + image)))


def expected_share(of_seeds, of_images):
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    both = weights[:, None] * weights / weights.sum() ** 2
    return float((both * chance(of_seeds * nodes[:, None], of_images * nodes)).sum())


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("of_seeds", "of_images"), [(0.0, 0.0), (0.0, 3.0), (0.5, 0.0), (0.5, 2.0)])
@pytest.mark.parametrize("seeds", [3, 10])
def test_intervals_cover_what_they_say(seeds, of_seeds, of_images, shared):
    generator, truth, covered = np.random.default_rng(0), expected_share(of_seeds, of_images), []
    for images in (32, 200):
        for _ in range(500):
            skill = of_seeds * generator.normal(size=(seeds, 1))
            difficulty = of_images * generator.normal(size=(1 if shared else seeds, images))
            found = generator.random((seeds, images)) < chance(skill, difficulty)
            _, low, high = share_interval(found.mean(1), images, shared)
            covered.append(low <= truth <= high)
    assert np.mean(covered) >= 0.95 - 0.02  # 2.9 standard errors of 1,000 draws
