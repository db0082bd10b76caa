"""Random labels: which are drawn, and that they are what is learned."""

import pytest
import torch
from loss_cases import NoNoise, both, noise, pair, repainted
from replica_cases import accuracy, backdoored
from small_worlds import CLASSES, SEEDS, equal, erasures, trained, unlearn, utility
from torch.nn import functional as F
from unlearnbench.methods.random_label import RandomLabel

from unlearnbench.plugin import Batch
from unlearnbench.settings.scenario import StopRule, Training
from unlearnbench.system.seeding import derive
from unlearnbench.training.objectives import training_loss, wrong_labels


@pytest.fixture(scope="module")
def before():
    return trained(utility(), erasures(), SEEDS[:1])


def random_label(**params):
    return RandomLabel(RandomLabel.Params(**params))


# --- the labels ---


def test_wrong_labels_are_uniform_over_the_other_classes(before):
    sets, count = erasures(), 6_000
    _, models = pair(before, 0.0, sets)
    labels = torch.arange(count) % CLASSES
    many = Batch(sets.pool.scaled[:1].double().expand(count, -1, -1, -1), labels, torch.ones(count), labels)
    drawn = wrong_labels(models, many, noise())
    assert (drawn != labels).all()
    for label in range(CLASSES):
        shares = torch.bincount(drawn[labels == label], minlength=CLASSES) / (count / CLASSES)
        assert shares[label] == 0
        assert ((shares - 1 / 3).abs() < 0.05)[torch.arange(CLASSES) != label].all()


@pytest.mark.parametrize("number", [0.0, 1 - 2**-24, 1.0])
def test_no_number_gives_the_right_label(before, number):
    class Constant(NoNoise):
        def uniform(self, *shape):
            return torch.full(shape, number, dtype=torch.float32)

    sets = erasures()
    erased, _ = both(sets)
    drawn = wrong_labels(pair(before, 0.0, sets)[1], erased, Constant())
    assert (drawn == (erased.labels + (1 if number == 0 else CLASSES - 1)) % CLASSES).all()


# --- the loss ---


@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_the_loss_written_out(before, weight):
    sets = erasures()
    _, models = pair(before, 0.02, sets)
    erased, remaining = both(sets)
    wrong = torch.tensor([1, 2, 3, 1, 2, 3])  # all are of class 0
    picked = Batch(*(part[[4, 1]] for part in erased))  # a minibatch: the labels follow the images
    source = noise()
    mean, scale = models.model.encode(picked.images)
    logits = models.model.classify(mean + scale * source.normal(*mean.shape))
    expected = F.cross_entropy(logits, torch.tensor([2, 2]))
    if weight:
        expected = expected + weight * training_loss(models, remaining, source)
    found = random_label(weight=weight).loss(models, picked, remaining if weight else None, wrong, noise())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_the_model_learns_the_labels_that_were_drawn(before):
    sets = erasures()
    scenario = utility(stop=StopRule(steps=100), training=Training(batch=8, lr=0.02))
    after, _ = unlearn(random_label(weight=0), before, sets, scenario)
    predicted = after.own_outputs(sets.pool.pixels[sets.erased])[1].argmax(-1)
    for k in range(3):
        erased, _ = both(sets.take(k, k + 1))
        drawn = wrong_labels(pair(before, 0.0, sets)[1], erased, noise(derive(SEEDS[k], "noise", 0)))
        assert (predicted[k] == drawn).double().mean() > 0.8


def test_the_remaining_images_hold_the_rest_of_the_model(before):
    sets, scenario = erasures(), utility(stop=StopRule(steps=20), training=Training(batch=8, lr=5e-3))
    rows = sets.all_remaining()
    right = []
    for weight in (0, 4):
        after, _ = unlearn(random_label(weight=weight), before, sets, scenario)
        logits = after.own_outputs(sets.pool.pixels[rows])[1]
        right.append((logits.argmax(-1) == sets.pool.labels[rows]).double().mean(1))
    assert (right[1] > right[0] + 0.1).all()


# --- what it uses ---


def test_with_weight_0_no_remaining_image_is_asked_for(before):
    sets, scenario = erasures(), utility(stop=StopRule(steps=5))
    runs = [
        [unlearn(random_label(weight=weight), before, s, scenario) for s in (sets, repainted(sets, sets.remaining(0)))]
        for weight in (0, 1)
    ]
    (alone, other), (both_sets, changed) = runs
    assert equal(alone[0].slice(0, 1), other[0].slice(0, 1))
    assert not equal(both_sets[0].slice(0, 1), changed[0].slice(0, 1))
    assert alone[1].samples.tolist() == [5 * 6] * 3
    assert both_sets[1].samples.tolist() == [5 * (6 + 8)] * 3


def test_the_stop_rule_ends_it(before):
    after, used = unlearn(random_label(), before, erasures(), backdoored())
    assert (accuracy(after, erasures()) < 0.02).all()
    assert max(used.steps.tolist()) < 60
