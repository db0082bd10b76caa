"""The frozen model's outputs on the erased images are computed once, and nobody can tell."""

import pytest
import torch
from replica_cases import TWENTY, originals
from small_worlds import context, difference, erasures, unlearn, utility
from torch.nn import functional as F

from unlearnbench.models.stack import Functional
from unlearnbench.plugin import LossMethod, Phase
from unlearnbench.training.frozen_model import Frozen


class Watched(LossMethod):
    """Stays near what the frozen model makes of the erased images, and counts how often that is computed."""

    def __init__(self, batch, copied=False):
        super().__init__()
        self.batch, self.copied, self.seen = batch, copied, []

    def phases(self, context):
        return [Phase(batch=self.batch, lr=1e-2)]

    def loss(self, models, erased, remaining, state, noise):
        images = erased.images + 0 if self.copied else erased.images  # a copy is nothing that anybody knows
        mean, _ = models.model.encode(erased.images)
        fixed, scale = models.frozen.encode(images)
        shift = ((mean - 2 * fixed) / scale).square().mean(1)
        return erased.mean(shift - F.cross_entropy(models.model.classify(mean), erased.labels, reduction="none"))


@pytest.mark.parametrize("batch", [4, 6], ids=["minibatches", "the whole set"])
@pytest.mark.parametrize("count", [1, 3], ids=["shared original", "own originals"])
@pytest.mark.parametrize("replicas", [1, 3])
def test_what_the_frozen_model_makes_of_the_erased_images_is_remembered(batch, count, replicas):
    sets, before = erasures(replicas), originals(count, torch.float64).take(0, replicas)
    scenario = utility(stop=TWENTY)
    recalled, _ = unlearn(Watched(batch), before, sets, scenario)
    computed, _ = unlearn(Watched(batch, copied=True), before, sets, scenario)
    assert difference(recalled, before.expand(replicas)) > 0.01
    assert difference(recalled, computed) < 1e-12


def test_the_frozen_model_encodes_the_erased_images_twice_in_twenty_steps(monkeypatch):
    calls = []
    encode = Functional.encode
    monkeypatch.setattr(Functional, "encode", lambda self, x: calls.append(type(self)) or encode(self, x))
    unlearn(Watched(6), originals(1, torch.float64), erasures(), utility(stop=TWENTY))
    assert calls.count(Frozen) == 2  # when numbers are counted, and at the first step; then the whole set, once


def test_in_train_mode_nothing_is_remembered(monkeypatch):
    """Batch normalisation makes of an image what its minibatch makes of it."""
    calls = []
    encode = Functional.encode
    monkeypatch.setattr(Functional, "encode", lambda self, x: calls.append(type(self)) or encode(self, x))
    scenario, sets = utility(stop=TWENTY), erasures(1)
    context(scenario, [1]).minimise(Watched(6), originals(1, torch.float64), sets, training=True)
    assert calls.count(Frozen) == 20
