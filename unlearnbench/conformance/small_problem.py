"""A tiny experiment on the embedded digits, on which plugins are checked in seconds and without any download."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from unlearnbench.datasets.digits import Digits
from unlearnbench.models.stack import Stack
from unlearnbench.plugin import ImageData, Method
from unlearnbench.settings.scenario import Backdoor, LeakSizes, Network, Scenario, StopRule, Training
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.world import World, build_world, join
from unlearnbench.stages.result_checks import PluginError
from unlearnbench.training.context import Context

SEEDS = (101, 202, 303)  # of three erasures
TRAINED_WITH = 7
WORLD = 5
STEPS = StopRule(rule="steps", steps=3)
TRAINING = Training(epochs=5, batch=20)  # of 80 images: 20 steps
NETWORK = Network(hidden=8, latent=4)
SIZES = LeakSizes(target=140, known=60, pool=300, validation=20, probe=10, spare=100)

LEAK = Scenario(
    kind="leak", erased_count=2, targets=3, leak=SIZES, network=NETWORK, training=TRAINING, stop=STEPS, replicas=16
)  # fmt: skip
UTILITY = Scenario(
    kind="utility", erased_count=3, train_size=80, network=NETWORK, training=TRAINING, stop=STEPS, backdoor=Backdoor()
)
CONVEX = LEAK.model_copy(
    update={
        "network": Network(name="linear", latent=64),
        "training": Training(optimiser="newton", epochs=5, batch=20, l2=0.01),
        "beta": 0.0,
    }
)
SINGLE = LEAK.model_copy(update={"erased_count": 1})
SCENARIOS = (LEAK, SINGLE, UTILITY, CONVEX)
"""A plugin is checked on the first scenario that it does not skip."""


@cache
def digits() -> ImageData:
    """The embedded digits."""
    return Digits().load(Path())


@cache
def worlds(scenario: Scenario) -> tuple[World, ...]:
    """One world with three targets, or three worlds where a scenario has one target."""
    count = 1 if scenario.kind == "leak" else len(SEEDS)
    return tuple(build_world(digits(), scenario, WORLD + number, torch.device("cpu")) for number in range(count))


def sets_of(scenario: Scenario) -> ErasureSets:
    """Three erasures."""
    found = worlds(scenario)
    return found[0].targets if len(found) == 1 else join(found)


def context(
    scenario: Scenario, seeds: Sequence[int], origin: Sequence[int] = (), dtype: torch.dtype = torch.float32
) -> Context:
    """The context for erasures of digits, one per seed."""
    channels, height, width = digits().train.pixels.shape[1:]
    return Context(scenario, list(seeds), (channels, height, width), digits().classes, dtype=dtype, origin=origin)


def originals(method: Method, scenario: Scenario) -> Stack:
    """The model before unlearning, or three of them: the method's own, or the shared trainer's.

    Raises:
        PluginError: a method that trains an original of its own returned none.
    """
    if not method.own_original:
        return shared_originals(scenario)
    sets, used, nothing = _training(scenario)
    models = [method.train(sets.pool.take(nothing.remaining(k)), used.single(k)) for k in range(nothing.replicas)]
    own = [model for model in models if model is not None]
    if len(own) < len(models):
        raise PluginError(f"method {method.name} trains an original of its own, but this time returned none")
    return Stack.of(own)


def shared_originals(scenario: Scenario) -> Stack:
    """The model before unlearning, or three of them, by the shared trainer."""
    _, used, nothing = _training(scenario)
    return used.train(nothing)


def _training(scenario: Scenario) -> tuple[ErasureSets, Context, ErasureSets]:
    """The erasures, and what originals are trained with: one per world, with nothing erased."""
    sets, seeds = sets_of(scenario), [TRAINED_WITH + number for number in range(len(worlds(scenario)))]
    nothing = ErasureSets(sets.pool, sets.members, torch.empty(len(seeds), 0, dtype=torch.int64))
    return sets, context(scenario, seeds), nothing


def forget(method: Method, scenario: Scenario = LEAK) -> tuple[Stack, Stack, ErasureSets]:
    """For a method's own tests: the original, the models after unlearning, and what each of them unlearned.

    Args:
        scenario: one of SCENARIOS, or another that fits the digits.
    """
    before, sets = originals(method, scenario), sets_of(scenario)
    trained_with = [] if method.own_original else [TRAINED_WITH + number for number in range(before.replicas)]
    return before, method.unlearn_many(before, sets, context(scenario, SEEDS, trained_with)), sets
