"""What a method's result is checked for: K models, original and images untouched, everything finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unlearnbench.models.stack import Stack
from unlearnbench.plugin import Method
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.system.process_state.guard import guarded
from unlearnbench.training.context import Context


class PluginError(Exception):
    """A plugin broke its contract. The cell fails with this message."""


class RemoteError(Exception):
    """What plugin code raised in another process: one line, and the traceback."""

    def __init__(self, line: str, trace: str) -> None:
        super().__init__(line)
        self.line, self.trace = line, trace


def train_own(method: Method, sets: ErasureSets, context: Context) -> Stack:
    """A model for each replica's remaining set, by a method that trains originals of its own. Raises PluginError."""
    models = []
    for k in range(sets.replicas):
        with guarded(f"method {method.name}"):
            model = method.train(sets.pool.take(sets.remaining(k)), context.single(k))
        if model is None:
            raise PluginError(f"method {method.name} trains an original of its own, but this time returned none")
        models.append(model)
    return Stack.of(models)


def erase(method: Method, before: Stack, sets: ErasureSets, context: Context) -> Stack:
    """The method's erasures, after checking its whole contract. Raises PluginError."""
    after = erase_each(method, before, sets, context)
    check_finite(after, f"unlearning with {method.name}")
    return after


def erase_each(method: Method, before: Stack, sets: ErasureSets, context: Context) -> Stack:
    """As `erase`, but without checking that each model is finite: see `check_finite`."""
    untouched = before.apply(torch.clone)
    written = _writes(sets)
    with guarded(f"method {method.name}"):
        after = method.unlearn_many(before, sets, context)
    if _writes(sets) != written:
        raise PluginError(f"method {method.name} wrote into the images it was given")
    if not isinstance(after, Stack) or after.replicas != sets.replicas:
        raise PluginError(f"method {method.name} returned {_described(after)} for {sets.replicas} erasures")
    for name, value in before.tensors.items():
        if not torch.equal(value, untouched.tensors[name]):
            raise PluginError(f"method {method.name} changed the original model's {name}")
    return after


def check_finite(stack: Stack, what: str) -> None:
    """Raises PluginError for models with a parameter that is not finite."""
    for name, value in stack.tensors.items():
        bad = ~torch.isfinite(value).reshape(len(value), -1).all(1)
        if bool(bad.any()):
            raise PluginError(f"{what} made {name} not finite in {int(bad.sum())} of {len(bad)} models")


def check_outputs(outputs: Tensor, what: str) -> None:
    """Raises PluginError for models with outputs that are not finite."""
    if not bool(torch.isfinite(outputs).all()):
        raise PluginError(f"{what} made models whose outputs are not finite")


def _writes(sets: ErasureSets) -> tuple[int, ...]:
    """Torch's counts of writes to the tensors that erasures share."""
    shared = [sets.pool.pixels, sets.pool.labels, sets.pool.ids, sets.members, sets.erased]
    if sets.holdout is not None:
        shared.append(sets.holdout)
    return tuple(tensor._version for tensor in shared)


def _described(value: Any) -> str:
    return f"{value.replicas} models" if isinstance(value, Stack) else type(value).__name__
