"""Whether an image's margin distinguishes two sets of models: a lower confidence bound on epsilon, and an estimate.

An attack on one image calls a model unlearned if its margin lies in a set S. Under (epsilon, delta)-unlearning

    P(unlearned in S) <= e^epsilon P(retrained in S) + delta,    and the same with both exchanged,

for every S (Triantafillou et al., 2024, after Kairouz et al., 2015): rates that break it refute an epsilon.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from unlearnbench.metrics.intervals import Floats
from unlearnbench.metrics.shares import share_at_least, share_at_most

DELTA = 0.05
"""Probability with which epsilon need not hold. Lower values need rates that a hundred models can't show."""

CAP = 10.0
"""Largest fitted epsilon, in nat: beyond it only far tails of the normal distribution matter, which no model showed."""

CHOOSE = 4
"""A quarter of the models chooses each image's threshold; the others bound its rates."""

_SPREAD_FLOOR = 1e-6  # nat, of standard deviations


def lower_bound(unlearned: Floats, retrained: Floats, level: float = 0.95, delta: float = DELTA) -> Floats:
    """A lower confidence bound on each image's epsilon: smaller values are refuted.

    The first quarter of the models chooses the set S (all margins above a threshold, or all below it) and the kind of
    models that is in S more often, such that the bound at their own rates is largest. The other n models of each kind
    are counted. With p the lower bound (Clopper and Pearson, 1934) on the probability that the more frequent kind is in
    S, and q the upper bound for the other kind, each one-sided at `level`, epsilon is at least log((p - delta) / q).
    The counted models had no part in the choice, so there is one bound per image and nothing to correct for. Each rate
    may be bounded at the full level rather than at half of the error: enumerating the outcomes
    (tests/metrics/test_epsilon.py) shows that the bound exceeds the true epsilon with a probability of at most 4.6 %
    for n up to 384, because both rates seldom err enough in the same direction.

    Args:
        unlearned, retrained: margins f64[N, images], equally many of each and at least 4; models are independent.
        level: least probability with which each image's bound holds.

    Returns:
        f64[images], nat, from 0 to `largest_bound(N)`.
    """
    choosing = _choosing(len(unlearned))
    thresholds, above, swapped = _chosen(unlearned[:choosing], retrained[:choosing], len(unlearned) - choosing, level,
                                         delta)  # fmt: skip
    u, r = (_inside(margins[choosing:], thresholds, above) for margins in (unlearned, retrained))
    often, seldom = np.where(swapped, r, u), np.where(swapped, u, r)
    return _log_ratio(often, seldom, len(unlearned) - choosing, level, delta)


def largest_bound(models: int, level: float = 0.95, delta: float = DELTA) -> float:
    """The largest epsilon, nat, that so many models per side can refute, when their margins don't overlap."""
    n = models - _choosing(models)
    return float(_log_ratio(np.array(float(n)), np.array(0.0), n, level, delta))


def fitted(unlearned: Floats, retrained: Floats, delta: float = DELTA) -> Floats:
    """An estimate of each image's epsilon from normal distributions fitted to both sets of margins; not a bound.

    The largest over thresholds, directions and kinds of the refuted epsilons, at rates under the fits. For equal
    variances it solves the normal mechanism's privacy curve Phi(m/2 - eps/m) - e^eps Phi(-m/2 - eps/m) = delta, m the
    distance of the means in standard deviations (Balle and Wang, 2018). It is biased upwards: where 1.57 is right,
    its median is 2.6 with 16 models a side and 1.9 with 128; where nothing differs, 0.6 with 16.

    Args:
        unlearned, retrained: margins f64[N, images]; N at least 2, and may differ.

    Returns:
        f64[images], nat, from 0 to `CAP`.
    """
    means = [margins.mean(0)[:, None] for margins in (unlearned, retrained)]
    spreads = [np.maximum(margins.std(0, ddof=1), _SPREAD_FLOOR)[:, None] for margins in (unlearned, retrained)]
    steps = np.linspace(-6, 6, 601)
    # A grid for each distribution: one may be far narrower than the other.
    thresholds = np.concatenate([mean + spread * steps for mean, spread in zip(means, spreads, strict=True)], 1)
    u, r = ((thresholds - mean) / spread for mean, spread in zip(means, spreads, strict=True))
    best = np.zeros(len(thresholds))
    # Above a threshold: P(unlearned) = Phi(-u), P(retrained) = Phi(-r). Below it both signs turn.
    for often, seldom in ((-u, -r), (u, r), (-r, -u), (r, u)):
        likely = ndtr(often) - delta
        ratio = np.log(np.maximum(likely, np.finfo(float).tiny)) - log_ndtr(seldom)
        best = np.maximum(best, np.where(likely > 0, ratio, 0.0).max(1))
    return np.minimum(best, CAP)


def _choosing(models: int) -> int:
    """How many models choose."""
    if models < CHOOSE:
        raise ValueError(f"{models} models a side: a bound on epsilon needs {CHOOSE}")
    return models // CHOOSE


def _chosen(
    unlearned: Floats, retrained: Floats, counted: int, level: float, delta: float
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """Thresholds f64[images], whether S lies above, and whether retrained models are in it more often, bool[images]."""
    margins = np.sort(np.concatenate([unlearned, retrained]), 0).T
    thresholds = (margins[:, 1:] + margins[:, :-1]) / 2  # of each image, between any two margins
    u, r = (
        ((models.T[:, :, None] > thresholds[:, None, :]).sum(1) + 1) / (len(models) + 2)  # Laplace's rule of succession
        for models in (unlearned, retrained)
    )
    promises = np.stack([
        _log_ratio(counted * often, counted * seldom, counted, level, delta)
        for often, seldom in ((u, r), (1 - u, 1 - r), (r, u), (1 - r, 1 - u))
    ], 1)  # fmt: skip
    choice, place = np.divmod(promises.reshape(len(thresholds), -1).argmax(1), thresholds.shape[1])
    return thresholds[np.arange(len(thresholds)), place], choice % 2 == 0, choice >= 2


def _inside(margins: Floats, thresholds: Floats, above: NDArray[np.bool_]) -> Floats:
    """How many models' margins lie in S, f64[images]."""
    higher: NDArray[np.intp] = (margins > thresholds).sum(0)
    return np.where(above, higher, len(margins) - higher).astype(np.float64)


def _log_ratio(often: Floats, seldom: Floats, n: int, level: float, delta: float) -> Floats:
    """The bound when `often` and `seldom` of n models of each kind are in S; these need not be whole numbers."""
    likely = np.maximum(share_at_least(often, n, level) - delta, np.finfo(float).tiny)
    return np.asarray(np.maximum(np.log(likely / share_at_most(seldom, n, level)), 0.0))
