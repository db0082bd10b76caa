"""Membership of the erased set: planted answers are found, nothing is found where there is nothing."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from small_worlds import leak, utility
from unlearnbench.attacks.membership import Membership

from unlearnbench.adversary.observation import observe
from unlearnbench.metrics.membership import auc
from unlearnbench.plugin import ShadowUpdates, Updates

SHADOWS, TARGETS, CANDIDATES, CLASSES = 200, 200, 4, 5
FEATURES = get_args(Membership.Params.model_fields["features"].annotation)
CLASSIFIERS = get_args(Membership.Params.model_fields["classifier"].annotation)
DIFFERENCES = ("direct_difference", "sorted_difference", "l2", "margin")


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
        return Updates(probe, probe, images, before.argmax(-1), before, after), erased  # the labels are known by heart

    def shadow_updates(self):
        return self._shadow

    def updates(self):
        return self._target

    def torch_seed(self, *purpose):
        return 2**40 + 1


def attack(view, **params):
    evidence = Membership(Membership.Params(**params)).run(view)
    assert evidence.subject == "erased"
    for likely in (evidence.membership, evidence.baseline):
        assert likely.shape == view.erased.shape
        assert float(likely.min()) >= 0
        assert float(likely.max()) <= 1
    return auc(evidence.membership.flatten().numpy(), view.erased.flatten().numpy())


def null_interval():
    """Half of the 99.9 % interval of the AUC without an effect (Mann-Whitney)."""
    half = TARGETS * CANDIDATES // 2
    return 3.29 * math.sqrt((2 * half + 1) / (12 * half * half))


@pytest.mark.parametrize(
    ("features", "classifier"),
    [*((features, "logistic") for features in FEATURES), *(("best", classifier) for classifier in CLASSIFIERS)],
)
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


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize("permuted", [False, True])
def test_no_classifier_learns_from_a_null(classifier, permuted):
    view = View(shift=0.0, noise=0.5, permuted=permuted)
    assert abs(attack(view, classifier=classifier) - 0.5) < null_interval()


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


def test_the_baseline_sees_members_of_the_original_and_no_update():
    """What the original model gives away is the baseline's, what unlearning gives away is not."""
    view = View(shift=4.0)
    memory = View(shift=0.0)
    for updates, erased in ((memory._shadow.updates, memory._shadow.erased), (memory._target, memory.erased)):
        updates.candidates_before.mul_(1 + erased[..., None])  # the original is surer of what it was trained on
        updates.candidates_after.copy_(updates.candidates_before)
    for planted, classical in ((view, False), (memory, True)):
        baseline = Membership().run(planted).baseline
        found = auc(baseline.flatten().numpy(), planted.erased.flatten().numpy())
        assert (found > 0.7) if classical else (abs(found - 0.5) < null_interval())


def observed(logits_before, logits_after, erased, params):
    """A view that holds nothing but outputs at the attack's own level and temperature."""
    access = Membership(params).access

    def part(rows):
        before, after = (
            observe(access.level, logits[rows], logits[rows], access.temperature)
            for logits in (logits_before, logits_after)
        )
        nothing = torch.zeros(len(before), 1, CLASSES)
        pixels = torch.zeros(*before.shape[:2], 1, 4, 4, dtype=torch.uint8)
        return Updates(nothing, nothing, pixels, torch.zeros(before.shape[:2], dtype=torch.int64), before, after)

    view = View.__new__(View)
    view._target, view.erased = part(slice(0, 40)), erased[:40]
    known, empty = slice(40, None), torch.zeros(len(erased) - 40)
    view._shadow = ShadowUpdates(part(known), empty, empty, erased[known], empty > 0, empty)
    return view


@pytest.mark.parametrize("features", [name for name in FEATURES if name != "best"])
@pytest.mark.parametrize("defence", ["top_k", "label", "temperature"])
def test_defences_hold_for_all_features_and_for_the_baseline(features, defence):
    """Logits that look alike through a defence give the same answers, with and without the update."""
    random = torch.Generator().manual_seed(0)
    before, erased = torch.randn(140, 2, CLASSES, generator=random), torch.rand(140, 2, generator=random) < 0.5
    after = before + 0.3 * torch.randn(before.shape, generator=random) - erased[..., None].float()

    def hidden(logits):
        """The same to who sees it through the defence."""
        order = logits.argsort(-1, descending=True)
        if defence == "top_k":  # the two smallest of five change places
            return logits.scatter(-1, order, logits.gather(-1, order[..., [0, 1, 2, 4, 3]]))
        if defence == "label":
            return logits * torch.rand(logits.shape[:2], generator=random)[..., None]
        return 4 * logits

    settings = {"observe": "log_probabilities" if defence == "temperature" else defence, "features": features}
    params = Membership.Params(**settings)
    warm = Membership.Params(**settings, temperature=4) if defence == "temperature" else params
    plain = Membership(params).run(observed(before, after, erased, params))
    defended = Membership(warm).run(observed(hidden(before), hidden(after), erased, warm))
    torch.testing.assert_close(defended.membership, plain.membership, atol=1e-4, rtol=0)
    torch.testing.assert_close(defended.baseline, plain.baseline, atol=1e-4, rtol=0)


def test_groups_of_nine_are_inferred_image_by_image(monkeypatch):
    monkeypatch.setitem(globals(), "CANDIDATES", 18)
    monkeypatch.setitem(globals(), "SHADOWS", 40)
    monkeypatch.setitem(globals(), "TARGETS", 30)
    view = View(shift=4.0, noise=0.1)
    assert int(view.erased.sum()) == 30 * 9
    assert attack(view) > 0.9


def test_validation_shadows_choose_and_do_not_train():
    """With all answers of the validation shadows turned round, the choice falls on what is least sure."""
    view, turned = View(shift=4.0, noise=0.1), View(shift=4.0, noise=0.1)
    validation = torch.arange(SHADOWS) >= SHADOWS * 3 // 4
    view._shadow = view._shadow._replace(validation=validation)
    turned._shadow = view._shadow._replace(erased=view._shadow.erased ^ validation[:, None])
    sure, unsure = (Membership().run(each).membership for each in (view, turned))
    assert float((sure - 0.5).abs().mean()) > 2 * float((unsure - 0.5).abs().mean())


def test_it_declares_what_it_uses_and_skips_utility():
    access = Membership(Membership.Params(observe="label", temperature=2, shadows=12)).access
    assert (access.level, access.temperature, access.shadows, access.members) == ("label", 2, 12, False)
    assert (access.tier, access.shadow_models) == ("same", 0)
    assert Membership().skip(leak()) is None
    assert "leak" in Membership().skip(utility())


def test_the_tier_disjoint_has_models_of_the_adversarys_own():
    access = Membership(Membership.Params(tier="disjoint")).access
    assert (access.tier, access.shadow_models) == ("disjoint", 8)
    for wrong in ({"tier": "disjoint", "shadow_models": 7}, {"shadow_models": 9},
                  {"tier": "disjoint", "shadow_models": 20, "shadows": 19}):  # fmt: skip
        with pytest.raises(ValueError, match="shadow_models"):
            Membership.Params(**wrong)


def test_representations_of_different_originals_are_compared_by_length_only():
    def reason(**params):
        return Membership(Membership.Params(observe="representation", **params)).skip(leak())

    assert "align" in reason(tier="disjoint")
    assert "align" in reason(tier="disjoint", features="direct_difference")
    assert reason(tier="disjoint", features="l2") is None
    assert reason() is None
