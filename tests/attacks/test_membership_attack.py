"""Membership of the erased set: planted answers are found, nothing is found where there is nothing."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from small_worlds import leak, utility
from unlearnbench.attacks.membership import Membership

from unlearnbench.metrics.membership import auc
from unlearnbench.plugin import ShadowUpdates, Updates

SHADOWS, TARGETS, CANDIDATES, CLASSES = 200, 200, 4, 5
FEATURES = get_args(Membership.Params.model_fields["features"].annotation)
DIFFERENCES = ("direct_difference", "sorted_difference", "l2")


class View:
    """Outputs before are random; after, the erased candidates' own change by `shift`."""

    def __init__(self, shift, permuted=False, noise=0.0):
        self.random = torch.Generator().manual_seed(0)
        shadow, self.shadow_erased = self._updates(SHADOWS, shift, noise)
        self._target, self.erased = self._updates(TARGETS, shift, noise)
        answers = self.shadow_erased
        if permuted:
            answers = answers.flatten()[torch.randperm(answers.numel(), generator=self.random)].view(answers.shape)
        empty = torch.empty(SHADOWS, 1, 1, 4, 4)
        self._shadow = ShadowUpdates(
            shadow, empty, torch.empty(SHADOWS, 1), answers, torch.zeros(SHADOWS) > 0, torch.zeros(SHADOWS)
        )

    def _updates(self, count, shift, noise):
        before = torch.randn(count, CANDIDATES, CLASSES, generator=self.random)
        erased = torch.rand(count, CANDIDATES, generator=self.random).argsort(1) < CANDIDATES // 2
        after = before + noise * torch.randn(before.shape, generator=self.random)
        # The most likely class loses.
        top = torch.nn.functional.one_hot(before.argmax(-1), CLASSES)
        after = after - shift * (erased[..., None] & (top > 0)).float()
        probe = torch.zeros(count, 1, CLASSES)
        images = torch.zeros(count, CANDIDATES, 1, 4, 4, dtype=torch.uint8)
        return Updates(probe, probe, images, torch.zeros(count, CANDIDATES), before, after), erased

    def shadow_updates(self):
        return self._shadow

    def updates(self):
        return self._target

    def torch_seed(self, *purpose):
        return 2**40 + 1


def attack(view, **params):
    evidence = Membership(Membership.Params(**params)).run(view)
    assert evidence.membership.shape == (TARGETS, CANDIDATES)
    assert evidence.subject == "erased"
    assert float(evidence.membership.min()) >= 0
    assert float(evidence.membership.max()) <= 1
    return auc(evidence.membership.flatten().numpy(), view.erased.flatten().numpy())


def null_interval():
    """Half of the 99.9 % interval of the AUC without an effect (Mann-Whitney)."""
    half = TARGETS * CANDIDATES // 2
    return 3.29 * math.sqrt((2 * half + 1) / (12 * half * half))


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("classifier", ["logistic", "forest"])
def test_a_planted_change_is_found(features, classifier):
    view = View(shift=4.0, noise=0.1)
    assert attack(view, features=features, classifier=classifier) > 0.9


@pytest.mark.parametrize("features", DIFFERENCES)
def test_equal_models_give_exactly_a_half_on_differences(features):
    assert attack(View(shift=0.0), features=features) == 0.5


@pytest.mark.parametrize("features", FEATURES)
def test_without_an_effect_nothing_is_found(features):
    """Both sides are non-members: their outputs are alike before, and change alike."""
    assert abs(attack(View(shift=0.0, noise=0.5), features=features) - 0.5) < null_interval()
    assert abs(attack(View(shift=0.0), features=features) - 0.5) < null_interval()


@pytest.mark.parametrize("features", FEATURES)
def test_permuted_answers_teach_nothing_about_a_null(features):
    assert abs(attack(View(shift=0.0, noise=0.5, permuted=True), features=features) - 0.5) < null_interval()


def test_permuting_the_answers_destroys_what_is_learned():
    learned = attack(View(shift=4.0, noise=0.1), features="direct_concatenation")
    values = []
    for seed in range(12):
        view = View(shift=4.0, noise=0.1)
        generator = torch.Generator().manual_seed(seed)
        erased = view._shadow.erased
        answers = erased.flatten()[torch.randperm(erased.numel(), generator=generator)].view(erased.shape)
        view._shadow = view._shadow._replace(erased=answers)
        values.append(attack(view, features="direct_concatenation"))
    assert learned > 0.9
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert abs(np.mean(values) - 0.5) < 4.44 * error  # Student's t with 11 degrees of freedom, 99.9 %


def test_sorted_features_do_not_depend_on_the_order_of_classes():
    straight, permuted = View(shift=2.0, noise=0.3), View(shift=2.0, noise=0.3)
    order = torch.tensor([3, 1, 4, 0, 2])
    target = permuted._target
    permuted._target = target._replace(
        candidates_before=target.candidates_before[..., order], candidates_after=target.candidates_after[..., order]
    )
    for features in ("sorted_difference", "sorted_concatenation", "l2"):
        assert attack(straight, features=features) == pytest.approx(attack(permuted, features=features), abs=1e-4)


def test_it_declares_what_it_uses_and_skips_utility():
    access = Membership(Membership.Params(observe="label", shadows=12)).access
    assert (access.level, access.shadows, access.members) == ("label", 12, False)
    assert Membership().skip(leak()) is None
    assert "leak" in Membership().skip(utility())
