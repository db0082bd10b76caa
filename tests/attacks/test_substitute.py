"""With enough answers the copy of a linear model is the model, and its change gives away what the model's would."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from small_worlds import leak, utility
from torch import nn
from unlearnbench.attacks.substitute import Substitute, trained

from unlearnbench.adversary.observation import observe
from unlearnbench.datasets.digits import Digits
from unlearnbench.metrics.reconstruction import class_means
from unlearnbench.models.plain_network import PlainNetwork
from unlearnbench.models.stack import Stack
from unlearnbench.plugin import Access, Images

TARGETS = 8


class View:
    """A linear model of digits, which one step of ascent has made forget each target: asked, and not looked into."""

    classes, shape = 10, (1, 8, 8)

    def __init__(self, lr=0.1, noise=0, level="log_probabilities"):
        data = Digits().load(None).train
        self.true, self.auxiliary = data.take(torch.arange(TARGETS)), data.take(torch.arange(TARGETS, 800))
        if noise:  # images in which no two pixels go together: every weight shows in the answers
            pixels = torch.randint(0, 256, (noise, 1, 8, 8), generator=torch.Generator().manual_seed(1))
            labels = torch.arange(noise) % 10
            self.auxiliary = Images(pixels.to(torch.uint8), labels, torch.arange(noise))
        self.level, self.asked = level, 0
        torch.manual_seed(0)
        layer = nn.Linear(64, 10)
        self.before = Stack.of([PlainNetwork(nn.Sequential(nn.Flatten(), layer))])
        images, labels = self.true.scaled.flatten(1), self.true.labels
        wrong = (layer(images).softmax(1) - nn.functional.one_hot(labels, 10)).detach()  # of the logits
        weight, bias = self.before.params["network.1.weight"], self.before.params["network.1.bias"]
        ascent = {
            "network.1.weight": weight + lr * wrong[:, :, None] * images[:, None],
            "network.1.bias": bias + lr * wrong,
        }
        self.after = self.before.expand(TARGETS).with_tensors(ascent)

    def ask(self, which, pixels):
        self.asked += len(pixels)
        model = self.before if which == "before" else self.after
        z, logits = model.outputs(pixels)
        return observe(self.level, z, logits).expand(TARGETS, -1, -1)

    def updates(self):
        return SimpleNamespace(candidate_labels=self.true.labels[:, None])

    def torch_seed(self, *purpose):
        return 3

    def generator(self, *purpose):
        return np.random.default_rng(3)


def attack(view, **params):
    """The error of the images, that of the mean image, and the share of right labels."""
    params = {"iterations": 100, **params}
    evidence = Substitute(Substitute.Params(observe=view.level, **params)).run(view)
    assert evidence.images.shape == (TARGETS, 1, 1, 8, 8)
    errors = [
        (image - view.true.scaled).square().mean() for image in (evidence.images[:, 0], view.auxiliary.scaled.mean(0))
    ]
    right = (evidence.label_scores[:, 0].argmax(1) == view.true.labels).float().mean()
    return float(errors[0]), float(errors[1]), float(right)


def test_the_copies_of_linear_models_are_the_models():
    view = View(noise=500)
    images = view.auxiliary.pixels
    before, after = (view.ask(which, images).exp() for which in ("before", "after"))
    copying = Substitute(Substitute.Params(hidden=0, fit=1_500, further=1))
    copy, _ = copying.copies(images.float() / 255, before[:1], after, view)
    copies = trained(copy.expand(2), images.float() / 255, after[:2], "adam", 1_500)
    for model, found in ((view.before, copy), (view.after.slice(0, 2), copies)):
        for name, value in model.params.items():  # a softmax does not see what all classes have in common
            own, true = (each - each.mean(1, keepdim=True) for each in (found.params[name], value))
            assert float((own - true).abs().max()) < 0.03


def test_what_the_copies_change_by_gives_the_image_away():
    view = View(lr=0.01)
    means = class_means(view.auxiliary.scaled, view.auxiliary.labels, 10)[view.true.labels]
    own, _, right = attack(view, hidden=0, further=500)
    assert right == 1.0
    assert own < 0.6 * float((means - view.true.scaled).square().mean())


def test_a_network_of_ones_own_gives_the_label_away():
    own, mean, right = attack(View(), hidden=32)
    assert right > 0.8
    assert own < mean


def test_answers_of_the_wrong_target_give_the_wrong_label():
    view = View()
    view.after = view.after.apply(lambda value: value.roll(1, 0))
    assert attack(view, hidden=0)[2] < 0.3


@pytest.mark.parametrize("level", ["log_probabilities", "label"])
def test_where_nothing_changed_the_answer_is_the_mean_image(level):
    own, mean, _ = attack(View(lr=0.0, level=level), fit=20, further=5)
    assert own == pytest.approx(mean)


def test_the_questions_are_those_declared():
    view = View()
    attack(view, images=100, fit=20, further=5)
    assert view.asked == 200
    assert Substitute(Substitute.Params(images=100)).access == Access(level="log_probabilities", budget=200)


def test_sets_and_utility_experiments_are_skipped_with_a_reason():
    assert Substitute().skip(leak(erased_count=1)) is None
    assert Substitute().skip(leak(erased_count=2)) == "substitute rebuilds one image; erased_count is 2"
    assert Substitute().skip(utility()) == "substitute needs a leak experiment"


def test_a_level_without_answers_to_learn_from_is_refused():
    with pytest.raises(ValidationError, match="not at level parameters"):
        Substitute.Params(observe="parameters")
