"""One model beside its original, and minibatches: what a method's loss is handed, for tests that write it out."""

from __future__ import annotations

from dataclasses import replace

import torch
from small_worlds import blobs, utility
from torch import Tensor

from unlearnbench.models.noise import NoiseStreams, StreamNoise
from unlearnbench.models.stack import Functional, Stack, Tensors
from unlearnbench.plugin import Batch, Models
from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.batches import BatchSource
from unlearnbench.splits.erasure_sets import ErasureSets

F64 = torch.float64


class NoNoise:
    """Samples of p(Z|x) are its mean."""

    def normal(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=F64)

    def uniform(self, *shape: int) -> Tensor:
        return torch.full(shape, 0.5, dtype=F64)


def noise(seed: int = 5) -> StreamNoise:
    """The same numbers at every call."""
    return StreamNoise(NoiseStreams(seed), torch.device("cpu"), F64)


def pair(stack: Stack, shift: float, sets: ErasureSets, scenario: Scenario | None = None) -> tuple[Tensors, Models]:
    """The first original, and a model beside it whose every weight is moved by up to `shift`."""
    router = stack.router(training=False)
    fixed = {name: value[0] for name, value in stack.params.items()}
    params = {name: (value + shift * value.cos()).requires_grad_() for name, value in fixed.items()}
    size, rest = sets.erased.shape[1], sets.remaining_size
    return params, Models(
        Functional(router, params, {}), Functional(router, fixed, {}), scenario or utility(), size, rest
    )


def batch(sets: ErasureSets, rows: Tensor) -> Batch:
    """Images of the pool as a minibatch that is the whole of a set."""
    whole = BatchSource(sets.pool, rows[None], None, [], F64).whole()
    return Batch(*(part[0] for part in whole))


def both(sets: ErasureSets) -> tuple[Batch, Batch]:
    """The first replica's erased set and remaining set."""
    return batch(sets, sets.erased[0]), batch(sets, sets.remaining(0))


def gradients(value: Tensor, params: Tensors) -> Tensors:
    """Of a scalar in each parameter, zeros where it has none."""
    found = torch.autograd.grad(value, list(params.values()), allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(params.items(), found, strict=True)}


def repainted(sets: ErasureSets, rows: Tensor) -> ErasureSets:
    """The same erasures with other pixels in some rows of the pool."""
    pixels = sets.pool.pixels.clone()
    pixels[rows] = blobs(len(pixels), seed=9).pixels[rows]
    return replace(sets, pool=replace(sets.pool, pixels=pixels))
