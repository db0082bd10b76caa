"""How near an image's nearest near-duplicate is, among the images that stay in training whatever is erased."""

from __future__ import annotations

import torch
from torch import Tensor

from unlearnbench.splits.images import Images

_AT_A_TIME = 1_024


def nearness(pool: Images, remaining: Tensor, rows: Tensor) -> Tensor:
    """Minus the squared distance of pixels to the nearest of the `remaining` images, of whatever class.

    Members that may be erased are not among these: two near-duplicates would then be erased as a pair, and of
    never-seen images no such pairs are chosen.

    Args:
        remaining: i64[m], rows of the pool.
        rows: i64[n], rows of the images that are asked about.

    Returns:
        f64[N], NaN for all other images. Whole numbers, computed exactly: the choice is the same on every machine.
    """
    nearest = torch.full((len(pool),), torch.nan, dtype=torch.float64, device=pool.labels.device)
    known = pool.pixels[remaining].flatten(1).double()
    squares = known.square().sum(1)
    for some in rows.split(_AT_A_TIME):
        asked = pool.pixels[some].flatten(1).double()
        apart = asked.square().sum(1, keepdim=True) - 2 * asked @ known.T + squares
        nearest[some] = -apart.amin(1)
    return nearest
