"""Small images, scenarios and erasures for tests that train, unlearn and attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unlearnbench.models.stack import Stack
from unlearnbench.plugin import ImageData, Images, Method
from unlearnbench.settings.scenario import LeakSizes, Network, Scenario, Training
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.training.context import Context

SHAPE = (1, 6, 6)
CLASSES = 4
SEEDS = (101, 202, 303)


def blobs(count: int, seed: int = 0, shape: tuple[int, int, int] = SHAPE, classes: int = CLASSES) -> Images:
    """Noisy copies of one dark pattern a class: an MLP learns them within a few epochs."""
    patterns = torch.randint(0, 180, (classes, *shape), generator=torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    pixels = patterns[labels] + torch.randint(0, 75, (count, *shape), generator=generator)
    return Images(pixels.to(torch.uint8), labels, torch.arange(count))


def image_data(train: int = 400, test: int = 80, shape: tuple[int, int, int] = SHAPE) -> ImageData:
    both = blobs(train + test, shape=shape)
    return ImageData(both.take(torch.arange(train)), both.take(torch.arange(train, train + test)), CLASSES)


def utility(**changes: Any) -> Scenario:
    """A utility scenario with a tiny network."""
    settings: dict[str, Any] = {
        "kind": "utility", "erased_count": 6, "beta": 0.01, "network": Network(hidden=12, latent=5),
        "training": Training(epochs=20, batch=8, lr=5e-3),
    }  # fmt: skip
    return Scenario(**(settings | changes))


def leak(**changes: Any) -> Scenario:
    """A leak scenario that fits `image_data()`: 4 targets of 2 images."""
    settings: dict[str, Any] = {
        "kind": "leak", "erased_count": 2, "targets": 4,
        "leak": LeakSizes(target=160, known=100, pool=160, validation=20, probe=10, spare=50),
    }  # fmt: skip
    return utility(**(settings | changes))


def erasures(replicas: int = 3, size: int = 6, members: int = 60) -> ErasureSets:
    """Each replica forgets images of a class of its own; as many of the same classes were never seen."""
    erased = torch.arange(replicas)[:, None] + CLASSES * torch.arange(size)
    # Rows `members` further on are of the same class, and no members.
    return ErasureSets(blobs(2 * members), torch.arange(members), erased, erased + members)


def context(scenario: Scenario, seeds: Sequence[int], dtype: torch.dtype = torch.float64) -> Context:
    return Context(scenario, list(seeds), SHAPE, CLASSES, dtype=dtype)


def trained(scenario: Scenario, sets: ErasureSets, seeds: Sequence[int], dtype: torch.dtype = torch.float64) -> Stack:
    """One original a seed, trained on all members."""
    nothing = ErasureSets(sets.pool, sets.members, torch.empty(len(seeds), 0, dtype=torch.int64))
    return context(scenario, seeds, dtype).train(nothing)


def unlearn(
    method: Method,
    before: Stack,
    sets: ErasureSets,
    scenario: Scenario,
    seeds: Sequence[int] = SEEDS,
    dtype: torch.dtype = torch.float64,
) -> tuple[Stack, Context]:
    """All replicas at once."""
    used = context(scenario, seeds[: sets.replicas], dtype)
    return method.unlearn_many(before, sets, used), used


def difference(first: Stack, second: Stack) -> float:
    """Largest difference of any number in two stacks."""
    assert set(first.tensors) == set(second.tensors)
    return max(float((value - second.tensors[name]).abs().max()) for name, value in first.tensors.items())


def equal(first: Stack, second: Stack) -> bool:
    """Bit for bit."""
    return all(torch.equal(value, second.tensors[name]) for name, value in first.tensors.items())


def replica(stack: Stack, *rows: int) -> Stack:
    return stack.apply(lambda value: value[list(rows)])


def flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.flatten() for value in tensors.values()])
