import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from unlearnbench.metrics.membership import auc, balanced_accuracy, tnr_at_tpr, tpr_at_fpr


def two_normals(distance, n=60_000, seed=0):
    """Scores N(0, 1) of non-members and N(distance, 1) of members."""
    generator = np.random.default_rng(seed)
    scores = np.concatenate([generator.normal(size=n), generator.normal(distance, size=n)])
    return scores, np.arange(2 * n) >= n


@pytest.mark.parametrize("distance", [0.0, 0.5, 2.0])
def test_two_normals_have_the_closed_form(distance):
    scores, labels = two_normals(distance)
    assert auc(scores, labels) == pytest.approx(norm.cdf(distance / math.sqrt(2)), abs=0.006)
    assert balanced_accuracy(scores, labels, distance / 2) == pytest.approx(norm.cdf(distance / 2), abs=0.006)
    for tpr in (0.95, 0.99):
        expected = norm.cdf(distance - norm.ppf(tpr))
        assert tnr_at_tpr(scores, labels, tpr) == pytest.approx(expected, abs=0.02)
    for fpr in (0.01, 0.001):
        expected = norm.cdf(distance - norm.ppf(1 - fpr))
        assert tpr_at_fpr(scores, labels, fpr) == pytest.approx(expected, abs=0.02)


def test_auc_by_hand_with_ties():
    # Pairs (member, other): 3>1, 3>2, 2>1 win, 2=2 halves: 3.5 of 4.
    assert auc([3, 2, 1, 2], [True, True, False, False]) == 0.875


def test_perfect_and_inverted_scores():
    assert auc([0.0, 1.0, math.inf], [False, True, True]) == 1
    assert auc([1.0, 0.0, -math.inf], [False, True, True]) == 0


def test_constant_score_knows_nothing():
    labels = np.arange(4_000) % 2 == 0
    scores = np.ones(4_000)
    assert auc(scores, labels) == 0.5
    assert balanced_accuracy(scores, labels, 0.3) == 0.5
    assert tpr_at_fpr(scores, labels, 0.01) == tnr_at_tpr(scores, labels) == 0


def test_permuted_labels_cover_a_half():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=200)
    labels = np.arange(200) < 100
    values = np.array([auc(scores, generator.permutation(labels)) for _ in range(300)])
    deviation = math.sqrt(201 / (12 * 100 * 100))  # of the Mann-Whitney statistic without an effect
    assert values.mean() == pytest.approx(0.5, abs=4 * deviation / math.sqrt(300))
    assert values.std() == pytest.approx(deviation, rel=0.2)


def test_tpr_is_null_without_ten_false_alarms():
    scores, labels = two_normals(1.0, n=1_000)
    assert tpr_at_fpr(scores, labels, 0.01) is not None
    assert tpr_at_fpr(scores[1:], labels[1:], 0.01) is None
    assert tpr_at_fpr(scores, labels, 0.001) is None


def test_tnr_is_null_without_ten_misses():
    scores, labels = two_normals(1.0, n=200)
    assert tnr_at_tpr(scores, labels) is not None
    members = np.flatnonzero(labels)
    assert tnr_at_tpr(np.delete(scores, members[0]), np.delete(labels, members[0])) is None


def test_tnr_treats_ties_conservatively():
    # 200 members at 1..200: 190 reach 11. Non-members tied with it are not cleared, just below it they are.
    members = np.arange(1.0, 201.0)
    labels = [True] * 200 + [False] * 2
    assert tnr_at_tpr([*members, 11.0, 11.0], labels) == 0
    assert tnr_at_tpr([*members, 10.5, 11.0], labels) == 0.5


def test_rates_take_any_number_of_nonmembers():
    scores, labels = two_normals(1.0, n=30_000)
    few = slice(0, 32_000)  # 15 non-members for each member
    for measure in (lambda s, y: tpr_at_fpr(s, y, 0.01), tnr_at_tpr, auc):
        assert measure(scores[few], labels[few]) == pytest.approx(measure(scores, labels), abs=0.04)


def test_tpr_treats_ties_conservatively():
    # 100 non-members at 1..100, members tied with the 11th highest: at 10 % they are not found, just above they are.
    others = np.arange(1.0, 101.0)
    labels = [False] * 100 + [True] * 2
    assert tpr_at_fpr([*others, 90.0, 90.0], labels, 0.1) == 0
    assert tpr_at_fpr([*others, 90.5, 90.0], labels, 0.1) == 0.5


@given(st.integers(100, 3_000), st.sampled_from([0.1, 0.05, 0.01]), st.integers(1, 30), st.integers(0, 10))
def test_tpr_threshold_never_exceeds_the_false_alarms(n, fpr, levels, seed):
    others = np.random.default_rng(seed).integers(0, levels, size=n).astype(float)
    if n * fpr < 10:
        return
    # A member on every score: those found are the ones above the threshold.
    members = np.arange(levels) + 0.0
    found = tpr_at_fpr(np.concatenate([others, members]), [False] * n + [True] * levels, fpr)
    threshold = levels - round(found * levels) - 1
    assert (others > threshold).mean() <= fpr + 1e-12


@pytest.mark.parametrize(
    ("scores", "labels"),
    [([1.0, math.nan], [True, False]), ([1.0], [True, False]), ([1.0, 2.0], [True, True]), ([], [])],
)
def test_scores_that_measure_nothing_are_refused(scores, labels):
    for measure in (auc, lambda s, y: tpr_at_fpr(s, y, 0.1), lambda s, y: balanced_accuracy(s, y, 0.0)):
        with pytest.raises(ValueError):
            measure(scores, labels)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_rates_outside_zero_and_one_are_refused(rate):
    with pytest.raises(ValueError, match="fpr"):
        tpr_at_fpr([1.0, 2.0], [True, False], rate)
    with pytest.raises(ValueError, match="tpr"):
        tnr_at_tpr([1.0, 2.0], [True, False], rate)
