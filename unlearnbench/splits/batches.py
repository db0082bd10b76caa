"""Minibatches: what a loss gets, and how they are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unlearnbench.splits.images import Images
from unlearnbench.system.seeding import move_to, position

SMALLEST = 1e-30  # least sum of a minibatch's weights: the mean of nothing is 0


class Batch(NamedTuple):
    """A minibatch as a loss sees it: images f32[B, C, H, W] in [0, 1], labels i64[B], weight f32[B], rows i64[B]."""

    images: Tensor
    labels: Tensor
    weight: Tensor
    rows: Tensor

    def mean(self, values: Tensor) -> Tensor:
        """Weighted mean of values f32[B] over the batch; rows that only pad it have weight 0."""
        return (values * self.weight).sum() / self.weight.sum().clamp_min(SMALLEST)


class BatchSource:
    """Minibatches for K replicas, each in the order of its own stream; an epoch is one pass over a replica's rows.

    Args:
        pool: the shared images.
        rows: i64[K, n], each replica's own set.
        batch: minibatch size; None or anything from n up is the whole set, in its own order.
        streams: one generator per replica.
        join: whether a last minibatch of one image is part of the minibatch before it.
    """

    def __init__(
        self,
        pool: Images,
        rows: Tensor,
        batch: int | None,
        streams: list[np.random.Generator],
        dtype: torch.dtype,
        join: bool = False,
    ) -> None:
        self.pool, self.rows, self.streams, self.dtype = pool, rows, streams, dtype
        self.size = rows.shape[1]
        self.batch = min(batch or self.size, self.size)
        single = self.size > self.batch > 1 and self.size % self.batch == 1
        self._ends = self.size - 1 if join and single else self.size  # no minibatch starts here, or after it
        self._at = 0  # where the next minibatch starts; 0: a new epoch begins
        self._flat = pool.pixels.flatten(1)
        self._order = torch.arange(self.size, device=rows.device).expand(len(rows), -1)
        self._ones = torch.ones(len(rows), self.batch, dtype=dtype, device=rows.device)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self._ends // self.batch)

    def epoch(self) -> Iterator[Batch]:
        """What is left of the epoch, with a leading replica dimension: images f32[K, B, C, H, W], labels i64[K, B] and
        so on."""
        if self._at == 0 and self.batch < self.size:
            order = np.stack([stream.permutation(self.size) for stream in self.streams])
            self._order = torch.from_numpy(order).to(self.rows.device)
        while self._at < self._ends:
            start, self._at = self._at, self._at + self.batch
            yield self._gather(self._order[:, start : self._at if self._at < self._ends else None])
        self._at = 0

    def forever(self) -> Iterator[Batch]:
        """Epoch after epoch."""
        while True:
            yield from self.epoch()

    def whole(self) -> Batch:
        """Every row of every replica, in order."""
        order = torch.arange(self.size, device=self.rows.device).expand(len(self.rows), -1)
        return self._gather(order)

    def keep(self, replicas: Tensor) -> None:
        """Continue with some of the replicas only."""
        self.rows = self.rows[replicas]
        self._order = self._order[replicas]
        self._ones = self._ones[replicas]
        self.streams = [self.streams[index] for index in replicas.tolist()]

    def saved(self) -> Any:
        """What is needed to continue with the same minibatches."""
        order = self._order.to(torch.int32) if self.batch < self.size else None
        return {"at": self._at, "order": order, "streams": [position(each) for each in self.streams]}

    def restore(self, saved: Any) -> None:
        """Continue as from when `saved` was called, with the replicas that there were then."""
        self._at = saved["at"]
        if saved["order"] is not None:
            self._order = saved["order"].to(torch.int64)
        for generator, at in zip(self.streams, saved["streams"], strict=True):
            move_to(generator, at)

    def _gather(self, order: Tensor) -> Batch:
        rows = torch.gather(self.rows, 1, order)
        flat = rows.flatten()
        bytes_ = self._flat.index_select(0, flat)
        # Dividing bytes by a number gives 32-bit floats: one pass over the images instead of two.
        images = bytes_ / 255.0 if self.dtype == torch.float32 else bytes_.to(self.dtype).div_(255)
        labels = self.pool.labels.index_select(0, flat).view(rows.shape)
        weight = (
            self._ones[:, : rows.shape[1]] if rows.shape[1] <= self.batch else torch.ones_like(rows, dtype=self.dtype)
        )
        return Batch(images.view(*rows.shape, *self.pool.pixels.shape[1:]), labels, weight, order)
