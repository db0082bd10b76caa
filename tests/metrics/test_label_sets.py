import math

import pytest
import torch

from unlearnbench.metrics.label_sets import counts, divergence, overlap

TRUTH = torch.tensor([[0, 0, 1, 3], [2, 2, 2, 2]])


def test_overlap_counts_labels_in_any_order():
    assert overlap(TRUTH.flip(1), TRUTH, 4).tolist() == [1, 1]
    inferred = torch.tensor([[0, 1, 1, 2], [0, 0, 1, 2]])
    assert overlap(inferred, TRUTH, 4).tolist() == [0.5, 0.25]


def test_overlap_of_single_labels_is_accuracy():
    truth, inferred = torch.tensor([[1], [2], [0]]), torch.tensor([[1], [0], [0]])
    assert overlap(inferred, truth, 3).tolist() == [1, 0, 1]


def test_divergence_by_hand():
    """Shares 1/2, 1/4, 0, 1/4 against counts 2, 2, 0, 0, each plus a half, of 6."""
    inferred = torch.tensor([[2, 2, 0, 0]])
    expected = 0.5 * math.log(0.5 / (2.5 / 6)) + 0.25 * math.log(0.25 / (2.5 / 6)) + 0.25 * math.log(0.25 / (0.5 / 6))
    assert float(divergence(TRUTH[:1], inferred)) == pytest.approx(expected)


def test_right_counts_are_better_than_uniform_ones_and_finite_without_a_class():
    right = divergence(TRUTH, counts(TRUTH, 4))
    uniform = divergence(TRUTH, torch.full((1, 4), 1_000))
    assert torch.isfinite(right).all()
    assert (right < uniform).all()
    assert (right >= 0).all()


def test_many_images_leave_nothing_to_smoothing():
    many = (torch.arange(5_000) % 4)[None]
    assert float(divergence(many, counts(many, 4))) < 1e-6
