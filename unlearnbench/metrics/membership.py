"""How well scores separate members (erased images) from non-members: exact, with no threshold chosen in hindsight."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

FALSE_ALARMS = 10
"""Fewest false alarms for a rate (docs/protocol.md#few-false-alarms)."""

_ROUNDING = 1e-9  # 3000 * 0.01 must count as 30


def auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """P(score of a member > score of a non-member) + P(equal) / 2: the Mann-Whitney statistic, exact with ties.

    Args:
        scores: f64[n], higher means more likely a member; infinities are allowed.
        labels: bool[n], True for members.

    Raises:
        ValueError: NaN scores, unequal lengths, or only members or only non-members.
    """
    from scipy.stats import rankdata

    positives, negatives = _split(scores, labels)
    ranks = rankdata(np.concatenate([positives, negatives]))
    wins = ranks[: len(positives)].sum() - len(positives) * (len(positives) + 1) / 2
    return float(wins / (len(positives) * len(negatives)))


def tpr_at_fpr(scores: ArrayLike, labels: ArrayLike, fpr: float) -> float | None:
    """Share of members above a threshold that at most `fpr` of the non-members exceed.

    Ties are treated conservatively: a score counts only if it is strictly above the threshold, and the threshold is a
    non-member's score, so members tied with it are not found. A constant score finds nobody.

    Args:
        scores: f64[n], higher means more likely a member.
        labels: bool[n], True for members.
        fpr: tolerated share of false alarms, in (0, 1).

    Returns:
        The true positive rate, or None unless non-members * fpr >= 10: fewer false alarms give no reliable rate.

    Raises:
        ValueError: as for `auc`, or fpr outside (0, 1).
    """
    if not 0 < fpr < 1:
        raise ValueError(f"fpr must lie in (0, 1), got {fpr}")
    positives, negatives = _split(scores, labels)
    if not gives_rate(len(negatives), fpr):
        return None
    return float((positives > exceeded_by(negatives, fpr)).mean())


def gives_rate(count: int, share: float) -> bool:
    """Whether `count` images are enough for a rate at which a share of them may be errors."""
    return count * share + _ROUNDING >= FALSE_ALARMS


def exceeded_by(scores: NDArray[np.float64], share: float) -> float:
    """The lowest of the scores f64[n] that at most a share of them exceed."""
    return float(np.sort(scores)[::-1][math.floor(len(scores) * share + _ROUNDING)])


def tnr_at_tpr(scores: ArrayLike, labels: ArrayLike, tpr: float = 0.95) -> float | None:
    """Share of non-members below a threshold that at least `tpr` of the members reach: those surely not members.

    Ties are treated conservatively: the threshold is a member's score, and non-members tied with it are not cleared. A
    constant score clears nobody.

    Args:
        scores: f64[n], higher means more likely a member.
        labels: bool[n], True for members.
        tpr: share of members to be found, in (0, 1).

    Returns:
        The true negative rate, or None unless members * (1 - tpr) >= 10: fewer misses give no reliable rate.

    Raises:
        ValueError: as for `auc`, or tpr outside (0, 1).
    """
    if not 0 < tpr < 1:
        raise ValueError(f"tpr must lie in (0, 1), got {tpr}")
    # Members and non-members swap roles, and the scale is reversed.
    return tpr_at_fpr(-np.asarray(scores, dtype=np.float64), ~np.asarray(labels, dtype=bool), 1 - tpr)


def balanced_accuracy(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Mean of true positive and true negative rate when scores above `threshold` are called members.

    The threshold must come from elsewhere (shadows, a fixed rule): chosen on these scores it would be optimistic.

    Raises:
        ValueError: as for `auc`.
    """
    positives, negatives = _split(scores, labels)
    return float(((positives > threshold).mean() + (negatives <= threshold).mean()) / 2)


def confidence_gains(scores: ArrayLike, baseline: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """How much surer of the true answer one attack is than another, f64[n] from -1 to 1 (Chen et al., section 3.3).

    Their mean is DegRate. DegCount is the share above 0; equals count as half here, so that an attack compared with
    itself gets 0.5, not 0.

    Args:
        scores, baseline: f64[n] in [0, 1], chances of being a member.
        labels: bool[n], True for members.
    """
    gains = np.asarray(scores, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    return np.where(np.asarray(labels, dtype=bool), gains, -gains)


def _split(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of members and of non-members."""
    s, members = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool)
    if s.ndim != 1 or s.shape != members.shape:
        raise ValueError(f"scores and labels must be two lists of one length, got shapes {s.shape} and {members.shape}")
    if np.isnan(s).any():
        raise ValueError("scores must not be NaN")
    if members.all() or not members.any():
        raise ValueError("both members and non-members are needed")
    return s[members], s[~members]
