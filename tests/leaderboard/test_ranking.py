"""Places and what can't be told from the best: the order of the means, no surer than the seeds and the images allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearnbench.leaderboard.ranking import ALPHA, power, standings
from unlearnbench.metrics.catalog import Better
from unlearnbench.metrics.intervals import Floats

NAN = math.nan
SEEDS = np.array([0.0, 0.3, -0.2, 0.1, -0.1])
JITTER = np.array([0.001, -0.001, 0.0005, 0.0, -0.0005])


def places(values: Floats, better: Better = "higher", floor: float = 0.0) -> list[int | None]:
    return [None if each is None else each.place for each in standings(values, better, floor)]


def near(values: Floats, better: Better = "higher", floor: float = 0.0) -> list[bool | None]:
    return [None if each is None else each.near_best for each in standings(values, better, floor)]


def spread(mean: float, half: float) -> Floats:
    """Three seeds with this mean and this half width of Student's 95 % interval."""
    deviation = half * math.sqrt(3) / 4.302652729911275
    return mean + deviation * np.array([-1.0, 1.0, 0.0])


# --- the four examples of why a rank by significance is no rank ------------------------------------------------------


def test_a_worse_mean_never_stands_above_a_better_one() -> None:
    """Figure 4, Fashion-MNIST, 2 % erased: 0.50 +- 0.24 stood above 0.842 +- 0.022, for no other was told from it."""
    crfu, vbu, hbu = spread(0.50, 0.24), spread(0.842, 0.022)[::-1], spread(0.80, 0.03)
    assert places(np.array([crfu, vbu, hbu])) == [3, 1, 2]
    assert places(np.array([vbu, crfu])) == [1, 2]


def test_a_wide_interval_ties_nobody_with_the_best_but_is_marked_as_not_told() -> None:
    """0.61 +- 0.61 was tied with 0.924 at three seeds: the order is that of the means, and what is open is marked."""
    values = np.array([spread(0.61, 0.61), spread(0.924, 0.01)])
    assert places(values) == [2, 1]
    assert near(values) == [True, True]


def test_one_image_in_three_seeds_is_no_difference_and_many_are() -> None:
    """Constant differences had p = 0: one image of 540 in each of three seeds gave the places 1, 2, 1."""
    values = np.repeat([[501 / 540], [500 / 540], [0.840]], 3, axis=1)
    assert places(values, floor=1 / 540) == [1, 2, 3]
    assert near(values, floor=1 / 540) == [True, True, False]


def test_the_true_best_is_marked_in_all_but_one_of_twenty_draws_and_a_bad_one_never() -> None:
    """20 methods at 10 seeds, close enough at the top that the best mean is often another's than the true best's."""
    generator = np.random.default_rng(20_250_101)
    truth = np.array([0.92, *np.linspace(0.915, 0.80, 18), 0.60])
    missed = first = 0
    for _ in range(400):
        found = standings(truth[:, None] + generator.normal(0, 0.03, (20, 10)), "higher")
        assert found[0] is not None
        assert found[-1] is not None
        missed += not found[0].near_best
        first += found[0].place == 1
        assert not found[-1].near_best
        assert found[-1].place == 20
    assert missed <= 0.05 * 400
    assert first < 0.9 * 400  # else the draws would say nothing


def test_the_true_best_is_marked_whichever_of_equals_it_is() -> None:
    """The hardest case of the bound: all are equally good, and any of them is the true best."""
    generator = np.random.default_rng(3)
    missed = 0
    for _ in range(400):
        found = standings(generator.normal(0, 1, (20, 10)), "lower")
        missed += not (found[7] is not None and found[7].near_best)
    assert missed <= 0.05 * 400


# --- places ----------------------------------------------------------------------------------------------------------


def test_places_follow_the_way_that_is_good() -> None:
    values = np.array([SEEDS, SEEDS + 1 + JITTER, SEEDS + 2 - JITTER])
    assert places(values, "higher") == [3, 2, 1]
    assert places(values, "lower") == [1, 2, 3]
    assert near(values, "higher") == [False, False, True]
    assert near(values, "lower") == [True, False, False]


def test_pairing_finds_a_difference_much_smaller_than_the_spread_of_seeds() -> None:
    values = np.array([SEEDS, SEEDS + 0.01 + JITTER])
    assert near(values) == [False, True]
    assert near(np.array([SEEDS, (SEEDS + 0.01 + JITTER)[::-1]])) == [True, True]


def test_what_can_not_be_told_from_the_best_is_marked() -> None:
    noise = np.random.default_rng(0).normal(size=(4, 5))
    assert near(noise) == [True] * 4
    assert sorted(each or 0 for each in places(noise)) == [1, 2, 3, 4]
    assert places(np.array([SEEDS, SEEDS, SEEDS])) == [1, 1, 1]  # one mean
    assert near(np.array([SEEDS, SEEDS, SEEDS])) == [True] * 3


def test_two_losers_that_are_alike_are_both_told_from_the_winner() -> None:
    values = np.array([SEEDS + 5 + JITTER, SEEDS, SEEDS])
    assert places(values) == [1, 2, 2]
    assert near(values) == [True, False, False]


def test_constant_differences_are_told_where_no_image_could_have_been_otherwise() -> None:
    values = np.array([[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]])
    assert near(values) == [True, False]
    assert near(values, floor=0.3) == [True, True]


