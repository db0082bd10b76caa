import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearnbench.metrics.intervals import bootstrap, half_width, holm, student_t

finite = st.floats(-1e3, 1e3, allow_subnormal=False)


def test_student_t_by_hand():
    # 1..5: mean 3, deviation sqrt(2.5), t(4, 0.975) = 2.776445.
    mean, low, high = student_t([1, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(2.5) / math.sqrt(5)
    assert mean == 3
    assert low == pytest.approx(3 - half, abs=1e-6)
    assert high == pytest.approx(3 + half, abs=1e-6)


def test_student_t_gives_no_interval_for_two_values():
    assert student_t([1.0, 2.0]) == (1.5, None, None)
    assert student_t([1.0]) == (1.0, None, None)


@pytest.mark.parametrize("values", [[], [1.0, math.nan, 2.0], [1.0, math.inf]])
def test_student_t_refuses_what_has_no_mean(values):
    with pytest.raises(ValueError):
        student_t(values)


def test_student_t_covers_what_it_says_from_three_values():
    samples = np.random.default_rng(0).normal(size=(4_000, 3))
    covered = np.abs(samples.mean(1)) <= half_width(samples.std(axis=1, ddof=1), np.full(4_000, 3))
    assert covered.mean() == pytest.approx(0.95, abs=0.012)


def test_half_width_of_many_groups_is_student_t_of_each():
    groups = [[1.0, 2.0], [1.0, 2.0, 4.0], [3.0, 3.5, 1.0, 0.0]]
    halves = half_width([np.std(g, ddof=1) for g in groups], [len(g) for g in groups], level=0.9)
    assert math.isnan(halves[0])
    for half, group in zip(halves[1:], groups[1:], strict=True):
        mean, low, high = student_t(group, level=0.9)
        assert low is not None
        assert high is not None
        assert (mean - half, mean + half) == pytest.approx((low, high))


def test_bootstrap_of_a_mean_agrees_with_the_normal_interval():
    values = np.random.default_rng(1).normal(5, 2, size=400)
    mean, low, high = bootstrap(values, "mean", np.random.default_rng(2), repeats=4_000)
    half = 1.96 * values.std() / 20
    assert mean == values.mean()
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.02)


def test_bootstrap_takes_any_statistic():
    values = np.random.default_rng(1).normal(size=101)
    median, low, high = bootstrap(values, lambda x: float(np.median(x)), np.random.default_rng(2), repeats=300)
    assert low < median < high


def test_bootstrap_resamples_whole_clusters():
    # Twenty equal values in each of 30 clusters carry the information of 30 values, not 600.
    centres = np.random.default_rng(3).normal(size=30)
    values, clusters = np.repeat(centres, 20), np.repeat(np.arange(30), 20)
    _, low, high = bootstrap(values, "mean", np.random.default_rng(4), repeats=2_000, clusters=clusters)
    _, low_few, high_few = bootstrap(centres, "mean", np.random.default_rng(4), repeats=2_000)
    assert (low, high) == pytest.approx((low_few, high_few))
    by_function = bootstrap(values, lambda x: float(x.mean()), np.random.default_rng(4), repeats=500, clusters=clusters)
    assert by_function[2] - by_function[1] == pytest.approx(high - low, rel=0.15)


def test_bootstrap_weighs_clusters_by_their_images():
    mean, low, high = bootstrap([0, 0, 0, 4], "mean", np.random.default_rng(0), clusters=["a", "a", "b", "c"])
    assert mean == 1
    assert low == 0
    assert high == 4


def test_bootstrap_is_reproducible_and_gives_no_interval_for_two_clusters():
    values = np.arange(10.0)
    one, two = (bootstrap(values, "mean", np.random.default_rng(7)) for _ in range(2))
    assert one == two
    assert bootstrap(values, "mean", np.random.default_rng(7), clusters=[0] * 5 + [1] * 5) == (4.5, None, None)


def test_bootstrap_leaves_out_resamples_without_a_value():
    def odd(x):
        return float("nan") if x[0] == 0 else float(x.mean())

    estimate, low, high = bootstrap([1.0, 2.0, 0.0, 3.0], odd, np.random.default_rng(0), repeats=200)
    assert estimate == 1.5
    assert math.isfinite(low)
    assert math.isfinite(high)


def test_bootstrap_refuses_clusters_of_another_length():
    with pytest.raises(ValueError, match="as many clusters"):
        bootstrap([1.0, 2.0, 3.0], "mean", np.random.default_rng(0), clusters=[0, 1])


def test_holm_textbook_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_of_one_and_of_none():
    assert holm([0.2]) == pytest.approx([0.2])
    assert len(holm([])) == 0


@pytest.mark.parametrize("p", [[-0.1], [1.1], [math.nan]])
def test_holm_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError):
        holm(p)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_between_no_adjustment_and_bonferroni_and_keeps_the_order(p):
    adjusted = holm(p)
    assert np.all(adjusted >= np.array(p))
    assert np.all(adjusted <= np.minimum(np.array(p) * len(p), 1) + 1e-12)
    assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)
