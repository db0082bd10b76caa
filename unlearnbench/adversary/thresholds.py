"""Where scores of membership are cut in two by an adversary who knows no answer."""

from __future__ import annotations

import torch
from torch import Tensor


def two_groups(scores: Tensor) -> float:
    """The value that divides the scores into the two groups of least variance (Otsu, 1979): yes is above it."""
    ordered = scores.detach().double().flatten().sort().values
    total = ordered.numel()
    lower = torch.arange(1, total, dtype=torch.float64)
    sums = ordered.cumsum(0)
    gap = (sums[-1] - sums[:-1]) / (total - lower) - sums[:-1] / lower
    between = lower * (total - lower) * gap.square()
    cut = int(between.argmax()) if total > 1 else 0
    return float(ordered[cut : cut + 2].mean())
