"""Thresholds that no answer was needed for."""

import torch

from unlearnbench.adversary.thresholds import two_groups


def test_two_groups_are_told_apart():
    scores = torch.tensor([[0.1, 5.0], [0.2, 5.2], [0.0, 4.9], [0.3, 0.2]])
    cut = two_groups(scores)
    assert 0.3 < cut < 4.9
    assert two_groups(-scores) == -cut


def test_a_few_that_stand_out_are_a_group():
    assert 1 < two_groups(torch.cat([torch.zeros(99), torch.tensor([10.0])])) < 10


def test_equal_scores_are_not_above_their_threshold():
    assert two_groups(torch.full((6,), 2.5)) == 2.5
    assert two_groups(torch.tensor([2.5])) == 2.5
