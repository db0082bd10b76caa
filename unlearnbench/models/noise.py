"""Random numbers inside a loss: one stream per replica, so that what a replica draws does not depend on the
batching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from unlearnbench.system.seeding import move_to, position, stream


class Noise(Protocol):
    """The only source of random numbers inside a loss: each replica has its own stream."""

    def normal(self, *shape: int) -> Tensor: ...

    def uniform(self, *shape: int) -> Tensor: ...


class StreamNoise:
    """Noise for one model, straight from its stream."""

    def __init__(self, streams: NoiseStreams, device: torch.device, dtype: torch.dtype) -> None:
        self._streams, self._device, self._dtype = streams, device, dtype
        self.normals = 0
        self.uniforms = 0

    def normal(self, *shape: int) -> Tensor:
        self.normals += prod(shape)
        return self._tensor(self._streams.normal.take(prod(shape)), shape)

    def uniform(self, *shape: int) -> Tensor:
        self.uniforms += prod(shape)
        return self._tensor(self._streams.uniform.take(prod(shape)), shape)

    def _tensor(self, values: np.ndarray, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(values.copy()).to(self._device, self._dtype).view(shape)


class BlockNoise:
    """Noise for one of many replicas under vmap: slices of a block that was drawn beforehand."""

    def __init__(self, normals: Tensor, uniforms: Tensor) -> None:
        self._normals, self._uniforms = normals, uniforms
        self._normal_at = 0
        self._uniform_at = 0

    def normal(self, *shape: int) -> Tensor:
        start, self._normal_at = self._normal_at, self._normal_at + prod(shape)
        return self._normals[start : self._normal_at].view(shape)

    def uniform(self, *shape: int) -> Tensor:
        start, self._uniform_at = self._uniform_at, self._uniform_at + prod(shape)
        return self._uniforms[start : self._uniform_at].view(shape)


class Ahead:
    """Numbers of one stream, drawn for many requests at a time: a call to numpy costs more than the numbers themselves.

    Drawing 40 numbers from Philox gives the same as drawing 20 and 20, so drawing ahead changes nothing.
    """

    REQUESTS = 16
    MOST = 1 << 16  # numbers kept, unless one request needs more

    def __init__(self, draw: Callable[[int], np.ndarray]) -> None:
        self._draw = draw
        self._numbers = np.empty(0, np.float32)
        self._at = 0

    def take(self, count: int) -> np.ndarray:
        """The next `count` numbers, f32[count], read-only."""
        end = self._at + count
        if end > len(self._numbers):
            left = self._numbers[self._at :]
            wanted = max(count, min(self.REQUESTS * count, self.MOST)) - len(left)
            self._numbers = np.concatenate([left, self._draw(wanted)])
            self._at, end = 0, count
        start, self._at = self._at, end
        return self._numbers[start:end]

    def saved(self) -> Tensor:
        """The numbers that have been drawn and not been taken."""
        return torch.from_numpy(self._numbers[self._at :].copy())

    def restore(self, saved: Tensor) -> None:
        """Hand these out first; the stream itself is where it was then."""
        self._numbers, self._at = saved.cpu().numpy(), 0


class NoiseStreams:
    """The streams of one replica: one for normal and one for uniform numbers, so that they can be interleaved
    freely."""

    def __init__(self, seed: int) -> None:
        self._streams = normal, uniform = stream(seed, "normal"), stream(seed, "uniform")
        self.normal = Ahead(lambda count: normal.standard_normal(count, np.float32))
        self.uniform = Ahead(lambda count: uniform.random(count, np.float32))

    def saved(self) -> Any:
        """What is needed to continue with the same numbers."""
        aheads = [self.normal.saved(), self.uniform.saved()]
        return {"at": [position(each) for each in self._streams], "ahead": aheads}

    def restore(self, saved: Any) -> None:
        """Continue as from when `saved` was called."""
        for generator, at in zip(self._streams, saved["at"], strict=True):
            move_to(generator, at)
        for source, ahead in zip((self.normal, self.uniform), saved["ahead"], strict=True):
            source.restore(ahead)


def draw_block(
    streams: Sequence[NoiseStreams], normals: int, uniforms: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Numbers for one step of all replicas: [K, normals] and [K, uniforms], each row from its own stream."""
    normal = np.empty((len(streams), normals), np.float32)
    uniform = np.empty((len(streams), uniforms), np.float32)
    for row, source in enumerate(streams):
        if normals:
            normal[row] = source.normal.take(normals)
        if uniforms:
            uniform[row] = source.uniform.take(uniforms)
    return _moved(normal, device, dtype), _moved(uniform, device, dtype)


def _moved(numbers: np.ndarray, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Numbers on the device; a GPU copies them asynchronously."""
    tensor = torch.from_numpy(numbers)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, dtype, non_blocking=True)
