"""The scenario's stop rule, applied to K replicas in the same way for every method."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.settings.scenario import StopRule
from unlearnbench.splits.batches import Batch

# Logits f32[K, n, Y] of the models as they are now, for images f32[K, n, C, H, W].
Predict = Callable[[Tensor], Tensor]

IMAGES = 500  # in one forward pass


def accuracy(predict: Predict, batch: Batch) -> Tensor:
    """Share of a batch predicted as its labels, f32[K]."""
    right = [predict(x).argmax(-1) == y for x, y in _parts(batch)]
    return torch.cat(right, 1).float().mean(1)


def mean_loss(predict: Predict, batch: Batch) -> Tensor:
    """Mean cross-entropy, f32[K]."""
    losses = []
    for x, y in _parts(batch):
        losses.append(F.cross_entropy(predict(x).flatten(0, 1), y.flatten(), reduction="none").view(y.shape))
    return torch.cat(losses, 1).mean(1)


def _parts(batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
    """Up to IMAGES images at a time: the activations of a whole erased set would fill a small machine's memory."""
    yield from zip(batch.images.split(IMAGES, 1), batch.labels.split(IMAGES, 1), strict=True)


class Stopper:
    """Says after each step which replicas are done.

    `backdoor` is the paper's rule (section 6.3) as the released code checks it: on the minibatch after each step, and
    on the whole erased set when a minibatch falls below `batch_threshold` and at the end of every epoch.

    Args:
        may_wait: whether it may read a result early to save work; on a GPU this waits for all queued kernels.
    """

    def __init__(self, rule: StopRule, erased: Batch, holdout: Batch | None, may_wait: bool = True) -> None:
        self.rule, self.erased, self.holdout, self.may_wait = rule, erased, holdout, may_wait
        if rule.rule == "match_holdout" and holdout is None:
            raise ValueError("stop rule match_holdout needs never-seen images")

    def done(self, predict: Predict, batch: Batch | None, epoch_ends: bool) -> Tensor:
        """bool[K]: which replicas have forgotten. `batch` is the step's minibatch of erased images, if it had one."""
        with torch.no_grad():
            if self.rule.rule == "match_holdout":
                assert self.holdout is not None
                return mean_loss(predict, self.erased) >= mean_loss(predict, self.holdout)
            due = torch.ones(len(self.erased.labels), dtype=torch.bool, device=self.erased.labels.device)
            if not epoch_ends and batch is not None:
                due = accuracy(predict, batch) < self.rule.batch_threshold
            # Each replica by its own minibatch: the other replicas must not decide when it is checked.
            if self.may_wait and not bool(due.any()):
                return due
            return due & (accuracy(predict, self.erased) < self.rule.threshold)

    def keep(self, replicas: Tensor) -> None:
        """Continue with some of the replicas."""
        self.erased = Batch(*(part[replicas] for part in self.erased))
        if self.holdout is not None:
            self.holdout = Batch(*(part[replicas] for part in self.holdout))
