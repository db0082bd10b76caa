"""What each of K replicas forgets and keeps: erased and remaining sets as rows of one shared pool of images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unlearnbench.splits.images import Images, Splits


@dataclass(frozen=True, eq=False)
class ErasureSets:
    """K erasures, from one training set or each from its own.

    Attributes:
        pool: all images, moved to the device once.
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
