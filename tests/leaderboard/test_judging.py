"""Verdicts from one number a seed: who passes, who fails, and when nothing can be said."""

from __future__ import annotations

import numpy as np
import pytest

from unlearnbench.leaderboard.verdicts import (
    Accuracy,
    Beside,
    Forgetting,
    accuracy_kept,
    backdoor_forgetting,
    beside_retraining,
    forgetting,
    forgetting_seeds,
    one_sided,
    uneven,
)

HELD = np.array([0.18, 0.22, 0.15, 0.25, 0.20])
"""D0 of five seeds."""


@pytest.mark.parametrize(
    ("left", "verdict"),
    [
        (HELD, Forgetting.REMEMBERED),
        (0.9 * HELD, Forgetting.REMEMBERED),
        (0 * HELD, Forgetting.FORGOTTEN),
        (np.array([0.01, -0.02, 0.02, -0.01, 0.0]), Forgetting.FORGOTTEN),
        (-HELD, Forgetting.OVER_FORGOTTEN),
        (0.5 * HELD, Forgetting.OPEN),  # at the margin
        (np.array([0.3, -0.3, 0.2, -0.2, 0.0]), Forgetting.OPEN),  # about 0, but by how much?
    ],
)
def test_both_sides_of_the_margin(left: np.ndarray, verdict: Forgetting) -> None:
    assert forgetting(left, HELD, 0.5) == verdict


def test_without_memory_there_is_nothing_to_forget() -> None:
    assert forgetting(np.zeros(5), np.array([0.1, -0.1, 0.05, -0.02, 0.0]), 0.5) == Forgetting.NOTHING
    assert forgetting(np.zeros(5), -HELD, 0.5) == Forgetting.NOTHING


def test_two_seeds_say_nothing() -> None:
    assert forgetting(np.zeros(2), HELD[:2], 0.5) == Forgetting.OPEN


def test_equal_seeds_are_as_sure_as_one_image_and_no_surer() -> None:
    left, held = np.full(5, 0.02), np.full(5, 0.08)  # margin * D0 - D = 0.02
    assert forgetting(left, held, 0.5, images=0) == Forgetting.FORGOTTEN
    assert forgetting(left, held, 0.5, images=20) == Forgetting.NOTHING  # one image of 20 is 0.05: D0 is not above 0
    assert forgetting(left, held, 0.5, images=100) == Forgetting.OPEN  # 2 standard errors, 2.78 wanted


def test_more_seeds_make_a_verdict_surer() -> None:
    """A method that is within the margin is judged to be more often with more seeds; it was less often before."""
    generator = np.random.default_rng(0)
    shares = []
    for seeds in (3, 5, 10, 20):
        found = [
            forgetting(generator.normal(0.02, 0.05, seeds), generator.normal(0.2, 0.05, seeds), 0.5) for _ in range(300)
        ]
        assert found.count(Forgetting.REMEMBERED) + found.count(Forgetting.OVER_FORGOTTEN) <= 8
        shares.append(found.count(Forgetting.FORGOTTEN) / 300)
    assert shares == sorted(shares)
    assert shares[-1] > 0.99


def test_at_the_margin_it_is_passed_in_at_most_one_of_twenty() -> None:
    generator = np.random.default_rng(1)
    found = [forgetting(generator.normal(0.1, 0.05, 10), generator.normal(0.2, 0.03, 10), 0.5) for _ in range(1_000)]
    assert found.count(Forgetting.FORGOTTEN) <= 40  # 2.5 %, and its error
    assert found.count(Forgetting.REMEMBERED) <= 40


def test_k_of_n_counts_seeds_within_the_margin_of_the_mean_memory() -> None:
    assert forgetting_seeds(np.array([0.0, 0.09, 0.11, -0.2, -0.1]), HELD, 0.5) == 3
    assert forgetting_seeds(np.zeros(5), -HELD, 0.5) == 5  # 0 of 0 is within it


