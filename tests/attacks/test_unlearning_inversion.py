"""The image is found where one step erased it, by the closed form of a linear model; and nothing where nothing is."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from small_worlds import leak, utility
from torch import nn
from unlearnbench.attacks.unlearning_inversion import UnlearningInversion

from unlearnbench.adversary.gradient_matching import Ascent, ChangeMatching, distance
from unlearnbench.datasets.digits import Digits
from unlearnbench.models.plain_network import PlainNetwork
from unlearnbench.models.stack import Stack
from unlearnbench.plugin import Access

TARGETS = 12


@pytest.fixture(scope="module")
def digits():
    return Digits().load(None).train


def linear():
    torch.manual_seed(1)
    return Stack.of([PlainNetwork(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))])


def convolutional():
    torch.manual_seed(1)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)]
    return Stack.of([PlainNetwork(nn.Sequential(*layers))])


class View:
    """Targets are the first digits, auxiliary images the others; `change` is what erasing has done to the weights."""

    classes, shape = 10, (1, 8, 8)

    def __init__(self, digits, model, optimiser="sgd", change=None):
        self.model, self.true = model, digits.take(torch.arange(TARGETS))
        self.auxiliary = digits.take(torch.arange(TARGETS, 800))
        self.images, self.labels = self.true.scaled, self.true.labels
        made = Ascent(optimiser, smoothing=0.0).change(model, self.images, self.labels)
        self.change = {name: value.detach() * 1e-3 for name, value in made.items()} if change is None else change

    def updates(self):
        return SimpleNamespace(parameter_changes=self.change, candidate_labels=self.labels[:, None].expand(-1, 4))

    def models(self, which):
        assert which == "before"
        return self.model

    def generator(self, *purpose):
        return np.random.default_rng(5)

    @property
    def mean(self):
        return self.auxiliary.scaled.mean(0)


def attacked(view, **params):
    """The evidence, the error of each image and that of the mean image, f32[T] each."""
    evidence = UnlearningInversion(UnlearningInversion.Params(**params)).run(view)
    assert evidence.images.shape == (TARGETS, 1, 1, 8, 8)
    own = (evidence.images[:, 0] - view.images).square().mean((1, 2, 3))
    return evidence, own, (view.mean - view.images).square().mean((1, 2, 3))


def right(evidence, view):
    return float((evidence.label_scores[:, 0].argmax(1) == view.labels).float().mean())


# --- oracles ---------------------------------------------------------------------------------------------------------


def test_a_linear_model_and_one_plain_step_give_the_closed_form(digits):
    view = View(digits, linear())
    weight, bias = view.change["network.1.weight"], view.change["network.1.bias"]
    closed = (weight[:, 3] / bias[:, 3, None]).view_as(view.images)
    torch.testing.assert_close(closed, view.images, rtol=1e-3, atol=1e-3)
    evidence, own, _ = attacked(view, optimiser="sgd", tv=0, start="noise", iterations=500)
    assert float((evidence.images[:, 0] - closed).abs().max()) < 0.05
    assert float(own.mean()) < 1e-4
    assert right(evidence, view) == 1.0


def test_the_loss_is_zero_at_the_true_image_and_another_class_does_worse(digits):
    view = View(digits, convolutional())
    at_truth = distance(Ascent().change(view.model, view.images, view.labels), view.change)
    assert float(at_truth.detach().abs().max()) < 1e-5
    matching = ChangeMatching(Ascent(), tv=0, iterations=60, rate=0.04)
    losses = [matching.images(view.model, view.change, view.images, (view.labels + by) % 10)[1] for by in range(3)]
    assert bool((losses[0] < 0.5 * losses[1]).all())
    assert bool((losses[0] < 0.5 * losses[2]).all())


# --- planted leaks ---------------------------------------------------------------------------------------------------


def test_convolutions_give_the_image_away_after_one_plain_step(digits):
    view = View(digits, convolutional())
    evidence, own, mean = attacked(view, optimiser="sgd")
    assert float(own.mean()) < 0.2 * float(mean.mean())
    assert right(evidence, view) == 1.0


def test_the_simulated_optimiser_finds_what_the_plain_gradient_misses(digits):
    view = View(digits, convolutional(), optimiser="adam")
    evidence, simulated, mean = attacked(view, optimiser="adam", classes=1)
    _, plain, _ = attacked(view, optimiser="sgd", classes=1)
    assert float(simulated.mean()) < 0.5 * float(mean.mean())
    assert float(simulated.mean()) < 0.8 * float(plain.mean())
    assert right(evidence, view) == 1.0


def test_a_label_that_is_given_is_used_and_not_claimed(digits):
    view = View(digits, linear())
    evidence, own, _ = attacked(view, optimiser="sgd", label="given", tv=0, iterations=100)
    assert evidence.label_scores is None
    assert float(own.mean()) < 0.01


def test_of_several_starts_the_lowest_loss_wins(digits):
    view = View(digits, convolutional())
    common = {"optimiser": "sgd", "label": "given", "start": "noise", "tv": 0, "iterations": 30}
    first, *_ = attacked(view, **common)
    best, *_ = attacked(view, starts=3, **common)
    of_first, of_best = (
        distance(Ascent().change(view.model, found.images[:, 0], view.labels), view.change) for found in (first, best)
    )
    assert float(of_best.detach().mean()) < float(of_first.detach().mean())


# --- nulls -----------------------------------------------------------------------------------------------------------


def test_where_nothing_changed_the_answer_is_the_mean_image(digits):
    view = View(digits, linear())
    view.change = {name: torch.zeros_like(value) for name, value in view.change.items()}
    view.change["network.1.bias"][2, 3] = 1e-3  # but one
    evidence, own, mean = attacked(view, iterations=5)
    others = torch.arange(TARGETS) != 2
    assert torch.equal(own[others], mean[others])
    assert len(evidence.label_scores[others].unique(dim=0)) == 1
    assert not torch.equal(evidence.images[2, 0], view.mean)


def test_noise_for_the_change_gives_nothing_away(digits):
    view = View(digits, linear())
    noise = torch.Generator().manual_seed(2)
    view.change = {name: torch.randn(value.shape, generator=noise) for name, value in view.change.items()}
    evidence, own, mean = attacked(view, iterations=60)
    assert float(own.mean()) > float(mean.mean())
    assert right(evidence, view) < 0.5  # of twelve, 0.1 by chance


def test_the_change_of_another_target_gives_nothing_away(digits):
    view = View(digits, convolutional())
    view.change = {name: value.roll(1, 0) for name, value in view.change.items()}
    evidence, own, mean = attacked(view, optimiser="sgd", classes=1, iterations=60)
    assert float(own.mean()) > float(mean.mean())
    assert right(evidence, view) == float((view.labels == view.labels.roll(1)).float().mean())


# --- use -------------------------------------------------------------------------------------------------------------


def test_it_sees_weights_and_learns_from_nothing():
    assert UnlearningInversion().access == Access(level="parameters")


def test_sets_and_utility_experiments_are_skipped_with_a_reason():
    assert UnlearningInversion().skip(leak(erased_count=1)) is None
    assert UnlearningInversion().skip(leak(erased_count=2)) == (
        "unlearning_inversion rebuilds one image; erased_count is 2"
    )
    assert UnlearningInversion().skip(utility()) == "unlearning_inversion needs a leak experiment"


@pytest.mark.parametrize(
    ("params", "what"),
    [({"label": "given", "classes": 2}, "label 'given' has no classes"), ({"lr": 0.1}, "one step has no lr")],
)
def test_what_would_have_no_effect_is_refused(params, what):
    with pytest.raises(ValidationError, match=what):
        UnlearningInversion.Params(**params)
