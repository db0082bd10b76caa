"""Rates at few errors over all seeds together: one seed has too few images (docs/protocol.md#few-false-alarms)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unlearnbench.metrics.membership import FALSE_ALARMS, exceeded_by, gives_rate
from unlearnbench.metrics.shares import share_interval

Scores = tuple[ArrayLike, ArrayLike]
"""One seed's scores of erased and never-seen images, f64[positives] and f64[negatives]; higher: more likely erased."""


class PooledRate(NamedTuple):
    """A rate over seeds.

    Attributes:
        value: mean of the seeds' rates at one threshold for all; None if there is a reason.
        low, high: its 95 % interval, at that threshold; None for fewer than 3 seeds.
        positives, negatives: erased and never-seen images of all seeds.
        reason: why there is no value.
    """

    value: float | None
    low: float | None
    high: float | None
    positives: int
    negatives: int
    reason: str | None = None


def tpr_at_fpr(seeds: Sequence[Scores], fpr: float, level: float = 0.95) -> PooledRate:
    """Share of erased images above a threshold that at most `fpr` of all seeds' never-seen images exceed.

    Ties are treated as conservatively as within one seed (metrics/membership.py). The interval is that of shares over
    seeds (metrics/shares.py), where each seed has its own images. The threshold is taken as given: with 10 false alarms
    in 1,000 its true rate lies between 0.5 and 1.8 %.

    Args:
        seeds: scores on one scale.
        fpr: tolerated share of false alarms, in (0, 1).

    Returns:
        No value unless negatives * fpr >= 10.

    Raises:
        ValueError: NaN scores, a seed without erased or never-seen images, no seeds, or fpr outside (0, 1).
    """
    return _rate([(_checked(p), _checked(n)) for p, n in seeds], fpr, level, "never-seen", "false alarms")


def tnr_at_tpr(seeds: Sequence[Scores], tpr: float = 0.95, level: float = 0.95) -> PooledRate:
    """Share of never-seen images below a threshold that at least `tpr` of all seeds' erased images reach.

    As `tpr_at_fpr` with both kinds of images exchanged: no value unless positives * (1 - tpr) >= 10.
    """
    rate = _rate([(-_checked(n), -_checked(p)) for p, n in seeds], 1 - tpr, level, "erased", "misses")
    return rate._replace(positives=rate.negatives, negatives=rate.positives)


def _rate(
    seeds: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], share: float, level: float, kind: str, errors: str
) -> PooledRate:
    """`kind` and `errors` name the second set, and its images that exceed the threshold."""
    if not 0 < share < 1:
        raise ValueError(f"a rate must lie in (0, 1), not {share}")
    if not seeds:
        raise ValueError("no seeds")
    against = np.concatenate([second for _, second in seeds])
    counts = sum(len(first) for first, _ in seeds), len(against)
    if not gives_rate(len(against), share):
        least = round(FALSE_ALARMS / share)
        reason = f"{len(against)} {kind} images over {len(seeds)} seeds; {FALSE_ALARMS} {errors} need {least}"
        return PooledRate(None, None, None, *counts, reason)
    threshold = exceeded_by(against, share)
    found = [float((first > threshold).mean()) for first, _ in seeds]
    return PooledRate(*share_interval(found, min(len(first) for first, _ in seeds), shared=False, level=level), *counts)


def _checked(scores: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 1 or not len(x) or np.isnan(x).any():
        raise ValueError("a seed needs scores of erased and of never-seen images, and none may be NaN")
    return x
