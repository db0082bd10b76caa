"""How well the labels of sets are inferred, in any order. Labels are i64[T, s]: T sets of s images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PSEUDOCOUNT = 0.5
"""Added to each class's count before a logarithm is taken (Krichevsky and Trofimov, 1981)."""


def counts(labels: Tensor, classes: int) -> Tensor:
    """Images of each class, i64[T, Y]."""
    return F.one_hot(labels, classes).sum(1)


def overlap(inferred: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Share of a set's labels that the inferred ones cover, each counted once; f64[T]."""
    shared = torch.minimum(counts(inferred, classes), counts(truth, classes)).sum(1)
    return shared.double() / truth.shape[1]


def divergence(truth: Tensor, inferred: Tensor) -> Tensor:
    """KL[shares of the true labels || shares of inferred counts], in nats, f64[T].

    Salem et al. (2020, section 4) train and score the label distribution of a set with it. Inferred counts are
    smoothed: otherwise one missing class would cost infinitely much.

    Args:
        truth: i64[T, s].
        inferred: counts i64[T, Y], or i64[1, Y] for the same answer about all sets.
    """
    classes = inferred.shape[1]
    share = counts(truth, classes).double() / truth.shape[1]
    smoothed = inferred.double() + PSEUDOCOUNT
    smoothed = smoothed / smoothed.sum(1, keepdim=True)
    nats: Tensor = (torch.xlogy(share, share) - share * smoothed.log()).sum(1)
    return nats
