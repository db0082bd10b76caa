"""Ranks within one table of contenders: who is significantly better than whom (docs/protocol.md section 11, rule 9)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unlearnbench.metrics.catalog import Better
from unlearnbench.metrics.intervals import MINIMUM, Floats, holm, paired_t_rows

REFERENCES = ("original", "retrain", "retrain_paired", "seed_noise")
"""Methods shown without a rank: what unlearning is compared with, not contenders of it."""

ALPHA = 0.05


def rank(values: Floats, better: Better) -> list[int | None]:
    """1 + the number of contenders that are significantly better, so 1 may be shared by many.

    Every pair is tested over the seeds that both have (two-sided paired t-test), adjusted by Holm over all pairs of
    the table.

    Args:
        values: f64[contenders, seeds], NaN where a contender has no value for a seed.
        better: which way is good.

    Returns:
        One rank a contender, None where fewer than 3 common seeds leave nothing to test.
    """
    order = np.flatnonzero(_testable(values))
    ranks: list[int | None] = [None] * len(values)
    if not len(order):
        return ranks
    first, second = np.triu_indices(len(order), k=1)
    differences = values[order[first]] - values[order[second]]
    significant = holm(paired_t_rows(differences)) < ALPHA
    signs = np.sign(np.nanmean(differences[significant], axis=1)) if significant.any() else np.zeros(0)
    first_better = signs > 0 if better == "higher" else signs < 0
    beaten = np.where(first_better, second[significant], first[significant])
    losses = np.bincount(beaten, minlength=len(order))
    for contender, lost in zip(order, losses, strict=True):
        ranks[contender] = 1 + int(lost)
    return ranks


def _testable(values: Floats) -> NDArray[np.bool_]:
    """Contenders that share at least 3 seeds with one another.

    While some pairs do not, those in most such pairs are left out: one contender with seeds of its own must not cost
    the others their ranks.
    """
    present = (~np.isnan(values)).astype(np.int64)
    common = present @ present.T
    kept = np.diag(common) >= MINIMUM
    while True:
        short = ((common < MINIMUM) & kept[:, None] & kept[None, :]).sum(axis=1)
        if not short.any():
            return kept
        kept &= short < short.max()
