"""The distance to retrained models: large for a planted difference, and only where it was planted."""

import math

import numpy as np
import pytest
import torch
from small_worlds import leak, utility
from unlearnbench.attacks.retrained_distance import RetrainedDistance

from unlearnbench.metrics.catalog import METRICS
from unlearnbench.plugin import Access, RetrainedModels

PARTS = ["erased"] * 2 + ["remaining"] * 3 + ["unseen"] * 3
TARGETS = 20
NAMES = {"klom_erased", "klom_remaining", "klom_unseen", "klom_null", "klom_ceiling", "epsilon_erased", "epsilon_null",
         "epsilon_ceiling", "epsilon_share", "epsilon_share_null", "epsilon_fitted"}  # fmt: skip


class View:
    """Two classes, so that the margin is the difference of the logits; erased images' margins differ by `shift`."""

    def __init__(self, shift, models, parts=PARTS, targets=TARGETS, seed=0):
        self.shift, self.models, self.parts, self.targets, self.seed = shift, models, parts, targets, seed

    def retrained_models(self):
        random = torch.Generator().manual_seed(self.seed)
        shape = (self.targets, self.models, len(self.parts))
        unlearned, retrained, null = (torch.randn(*shape, generator=random) for _ in range(3))
        unlearned += self.shift * torch.tensor([part == "erased" for part in self.parts])
        labels = torch.arange(self.targets * len(self.parts)).view(self.targets, -1) % 2
        sign = torch.where(labels == 0, 1.0, -1.0)[:, None]
        seen = (torch.stack([sign * m, torch.zeros_like(m)], -1).log_softmax(-1) for m in (unlearned, retrained, null))
        return RetrainedModels(*seen, labels, self.parts)


def measure(shift, models=128, parts=PARTS, targets=TARGETS, seed=0, **params):
    attack = RetrainedDistance(RetrainedDistance.Params(retrained=models, **params))
    evidence = attack.run(View(shift, models, parts, targets, seed))
    assert evidence.membership is evidence.images is evidence.label_scores is None
    assert set(evidence.metrics) <= set(METRICS)
    assert all(math.isfinite(each.value) for each in evidence.metrics.values())
    return evidence.metrics


def values(*args, **kwargs):
    return {name: each.value for name, each in measure(*args, **kwargs).items()}


@pytest.mark.parametrize("smoothing", ["half", "published"])
def test_a_planted_difference_shows_on_erased_images_only(smoothing):
    same, apart = (values(shift, smoothing=smoothing) for shift in (0.0, 4.0))
    assert set(same) == NAMES
    for name in ("klom_remaining", "klom_unseen", "klom_null", "epsilon_null", "epsilon_share_null"):
        assert apart[name] == same[name]
    assert apart["klom_ceiling"] > apart["klom_erased"] > 2 * apart["klom_remaining"]
    assert apart["klom_erased"] > 2 * same["klom_erased"]
    assert apart["epsilon_ceiling"] > apart["epsilon_erased"] > 2.5
    assert apart["epsilon_share"] == 1


def test_a_shift_of_one_standard_deviation_is_found():
    found = values(1.0)
    assert found["epsilon_share"] > 0.75
    assert 0 < found["epsilon_erased"] < 1.57  # which is exact
    assert found["epsilon_fitted"] > 1.57


def test_nothing_is_found_where_nothing_differs():
    for seed in range(20):
        found = values(0.0, seed=seed)
        assert found["epsilon_erased"] == found["epsilon_null"] == 0
        assert max(found["epsilon_share"], found["epsilon_share_null"]) <= 0.05
        assert found["klom_erased"] == pytest.approx(found["klom_null"], abs=0.15)


def test_every_image_of_every_target_is_counted():
    metrics = measure(1.0, models=16)
    counts = {name: each.n for name, each in metrics.items()}
    assert counts["klom_remaining"] == counts["klom_unseen"] == 3 * TARGETS
    assert {n for name, n in counts.items() if name not in ("klom_remaining", "klom_unseen")} == {2 * TARGETS}


def test_images_keep_their_own_models():
    """Only one target's models differ, so that a part of the erased images is told apart."""

    class One(View):
        def retrained_models(self):
            plain = super().retrained_models()
            shifted = plain.unlearned.clone()
            shifted[3] = torch.stack([torch.full_like(shifted[3, :, :, 0], math.log(0.999)),
                                      torch.full_like(shifted[3, :, :, 0], math.log(0.001))], -1)  # fmt: skip
            return plain._replace(unlearned=shifted)

    metrics = RetrainedDistance().run(One(0.0, 128)).metrics
    assert metrics["epsilon_share"].value == pytest.approx(2 / (2 * TARGETS))


def test_all_of_them_stay_finite_with_few_models_and_far_apart():
    found = values(500.0, models=4)
    assert found["epsilon_erased"] == found["epsilon_ceiling"]
    assert set(found) == NAMES


def test_parts_without_images_are_left_out():
    found = values(1.0, models=16, parts=["erased"], targets=1)
    assert set(found) == NAMES - {"klom_remaining", "klom_unseen"}
    assert np.isfinite(list(found.values())).all()


def test_it_declares_what_it_uses_and_says_why_not():
    access = RetrainedDistance().access
    assert (access.level, access.retrained, access.shadows) == ("log_probabilities", 128, 0)
    assert RetrainedDistance().skip(leak()) is None
    assert "leak" in RetrainedDistance().skip(utility())
    for level in ("top_k", "representation"):
        blind = RetrainedDistance(RetrainedDistance.Params(observe=level))
        assert blind.access.retrained == 128
        assert level in blind.skip(leak())


def test_of_the_representation_of_retrained_models_nothing_is_kept():
    with pytest.raises(ValueError, match="representation"):
        Access(level="representation", retrained=4)
