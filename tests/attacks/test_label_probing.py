"""The class erased is found where a class was erased, by questions that are counted, and by chance where none was."""

import numpy as np
import pytest
import torch
from small_worlds import leak, utility
from unlearnbench.attacks.label_probing import LabelProbing

from unlearnbench.datasets.digits import Digits
from unlearnbench.plugin import Access
from unlearnbench.system.errors import AccessError

TARGETS = 30


class View:
    """Nearest class mean with priors, on digits: logits 2 mu_c x - |mu_c|^2 + log n_c, times three. Each target has
    lost a share of one class's images."""

    classes, shape = 10, (1, 8, 8)

    def __init__(self, share=0.9, budget=100_000, erased=1):
        data = Digits().load(None).train
        flat = data.scaled.flatten(1)
        self.labels, self.budget, self.asked = torch.arange(TARGETS) % 10, budget, 0
        self.erased_count = erased
        means = torch.stack([flat[data.labels == c].mean(0) for c in range(10)])
        counts = data.labels.bincount().float()
        after, left = means.repeat(TARGETS, 1, 1), counts.repeat(TARGETS, 1)
        for target, label in enumerate(self.labels.tolist()):
            own = flat[data.labels == label][round(share * float(counts[label])) :]
            after[target, label], left[target, label] = own.mean(0), len(own)
        self.sums = {"before": (means[None], counts[None]), "after": (after, left)}

    def ask(self, which, pixels):
        if self.asked + len(pixels) > self.budget:
            raise AccessError(f"budget is {self.budget}: declare a larger one")
        self.asked += len(pixels)
        assert 0 <= float(pixels.min()) <= float(pixels.max()) <= 1
        mu, counts = self.sums[which]
        logits = 2 * pixels.flatten(1) @ mu.mT + (counts.log() - mu.square().sum(2))[:, None]
        return (3 * logits).log_softmax(2).expand(TARGETS, -1, -1)

    def generator(self, *purpose):
        return np.random.default_rng(4)


def attack(view, **params):
    return LabelProbing(LabelProbing.Params(budget=view.budget, **params)).run(view).label_scores


def accuracy(view, scores):
    return float((scores.argmax(2) == view.labels[:, None]).float().mean())


def test_a_class_that_was_erased_in_part_is_found():
    view = View()
    scores = attack(view, inputs=3)
    assert scores.shape == (TARGETS, 1, 10)
    assert accuracy(view, scores) == 1.0


def test_a_set_of_one_class_is_answered_for_each_image():
    view = View(erased=4)
    scores = attack(view, inputs=3)
    assert scores.shape == (TARGETS, 4, 10)
    assert accuracy(view, scores) == 1.0


def test_where_nothing_was_erased_all_classes_are_alike():
    view = View(share=0)
    scores = attack(view, inputs=2)
    assert float(scores.abs().max()) < 1e-6
    assert abs(accuracy(view, scores) - 0.1) < 0.25  # rounding decides


def test_inputs_are_taken_for_their_class_before_they_are_compared():
    view = View()
    probing = LabelProbing(LabelProbing.Params(budget=view.budget, inputs=3))
    inputs, classes = probing._sure_inputs(view)
    sure = view.ask("before", inputs)[0].exp().gather(1, classes[:, None])
    assert float(sure.min()) > 0.99


def test_probing_ends_before_the_budget_does():
    for budget in (61, 4_000, 20_000):
        view = View(budget=budget)
        attack(view, inputs=3)
        assert view.asked <= budget
    assert view.asked > 15_000


def test_a_budget_that_does_not_reach_for_the_last_question_is_refused():
    with pytest.raises(AccessError, match="budget is 59: declare a larger one"):
        attack(View(budget=59), inputs=3)


def test_it_sees_probabilities_within_its_budget():
    assert LabelProbing().access == Access(level="log_probabilities", budget=500_000)


def test_what_it_can_not_answer_is_skipped_with_a_reason():
    assert LabelProbing().skip(leak(erased_count=2)) is None
    assert LabelProbing().skip(utility()) == "label_probing needs a leak experiment"
