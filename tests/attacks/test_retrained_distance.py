"""The distance to retrained models: large for a planted difference, and only where it was planted."""

import math

import numpy as np
import pytest
import torch
from small_worlds import leak, utility
from unlearnbench.attacks.retrained_distance import RetrainedDistance

from unlearnbench.metrics.catalog import METRICS
from unlearnbench.metrics.distributions import EPSILON_CAP
from unlearnbench.plugin import RetrainedModels

PARTS = ["erased"] * 40 + ["remaining"] * 40 + ["unseen"] * 40


class View:
    """Two classes, so that the margin is the difference of the logits; erased images' margins differ by `shift`."""

    def __init__(self, shift, models):
        self.shift, self.models = shift, models

    def retrained_models(self):
        random = torch.Generator().manual_seed(0)
        unlearned, retrained = (torch.randn(self.models, len(PARTS), generator=random) for _ in range(2))
        unlearned += self.shift * torch.tensor([part == "erased" for part in PARTS])
        labels = torch.arange(len(PARTS)) % 2
        sign = torch.where(labels == 0, 1.0, -1.0)
        stacked = (torch.stack([sign * m, torch.zeros_like(m)], -1).log_softmax(-1) for m in (unlearned, retrained))
        return RetrainedModels(*stacked, labels, PARTS)


def measure(shift, models=16, **params):
    evidence = RetrainedDistance(RetrainedDistance.Params(retrained=models, **params)).run(View(shift, models))
    assert evidence.membership is evidence.images is evidence.label_scores is None
    assert set(evidence.metrics) <= set(METRICS)
    assert all(math.isfinite(value) for value in evidence.metrics.values())
    return evidence.metrics


@pytest.mark.parametrize("smoothing", ["half", "published"])
def test_a_planted_difference_shows_on_erased_images_only(smoothing):
    same, apart = (measure(shift, models=64, smoothing=smoothing) for shift in (0.0, 4.0))
    assert apart["klom_erased"] > 2 * same["klom_erased"]
    for name in ("klom_remaining", "klom_unseen", "klom_null"):
        assert apart[name] == same[name]
    assert apart["klom_erased"] > 2 * apart["klom_remaining"]
    assert apart["epsilon_erased"] > 4 > 1 > same["epsilon_erased"]


def test_all_of_them_stay_finite_with_few_models_and_far_apart():
    metrics = measure(500.0, models=4)
    assert metrics["epsilon_erased"] == EPSILON_CAP
    assert set(metrics) == {"klom_erased", "klom_remaining", "klom_unseen", "klom_null", "epsilon_erased"}


def test_the_null_is_somewhat_above_the_divergence_of_equal_distributions():
    """It has half as many models a side."""
    metrics = measure(0.0, models=64)
    assert metrics["klom_erased"] < metrics["klom_null"] < 2 * metrics["klom_erased"]


def test_parts_without_images_are_left_out():
    class Erased(View):
        def retrained_models(self):
            return RetrainedModels(*(part[:, :40] for part in super().retrained_models()[:2]),
                                   torch.arange(40) % 2, ["erased"] * 40)  # fmt: skip

    metrics = RetrainedDistance().run(Erased(1.0, 16)).metrics
    assert set(metrics) == {"klom_erased", "klom_null", "epsilon_erased"}
    assert np.isfinite(list(metrics.values())).all()


def test_it_declares_what_it_uses_and_says_why_not():
    access = RetrainedDistance().access
    assert (access.level, access.retrained, access.shadows) == ("log_probabilities", 16, 0)
    assert RetrainedDistance().skip(leak()) is None
    assert "leak" in RetrainedDistance().skip(utility())
    assert "top_k" in RetrainedDistance(RetrainedDistance.Params(observe="top_k")).skip(leak())
