"""Random numbers inside a loss: one stream per replica, so that batching never changes what a replica draws."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

from unlearnbench.seeding import stream


class StreamNoise:
    """Noise for one model, straight from its stream."""

    def __init__(self, streams: NoiseStreams, device: torch.device, dtype: torch.dtype) -> None:
        self._streams, self._device, self._dtype = streams, device, dtype
        self.normals = 0
        self.uniforms = 0

    def normal(self, *shape: int) -> Tensor:
        self.normals += prod(shape)
        return self._tensor(self._streams.normal.standard_normal(prod(shape), np.float32), shape)

    def uniform(self, *shape: int) -> Tensor:
        self.uniforms += prod(shape)
        return self._tensor(self._streams.uniform.random(prod(shape), np.float32), shape)

    def _tensor(self, values: np.ndarray, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(values).to(self._device, self._dtype).view(shape)


class BlockNoise:
    """Noise for one of many replicas under vmap: slices of a block that was drawn outside."""

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


class NoiseStreams:
    """The streams of one replica. Normal and uniform numbers have their own, so their interleaving is free."""

    def __init__(self, seed: int) -> None:
        self.normal = stream(seed, "normal")
        self.uniform = stream(seed, "uniform")


def draw_block(
    streams: list[NoiseStreams], normals: int, uniforms: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Numbers for one step of all replicas: [K, normals] and [K, uniforms], each row from its own stream."""
    normal = np.empty((len(streams), normals), np.float32)
    uniform = np.empty((len(streams), uniforms), np.float32)
    for row, source in enumerate(streams):
        source.normal.standard_normal(dtype=np.float32, out=normal[row])
        source.uniform.random(dtype=np.float32, out=uniform[row])
    return torch.from_numpy(normal).to(device, dtype), torch.from_numpy(uniform).to(device, dtype)
