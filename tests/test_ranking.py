import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearnbench.ranking import rank

NAN = math.nan
SEEDS = np.array([0.0, 0.3, -0.2, 0.1, -0.1])
JITTER = np.array([0.001, -0.001, 0.0005, 0.0, -0.0005])


def test_clear_differences_are_ranked_by_the_way_that_is_good():
    values = np.array([SEEDS, SEEDS + 1 + JITTER, SEEDS + 2 - JITTER])
    assert rank(values, "higher") == [3, 2, 1]
    assert rank(values, "lower") == [1, 2, 3]


def test_pairing_finds_a_difference_much_smaller_than_the_spread_of_seeds():
    values = np.array([SEEDS, SEEDS + 0.01 + JITTER])
    assert rank(values, "higher") == [2, 1]


def test_what_can_not_be_told_apart_is_tied():
    noise = np.random.default_rng(0).normal(size=(4, 5))
    assert rank(noise, "higher") == [1, 1, 1, 1]
    assert rank(np.array([SEEDS, SEEDS, SEEDS]), "higher") == [1, 1, 1]


def test_two_tied_losers_are_both_behind_the_winner():
    values = np.array([SEEDS + 5 + JITTER, SEEDS, SEEDS])
    assert rank(values, "higher") == [1, 2, 2]


def test_constant_differences_are_significant():
    assert rank(np.array([[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]]), "higher") == [1, 2]


def test_holm_takes_back_what_one_test_alone_would_find():
    # p = 0.02 alone; among the 10 pairs of five contenders it does not reach 0.05.
    better = np.array([0.55, 0.9, 0.2, 1.0, 0.6]) - 0.2
    assert rank(np.array([better, np.zeros(5)]), "higher") == [1, 2]
    crowd = np.random.default_rng(3).normal(size=(3, 5))
    assert rank(np.vstack([better, np.zeros(5), crowd]), "higher") == [1] * 5


def test_fewer_than_three_seeds_give_no_rank():
    assert rank(np.array([[1.0, 2.0], [3.0, 4.0]]), "higher") == [None, None]
    assert rank(np.array([[1.0, 2.0, NAN], [1.0, 1.1, 1.2]]), "higher") == [None, 1]


def test_a_contender_with_seeds_of_its_own_does_not_cost_the_others_their_ranks():
    values = np.full((3, 8), NAN)
    values[0, :5] = SEEDS
    values[1, :5] = SEEDS + 1 + JITTER
    values[2, 5:] = 9.0
    assert rank(values, "higher") == [2, 1, None]


def test_two_contenders_without_common_seeds_are_both_unranked():
    values = np.full((2, 6), NAN)
    values[0, :3] = values[1, 3:] = [1.0, 2.0, 3.0]
    assert rank(values, "higher") == [None, None]


def test_a_table_of_none_and_of_one():
    assert rank(np.zeros((0, 5)), "higher") == []
    assert rank(SEEDS[None, :], "lower") == [1]


@given(st.integers(1, 6), st.integers(0, 6), st.integers(0, 1_000))
def test_ranks_do_not_depend_on_the_order_of_contenders(contenders, seeds, stream):
    generator = np.random.default_rng(stream)
    values = generator.normal(size=(contenders, seeds)) * 0.1 + generator.integers(0, 3, size=(contenders, 1))
    values[generator.random(values.shape) < 0.15] = NAN
    ranks = rank(values, "higher")
    order = generator.permutation(contenders)
    assert rank(values[order], "higher") == [ranks[i] for i in order]
    assert all(each is None or 1 <= each <= contenders for each in ranks)


def test_half_missing_values_warn_of_nothing():
    with np.errstate(all="raise"):
        assert rank(np.array([[NAN] * 4, SEEDS[:4]]), "higher") == [None, 1]


@pytest.mark.filterwarnings("error")
def test_empty_rows_warn_of_nothing():
    assert rank(np.full((3, 4), NAN), "lower") == [None, None, None]
