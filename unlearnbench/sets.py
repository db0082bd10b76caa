"""Who forgets what: the erased and remaining sets of K replicas, as rows of one shared pool of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unlearnbench.plugin import Batch, Images, Splits


@dataclass(frozen=True, eq=False)
class ErasureSets:
    """K erasures, from one training set or each from its own.

    Attributes:
        pool: all images, on the device, moved there once.
        members: i64[m] or i64[K, m], rows of the pool that the originals were trained on.
        erased: i64[K, s], the members that each replica forgets.
        holdout: i64[K, h] rows never seen in training, of the erased images' classes (stop rule `match_holdout`).
    """

    pool: Images
    members: Tensor
    erased: Tensor
    holdout: Tensor | None = None

    @property
    def replicas(self) -> int:
        return self.erased.shape[0]

    @property
    def remaining_size(self) -> int:
        return self.members.shape[-1] - self.erased.shape[1]

    def take(self, first: int, last: int) -> ErasureSets:
        """The erasures of replicas first..last-1."""
        holdout = None if self.holdout is None else self.holdout[first:last]
        members = self.members[first:last] if self.members.dim() == 2 else self.members
        return ErasureSets(self.pool, members, self.erased[first:last], holdout)

    def remaining(self, replica: int) -> Tensor:
        """i64[m - s], the members that a replica keeps."""
        members = self.members[replica] if self.members.dim() == 2 else self.members
        keep = torch.ones(len(self.pool), dtype=torch.bool, device=members.device)
        keep[self.erased[replica]] = False
        return members[keep[members]]

    def all_remaining(self) -> Tensor:
        """i64[K, m - s], the members that each replica keeps."""
        return torch.stack([self.remaining(k) for k in range(self.replicas)])

    def splits(self, replica: int) -> Splits:
        """One erasure as plain images."""
        return Splits(self.pool.take(self.erased[replica]), self.pool.take(self.remaining(replica)))


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
        self._flat = pool.pixels.flatten(1)
        self._order = torch.arange(self.size, device=rows.device).expand(len(rows), -1)
        self._ones = torch.ones(len(rows), self.batch, dtype=dtype, device=rows.device)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self._ends // self.batch)

    def epoch(self) -> Iterator[Batch]:
        """Batches with a leading replica dimension: images f32[K, B, C, H, W], labels i64[K, B] and so on."""
        if self.batch < self.size:
            order = np.stack([stream.permutation(self.size) for stream in self.streams])
            self._order = torch.from_numpy(order).to(self.rows.device)
        for start in range(0, self._ends, self.batch):
            stop = start + self.batch
            yield self._gather(self._order[:, start : stop if stop < self._ends else None])

    def forever(self) -> Iterator[Batch]:
        """Epoch after epoch."""
        while True:
            yield from self.epoch()

    def whole(self) -> Batch:
        """Every row of every replica, in order."""
        order = torch.arange(self.size, device=self.rows.device).expand(len(self.rows), -1)
        return self._gather(order)

    def keep(self, replicas: Tensor) -> None:
        """Go on with some of the replicas only."""
        self.rows = self.rows[replicas]
        self._order = self._order[replicas]
        self._ones = self._ones[replicas]
        self.streams = [self.streams[index] for index in replicas.tolist()]

    def _gather(self, order: Tensor) -> Batch:
        rows = torch.gather(self.rows, 1, order)
        flat = rows.flatten()
        bytes_ = self._flat.index_select(0, flat)
        # A byte by a number is a 32-bit float: one pass over the images instead of two.
        images = bytes_ / 255.0 if self.dtype == torch.float32 else bytes_.to(self.dtype).div_(255)
        labels = self.pool.labels.index_select(0, flat).view(rows.shape)
        weight = (
            self._ones[:, : rows.shape[1]] if rows.shape[1] <= self.batch else torch.ones_like(rows, dtype=self.dtype)
        )
        return Batch(images.view(*rows.shape, *self.pool.pixels.shape[1:]), labels, weight, order)