def test_each_contender_meets_the_best_alone_so_that_the_number_of_tests_is_k_minus_1() -> None:
    # p = 0.0085 one-sided: below 0.05 and 0.05 / 4, above 0.05 / 9.
    better = np.array([0.55, 0.9, 0.2, 1.0, 0.6]) - 0.1
    beside = np.vstack([better, np.zeros(5)])
    assert near(beside) == [True, False]
    crowd = np.tile(better - 5, (8, 1)) + JITTER
    assert near(np.vstack([beside, crowd[:3]]))[:2] == [True, False]
    assert near(np.vstack([beside, crowd]))[:2] == [True, True]


def test_fewer_than_three_seeds_give_no_place() -> None:
    assert places(np.array([[1.0, 2.0], [3.0, 4.0]])) == [None, None]
    assert places(np.array([[1.0, 2.0, NAN], [1.0, 1.1, 1.2]])) == [None, 1]


def test_a_contender_with_seeds_of_its_own_is_not_told_from_the_best_and_costs_nobody_a_place() -> None:
    values = np.full((3, 8), NAN)
    values[0, :5] = SEEDS
    values[1, :5] = SEEDS + 1 + JITTER
    values[2, 5:] = 0.5
    assert places(values) == [3, 1, 2]
    assert near(values) == [False, True, True]


def test_a_table_of_none_and_of_one() -> None:
    assert places(np.zeros((0, 5))) == []
    assert places(SEEDS[None, :], "lower") == [1]
    assert near(SEEDS[None, :], "lower") == [True]


@given(st.integers(1, 6), st.integers(0, 6), st.integers(0, 1_000))
def test_places_follow_means_and_do_not_depend_on_the_order_of_contenders(
    contenders: int, seeds: int, stream: int
) -> None:
    generator = np.random.default_rng(stream)
    values = generator.normal(size=(contenders, seeds)) * 0.1 + generator.integers(0, 3, size=(contenders, 1))
    values[generator.random(values.shape) < 0.15] = NAN
    found = standings(values, "higher")
    order = generator.permutation(contenders)
    assert standings(values[order], "higher") == [found[i] for i in order]
    there = [(each, float(np.nanmean(row))) for each, row in zip(found, values, strict=True) if each is not None]
    assert all((a.place < b.place) == (x > y) for a, x in there for b, y in there)
    assert all(each.near_best for each, _ in there if each.place == 1)


def test_half_missing_values_warn_of_nothing() -> None:
    with np.errstate(all="raise"):
        assert places(np.array([[NAN] * 4, SEEDS[:4]])) == [None, 1]


@pytest.mark.filterwarnings("error")
def test_empty_rows_warn_of_nothing() -> None:
    assert places(np.full((3, 4), NAN), "lower") == [None, None, None]


# --- power -----------------------------------------------------------------------------------------------------------


def told(values: Sequence[Floats], difference: float, draws: int = 2_000) -> float:
    """How often a contender that is worse by a difference is told, simulated with the spread of the first pair."""
    generator = np.random.default_rng(11)
    seeds, deviation = len(values[0]), float(np.std(values[0] - values[1], ddof=1))
    count = 0
    for _ in range(draws):
        drawn = np.array([np.zeros(seeds), -difference + generator.normal(0, deviation, seeds)])
        found = standings(np.vstack([drawn, np.full((len(values) - 2, seeds), -99.0)]), "higher")
        count += found[1] is not None and not found[1].near_best
    return count / draws


@pytest.mark.parametrize("contenders", [2, 5])
def test_power_is_how_often_a_difference_is_told(contenders: int) -> None:
    generator = np.random.default_rng(5)
    first = generator.normal(0, 1, 10)
    values = [first, first + 0.05 * generator.normal(0, 1, 10), *[first.copy() for _ in range(contenders - 2)]]
    expected = power(np.array(values[:2] + [values[0]] * (contenders - 2)), 0.05)
    assert expected is not None
    assert told(values, 0.05) == pytest.approx(expected, abs=0.05)


def test_power_grows_with_seeds_and_with_the_difference_and_shrinks_with_contenders() -> None:
    values = np.array([np.zeros(20), *(scale * np.tile([0.04, -0.04], 10) for scale in (1.0, 0.9, 0.8, 0.7, 0.6))])
    by_seeds = [power(values[:2, :n], 0.05) or 0 for n in (4, 6, 10, 20)]
    by_difference = [power(values[:2, :10], each) or 0 for each in (0.0, 0.02, 0.05, 0.2)]
    assert by_seeds == sorted(by_seeds)
    assert by_difference == sorted(by_difference)
    assert by_difference[0] == pytest.approx(ALPHA)
    assert (power(values[:, :10], 0.05) or 0) < (power(values[:2, :10], 0.05) or 0)


def test_power_of_a_table_is_that_of_its_hardest_pair_and_no_surer_than_an_image() -> None:
    assert power(np.array([SEEDS, SEEDS]), 0.05) == 1.0
    bounded = power(np.array([SEEDS, SEEDS]), 0.05, floor=0.05)
    assert bounded is not None
    assert bounded < 0.5
    noisy = np.array([SEEDS, SEEDS, SEEDS[::-1]])
    assert power(noisy, 0.05) == power(noisy[[0, 2, 2]], 0.05)


def test_power_needs_two_contenders_with_three_common_seeds() -> None:
    assert power(SEEDS[None, :], 0.05) is None
    apart = np.full((2, 6), NAN)
    apart[0, :3] = apart[1, 3:] = [1.0, 2.0, 3.0]
    assert power(apart, 0.05) is None
    assert power(np.array([[1.0, NAN, NAN], [1.0, 2.0, 3.0]]), 0.05) is None
