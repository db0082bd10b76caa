"""Rates that no seed has enough images for, over all seeds."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from unlearnbench.metrics import membership
from unlearnbench.metrics.pooled import tnr_at_tpr, tpr_at_fpr
from unlearnbench.metrics.shares import clopper_pearson


def seeds(distance=1.0, count=10, positives=25, negatives=100, of_seeds=0.0, seed=0):
    """Scores N(0, 1) of never-seen images; erased ones lie `distance` higher, more or less in each seed."""
    generator = np.random.default_rng(seed)
    shifts = distance + of_seeds * generator.normal(size=count)
    return [(generator.normal(shift, 1, positives), generator.normal(0, 1, negatives)) for shift in shifts]


def test_one_threshold_serves_all_seeds():
    """As if all images were one seed's."""
    made = seeds(distance=2.0)
    positives, negatives = (np.concatenate([pair[kind] for pair in made]) for kind in (0, 1))
    scores, labels = np.concatenate([positives, negatives]), np.arange(1_250) < 250
    rate = tpr_at_fpr(made, 0.01)
    assert rate.value == pytest.approx(membership.tpr_at_fpr(scores, labels, 0.01))
    assert (rate.positives, rate.negatives, rate.reason) == (250, 1_000, None)
    rate = tnr_at_tpr(made)
    assert rate.value == pytest.approx(membership.tnr_at_tpr(scores, labels))
    assert (rate.positives, rate.negatives, rate.reason) == (250, 1_000, None)


def test_two_normals_have_the_closed_form():
    made = seeds(distance=2.0, positives=5_000, negatives=5_000)
    assert tpr_at_fpr(made, 0.001).value == pytest.approx(norm.cdf(2 - norm.ppf(0.999)), abs=0.03)
    assert tnr_at_tpr(made).value == pytest.approx(norm.cdf(2 - norm.ppf(0.95)), abs=0.01)


def test_a_thousand_negatives_make_a_rate_at_one_percent_and_none_at_a_tenth_of_it():
    made = seeds()
    assert tpr_at_fpr(made, 0.01).value is not None
    rate = tpr_at_fpr(made, 0.001)
    assert rate.value is rate.low is rate.high is None
    assert rate.reason == "1000 never-seen images over 10 seeds; 10 false alarms need 10000"
    rate = tpr_at_fpr(seeds(negatives=99), 0.01)
    assert rate.value is None
    assert "990 never-seen images" in rate.reason


def test_misses_are_counted_among_the_erased():
    rate = tnr_at_tpr(seeds(positives=19))
    assert rate.value is None
    assert rate.reason == "190 erased images over 10 seeds; 10 misses need 200"
    assert (rate.positives, rate.negatives) == (190, 1_000)


def test_constant_scores_find_nobody():
    made = [(np.ones(25), np.ones(100))] * 10
    assert tpr_at_fpr(made, 0.01).value == tnr_at_tpr(made).value == 0


def test_two_seeds_have_no_interval():
    rate = tpr_at_fpr(seeds(count=2, negatives=500), 0.01)
    assert rate.value is not None
    assert rate.low is rate.high is None


def test_intervals_are_the_binomials_or_wider():
    for made in (seeds(2.0), seeds(2.0, of_seeds=1.0)):
        rate = tpr_at_fpr(made, 0.01)
        low, high = clopper_pearson(250 * rate.value, 250)
        assert 0 <= rate.low <= low + 1e-9
        assert high - 1e-9 <= rate.high <= 1
    assert rate.high - rate.low > 1.5 * (high - low)  # the second one's seeds differ


@pytest.mark.parametrize("of_seeds", [0.0, 0.7])
def test_intervals_cover_what_they_say(of_seeds):
    """The expected rate at the threshold that was taken."""
    covered = []
    for seed in range(300):
        made = seeds(2.0, positives=24, negatives=1_000, of_seeds=of_seeds, seed=seed)
        threshold = membership.exceeded_by(np.concatenate([pair[1] for pair in made]), 0.01)
        truth = norm.sf((threshold - 2) / math.hypot(1, of_seeds))
        rate = tpr_at_fpr(made, 0.01)
        covered.append(rate.low <= truth <= rate.high)
    assert np.mean(covered) >= 0.92


@pytest.mark.parametrize("made", [[], [([], [1.0])], [([1.0], [])], [([1.0], [math.nan])]])
def test_scores_that_measure_nothing_are_refused(made):
    for measure in (lambda s: tpr_at_fpr(s, 0.5), tnr_at_tpr):
        with pytest.raises(ValueError, match="seed"):
            measure(made)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_rates_outside_zero_and_one_are_refused(rate):
    for measure in (tpr_at_fpr, tnr_at_tpr):
        with pytest.raises(ValueError, match="in \\(0, 1\\)"):
            measure(seeds(), rate)
