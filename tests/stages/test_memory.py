"""Standings among never-seen images: exact on small numbers, and the same however outputs are scaled."""

from __future__ import annotations

import pytest
import torch

from unlearnbench.stages.memory import Retrained, _quantiles, margins, memory
from unlearnbench.stages.retraining import halves

NAN = float("nan")


def test_a_margin_is_the_true_logit_minus_the_largest_other() -> None:
    logits = torch.tensor([[[1.0, 4.0, 2.0], [3.0, 0.0, -1.0]]])
    assert margins(logits, torch.tensor([[1, 2]])).tolist() == [[2.0, -4.0]]


def test_standings_are_quantiles_within_the_class() -> None:
    margin, labels = torch.tensor([[0.5, 2.0, 9.0]]), torch.tensor([[0, 0, 2]])
    unseen, unseen_labels = torch.tensor([[0.0, 0.5, 1.0, 3.0, 100.0]]), torch.tensor([0, 0, 0, 0, 1])
    found = _quantiles(margin, labels, unseen, unseen_labels)
    assert found[0, :2].tolist() == [(1 + 0.5) / 4, 3 / 4]
    assert found[0, 2].isnan()  # no never-seen image of its class


@pytest.mark.parametrize("scale", [0.1, 10.0, 1e-3])
def test_standings_do_not_know_the_scale_of_outputs(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, unseen = torch.randn(4, 6, 5, generator=generator), torch.randn(4, 50, 5, generator=generator)
    labels, unseen_labels = torch.arange(6).remainder(5).expand(4, -1), torch.arange(50).remainder(5)

    def standing(factor: float) -> torch.Tensor:
        own = margins(factor * logits, labels)
        return _quantiles(own, labels, margins(factor * unseen, unseen_labels.expand(4, -1)), unseen_labels)

    assert torch.equal(standing(1.0), standing(scale))


def test_memory_is_beyond_what_retrained_models_give() -> None:
    standing = torch.tensor([[[0.2], [0.9]], [[0.4], [0.7]], [[0.9], [0.3]]])
    left_out = torch.tensor([[True, False], [True, False], [False, True]])
    retrained = Retrained(standing, left_out, torch.zeros(3))
    assert retrained.expected.tolist() == [[pytest.approx(0.3)], [pytest.approx(0.3)]]
    assert memory(torch.tensor([[0.8], [0.5]]), retrained) == pytest.approx(0.35)
    assert memory(torch.tensor([[0.8], [NAN]]), retrained) == pytest.approx(0.5)
    assert memory(torch.full((2, 1), NAN), retrained) is None


@pytest.mark.parametrize("targets", [1, 2, 3, 7, 20, 25])
def test_every_target_is_left_out_of_about_half_the_models(targets: int) -> None:
    left_out = halves(targets, 16, seed=3)
    assert len(set(left_out.sum(1).tolist())) == 1, "all models are trained on as many images"
    times = left_out.sum(0)
    assert int(times.min()) >= (16 if targets == 1 else 5)
    if targets > 1 and targets % 2 == 0:
        assert times.tolist() == [8] * targets
