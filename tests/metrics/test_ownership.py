"""The owner's exact tests, beside scipy's, the paper's formula, and simulated answers."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest, t

from unlearnbench.metrics.ownership import LEVEL, POWER, fewest_queries, p_value, paired_p_value


def rejects_as_published(found, asked, classes, level=LEVEL):
    """MIB's theorem: sqrt(q - 1) (s - 1/K) > sqrt(s - s^2) t."""
    share = found / asked
    return np.sqrt(asked - 1) * (share - 1 / classes) > np.sqrt(share - share**2) * t.ppf(1 - level, asked - 1)


def power(share, asked, null):
    """The exact probability of a rejection, from every number of answers that rejects."""
    rejecting = [found for found in range(asked + 1) if p_value(found, asked, null) <= LEVEL]
    return float(binom.pmf(rejecting, asked, share).sum())


@pytest.mark.parametrize("asked", [1, 7, 30, 100])
@pytest.mark.parametrize("share", [0.5, 0.25, 0.1])
def test_p_values_are_those_of_the_exact_binomial_test(asked, share):
    for found in range(asked + 1):
        expected = binomtest(found, asked, share, alternative="greater").pvalue
        assert p_value(found, asked, share) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("classes", [2, 4, 10, 100])
def test_a_model_that_answers_at_random_is_found_in_five_percent_of_audits_at_most(classes):
    for asked in (1, 2, 3, 10, 33, 100, 333):
        assert power(1 / classes, asked, 1 / classes) <= LEVEL
        assert power(0.5 / classes, asked, 1 / classes) <= power(1 / classes, asked, 1 / classes)


@pytest.mark.parametrize(("share", "asked"), [(0.15, 200), (0.3, 30), (0.9, 4)])
def test_power_is_that_of_simulated_audits(share, asked):
    draws = np.random.default_rng(1).binomial(asked, share, 20_000)
    simulated = np.mean([p_value(int(found), asked, 0.1) <= LEVEL for found in draws])
    assert simulated == pytest.approx(power(share, asked, 0.1), abs=0.012)  # four standard errors are 0.014 at most


@pytest.mark.parametrize("share", [1.0, 0.9, 0.5, 0.2, 0.15])
@pytest.mark.parametrize("null", [0.5, 0.1])
def test_fewer_queries_than_the_fewest_have_too_little_power(share, null):
    needed = fewest_queries(share, null, 1_000)
    if share <= null:
        assert needed is None
    else:
        assert power(share, needed, null) >= POWER
        assert all(power(share, asked, null) < POWER for asked in range(1, needed))


def test_a_mark_that_always_works_is_found_with_two_queries_of_ten_classes_and_five_of_two():
    assert fewest_queries(1.0, 0.1, 100) == 2
    assert fewest_queries(1.0, 0.5, 100) == 5
    assert fewest_queries(1.0, 0.5, 4) is None
    assert fewest_queries(0.0, 0.1, 100) is None


@pytest.mark.parametrize("classes", [4, 10])
def test_the_published_formula_agrees_with_the_exact_test_but_for_cases_on_the_border(classes):
    for asked in (30, 100, 300):
        exact = [p_value(found, asked, 1 / classes) <= LEVEL for found in range(asked + 1)]
        published = [bool(rejects_as_published(found, asked, classes)) for found in range(asked + 1)]
        different = [found for found in range(asked + 1) if exact[found] != published[found]]
        # It replaces the deviation under the null by that of the answers, which is larger: it asks for a bit more.
        assert len(different) <= 2
        assert all(0.01 <= p_value(found, asked, 1 / classes) <= 0.1 for found in different)


@pytest.mark.parametrize("asked", [2, 3, 4])
def test_the_published_formula_breaks_where_all_answers_agree(asked):
    assert rejects_as_published(asked, asked, 2)
    assert p_value(asked, asked, 2**-1) == pytest.approx(2.0**-asked)
    assert p_value(asked, asked, 2**-1) > LEVEL


def test_the_paired_test_is_mcnemars_one_sided():
    assert paired_p_value(0, 0) == 1
    for gained, lost in ((5, 0), (4, 0), (10, 3), (3, 10)):
        expected = binomtest(gained, gained + lost, 0.5, alternative="greater").pvalue
        assert paired_p_value(gained, lost) == pytest.approx(expected, rel=1e-9)


def test_a_mark_that_changes_nothing_is_found_in_five_percent_of_pairs_at_most():
    for changed in range(1, 60):
        found = [gained for gained in range(changed + 1) if paired_p_value(gained, changed - gained) <= LEVEL]
        assert binom.pmf(found, changed, 0.5).sum() <= LEVEL


def test_the_paired_test_finds_any_effect_with_enough_queries_and_the_other_one_none_below_its_share():
    """Why it gives no verdict: 3 % of false answers that a pattern causes in a model that never saw it."""
    assert paired_p_value(11, 0) < 0.001
    assert p_value(11, 328, 0.1) > 0.99