@pytest.mark.parametrize(
    ("met", "of", "verdict"),
    [
        (3, 3, Forgetting.OPEN),  # 3 of 3 is what a method that fails in one of five shows half of the time
        (5, 5, Forgetting.FORGOTTEN),
        (9, 10, Forgetting.FORGOTTEN),
        (8, 10, Forgetting.OPEN),
        (1, 10, Forgetting.REMEMBERED),
        (0, 5, Forgetting.REMEMBERED),
        (2, 2, Forgetting.OPEN),
    ],
)
def test_stamped_images_are_judged_by_seeds(met: int, of: int, verdict: Forgetting) -> None:
    accuracy = [0.01] * met + [0.9] * (of - met)
    assert backdoor_forgetting(accuracy, 0.02) == (verdict, met)


def test_methods_that_stop_just_under_the_bar_forgot() -> None:
    """Their mean's interval would reach over it."""
    assert backdoor_forgetting([0.0199, 0.0198, 0.015, 0.0199, 0.0116], 0.02) == (Forgetting.FORGOTTEN, 5)


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.0, 0.01, -0.01, 0.0, 0.005], Accuracy.KEPT),
        ([-0.03, -0.031, -0.029, -0.03, -0.03], Accuracy.KEPT),
        ([-0.1, -0.12, -0.08, -0.11, -0.1], Accuracy.BELOW),
        ([-0.3, 0.2, -0.2, 0.1, -0.1], Accuracy.OPEN),
        ([-0.05, -0.05, -0.05, -0.05, -0.05], Accuracy.OPEN),
        ([-0.01, -0.01], Accuracy.OPEN),
    ],
)
def test_accuracy_is_kept_or_below_the_floor(differences: list[float], verdict: Accuracy) -> None:
    assert accuracy_kept(differences, 0.05, 360) == verdict


def test_a_leak_is_no_worse_than_retraining_or_worse() -> None:
    assert beside_retraining([0.0, 0.01, -0.01, 0.0], 0.05) == Beside.NO_WORSE
    assert beside_retraining([0.2, 0.21, 0.19, 0.2], 0.05) == Beside.WORSE
    assert beside_retraining([0.2, -0.2, 0.1, 0.0], 0.05) == Beside.OPEN


def test_a_constant_difference_of_one_image_is_not_certain() -> None:
    assert one_sided(np.full(3, 1 / 540)) == 0.0
    assert one_sided(np.full(3, 1 / 540), floor=1 / 540) > 0.2
    assert one_sided(np.zeros(5)) == 1.0
    assert one_sided(np.array([1.0, np.nan, 1.0])) == 1.0  # two values


def test_half_remembered_and_half_over_forgotten_is_not_forgotten() -> None:
    """Their mean is that of retraining."""
    generator = np.random.default_rng(0)
    seeds, images = 10, 20
    noise = 0.15
    left, square, held, held_square = [], [], [], []
    for _ in range(seeds):
        shift = np.where(np.arange(images) % 2, 0.2, -0.2)
        apart, original = shift + generator.normal(0, noise, images), 0.2 + generator.normal(0, noise, images)
        left.append(apart.mean())
        held.append(original.mean())
        square.append((apart**2).mean() - noise**2)
        held_square.append((original**2).mean() - noise**2)
    assert forgetting(left, held, 0.5) == Forgetting.FORGOTTEN
    assert uneven(square, held_square, 0.5)


def test_retraining_is_not_called_uneven_by_chance() -> None:
    generator = np.random.default_rng(1)
    found = 0
    for _ in range(2_000):
        apart, original = generator.normal(0, 0.15, (10, 20)), 0.2 + generator.normal(0, 0.15, (10, 20))
        found += uneven((apart**2).mean(1) - 0.15**2, (original**2).mean(1) - 0.15**2, 0.5)
    assert found <= 20
