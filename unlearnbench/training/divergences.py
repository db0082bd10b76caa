"""Kullback-Leibler divergences, per sample. J latent dimensions, Y classes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum"]


def kl_to_prior(mean: Tensor, scale: Tensor, reduction: Reduction) -> Tensor:
    """KL[N(mean, scale^2) || N(0, I)], f32[B] (Eq. 15); `mean` divides by J, as in Table 2."""
    terms = 0.5 * (mean.square() + scale.square() - 1) - torch.log(scale)
    return _reduce(terms, reduction)


def kl_gaussians(mean: Tensor, scale: Tensor, mean2: Tensor, scale2: Tensor, reduction: Reduction) -> Tensor:
    """KL[N(mean, scale^2) || N(mean2, scale2^2)] of diagonal Gaussians f32[B, J], f32[B]."""
    # Written with ratios, the gradient at equal distributions is exactly zero; Adam, which divides by the gradient's
    # size, would amplify rounding errors.
    ratio, distance = scale / scale2, (mean - mean2) / scale2
    return _reduce(0.5 * (ratio.square() + distance.square() - 1) - torch.log(ratio), reduction)


def kl_categorical(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL[p || q] of log-probabilities f32[B, Y], f32[B]."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def kl_of_logits(p: Tensor, q: Tensor) -> Tensor:
    """KL[softmax(p) || softmax(q)] of logits f32[B, Y], f32[B].

    In this form the gradient in q at equal logits is the difference of two exponentials of the same number: zero, or
    off by its last bit, which Adam's epsilon absorbs. `kl_categorical` leaves the rounding of whole sums (see
    `kl_gaussians`).
    """
    log_p = p - p.logsumexp(-1, keepdim=True)
    return (log_p.exp() * (log_p - q)).sum(-1) + q.logsumexp(-1)


def _reduce(terms: Tensor, reduction: Reduction) -> Tensor:
    return terms.mean(-1) if reduction == "mean" else terms.sum(-1)
