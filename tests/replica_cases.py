"""Originals, methods and scenarios for tests of replicas."""

from functools import cache

import pytest
import torch
from small_worlds import CLASSES, SEEDS, erasures, trained, unlearn, utility
from torch.nn import functional as F

from unlearnbench.models.stack import Stack
from unlearnbench.plugin import LossMethod, Phase
from unlearnbench.settings.scenario import Backdoor, StopRule

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
DTYPES = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float64", "float32"])
TWENTY = StopRule(rule="steps", steps=20)


@cache
def originals(count, dtype):
    """Trained once for all tests, never changed by any."""
    return trained(utility(), erasures(), SEEDS[:count], dtype)


def alone(method, before, sets, scenario, seeds=SEEDS, dtype=torch.float64):
    """One replica after the other, each in a stack of its own."""
    runs = [
        unlearn(method, before.take(k, k + 1), sets.take(k, k + 1), scenario, seeds[k : k + 1], dtype)
        for k in range(sets.replicas)
    ]
    return Stack.concatenate([stack for stack, _ in runs]), torch.cat([used.steps for _, used in runs])


class Ascent(LossMethod):
    """Gradient ascent: forgets quickly, at another step for every erased set."""

    lr = 1e-3

    def phases(self, context):
        return [Phase(batch=4, lr=self.lr)]

    def loss(self, models, erased, remaining, state, noise):
        mean, scale = models.model.encode(erased.images)
        z = mean + 0.1 * scale * noise.normal(*mean.shape)
        return -erased.mean(F.cross_entropy(models.model.classify(z), erased.labels, reduction="none"))


class Anchored(Ascent):
    """Ascent that is held back by a state of its own: the mean erased image's logits, and a noise vector."""

    def prepare(self, models, erased, noise):
        return {"image": erased.images.mean(0, keepdim=True), "shift": [noise.normal(CLASSES)]}

    def loss(self, models, erased, remaining, state, noise):
        logits = models.model(state["image"]) + state["shift"][0]
        return super().loss(models, erased, remaining, state, noise) + 0.1 * logits.square().mean()


def backdoored(**rule):
    return utility(stop=StopRule(rule="backdoor", epochs=60, **rule), backdoor=Backdoor())


def accuracy(stack, sets):
    _, logits = stack.own_outputs(sets.pool.pixels[sets.erased])
    return (logits.argmax(-1) == sets.pool.labels[sets.erased]).float().mean(1)
