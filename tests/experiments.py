"""A tiny experiment with one erasure, and the views of it."""

import torch
from small_worlds import SEEDS, context, image_data, leak

from unlearnbench.adversary.observed_erasures import observe_erasures
from unlearnbench.adversary.oracle import Oracle
from unlearnbench.plugin import Access
from unlearnbench.settings.scenario import StopRule, Training, canonical
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.shadow_sets import shadow_erasures
from unlearnbench.splits.world import build_world, challenge
from unlearnbench.stages.attacking import seen_erasures

SCENARIO = leak(stop=StopRule(steps=5), training=Training(epochs=3, batch=20, lr=5e-3))


CPU = torch.device("cpu")
NETWORK = {
    "model": {"name": SCENARIO.network.name, "params": SCENARIO.network.params},
    "method": None,
    "scenario": canonical(SCENARIO),
}


class Experiment:
    """A leak experiment of 4 targets and 10 shadows, carried out by hand."""

    def __init__(self, method):
        self.world = build_world(image_data(), SCENARIO, 1, CPU)
        members = self.world.targets.members
        nothing = ErasureSets(self.world.pool, members, torch.empty(1, 0, dtype=torch.int64))
        self.before = context(SCENARIO, SEEDS[:1], torch.float32).train(nothing)
        self.targets, self.after = self._erase(method, self.world.targets, "target")
        drawn = shadow_erasures(self.world, "same", 10, 0, 2)
        self.shadow_sets = drawn.sets[0]
        shadows, _ = self._erase(method, self.shadow_sets, "shadow")
        self.shadows = {**shadows.tensors, "validation": drawn.validation, "model": drawn.model}
        self.pairs = challenge(self.world, SCENARIO)

    def _erase(self, method, sets, purpose):
        seeds = [1_000 + k for k in range(sets.replicas)]
        after = method.unlearn_many(self.before, sets, context(SCENARIO, seeds, torch.float32))
        return observe_erasures(self.before, after, sets, self.world, purpose, keep=purpose == "shadow"), after

    def view(self, **access):
        return self.oracle(**access).view()

    def oracle(self, **access):
        granted = Access(**access)
        targets = seen_erasures(self.targets.tensors, granted, self.before, self.after, self.world)
        return Oracle(granted, self.world, 4, 9, self.before, self.after, targets, self.shadows, self.pairs, NETWORK)
