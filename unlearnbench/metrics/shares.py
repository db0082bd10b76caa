"""Intervals of shares over seeds: inside [0, 1], never narrower than the binomial's, including the images' sampling.

Student t of per-seed shares leaves [0, 1], and reports "0.78 +- 0.00" where every seed finds 25 of the same 32 images.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from unlearnbench.metrics.intervals import MINIMUM, Floats


def clopper_pearson(found: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a binomial share (Clopper and Pearson, 1934); numbers need not be whole.

    Args:
        found: successes, from 0 to n.
        n: trials, above 0; an effective sample size may be below 1.
        level: least probability that the interval covers the share.

    Raises:
        ValueError: for other numbers.
    """
    if not (0 <= found <= n and 0 < n < math.inf and 0 < level < 1):
        raise ValueError(f"no share: {found} of {n} at level {level}")
    one_sided = (1 + level) / 2
    return float(share_at_least(found, n, one_sided)), float(share_at_most(found, n, one_sided))


def share_at_least(found: ArrayLike, n: float, level: float) -> Floats:
    """Clopper and Pearson's one-sided lower bounds f64[...] on shares, where `found` f64[...] of n were found."""
    x = np.asarray(found, dtype=np.float64)
    some = x > 0
    return np.where(some, special.betaincinv(np.where(some, x, 1.0), n - x + 1, 1 - level), 0.0)


def share_at_most(found: ArrayLike, n: float, level: float) -> Floats:
    """Their one-sided upper bounds."""
    x = np.asarray(found, dtype=np.float64)
    some = x < n
    return np.where(some, special.betaincinv(x + 1, np.where(some, n - x, 1.0), level), 1.0)


def share_interval(
    values: ArrayLike, n: int, shared: bool, level: float = 0.95
) -> tuple[float, float | None, float | None]:
    """Mean of the seeds' shares, and Clopper and Pearson's interval at Korn and Graubard's effective sample size.

    The variance of the mean p over k seeds is v = s^2 / k. Student's quantile at k - 1 degrees of freedom in place of
    the normal one makes it v' = v (t / z)^2, and p (1 - p) / v' independently drawn images would be as uncertain (Korn
    and Graubard, 1998). Where each seed has its own images, v already includes the error of drawing them, and at most
    k n images can count. Where all seeds use the same n images, v does not include it: the share of these images
    differs from that of all by p (1 - p) / n at most, which is added, so that at most n images count. A mean of 0 or 1
    has no variance that shows how alike the seeds' images are: then n images count, or as many as there are seeds if
    each has fewer of its own.

    Args:
        values: f64[k], one share per seed, in [0, 1].
        n: images behind each share.
        shared: whether all seeds have the same images (a test set), or each its own (erased images).
        level: probability that the interval covers the expected share.

    Returns:
        Mean, low and high; the latter are None for fewer than 3 seeds.

    Raises:
        ValueError: no values, one outside [0, 1], or n below 1.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x) or not np.all((x >= 0) & (x <= 1)):
        raise ValueError("shares must be a list of numbers from 0 to 1")
    if n < 1:
        raise ValueError(f"shares of {n} images")
    mean, seeds = float(x.mean()), len(x)
    if seeds < MINIMUM:
        return mean, None, None
    low, high = share_intervals([mean], [float(x.var(ddof=1))], [seeds], [n], [shared], level)
    return mean, float(low[0]), float(high[0])


def share_intervals(
    means: ArrayLike, variances: ArrayLike, seeds: ArrayLike, n: ArrayLike, shared: ArrayLike, level: float = 0.95
) -> tuple[Floats, Floats]:
    """`share_interval` for many groups at once: low and high f64[m], NaN where there are fewer than 3 seeds.

    Args:
        means, variances: f64[m], mean and sample variance (divisor k - 1) of each group's seeds.
        seeds: i64[m], k.
        n: i64[m], images behind each seed's share.
        shared: bool[m].
    """
    mean, variance, k, images = (np.asarray(x, dtype=np.float64) for x in (means, variances, seeds, n))
    same = np.asarray(shared, dtype=bool)
    enough, upper = k >= MINIMUM, (1 + level) / 2
    k = np.where(enough, k, MINIMUM)
    inflation = (special.stdtrit(k - 1, upper) / special.ndtri(upper)) ** 2
    certain = (mean <= 0) | (mean >= 1)
    spread = np.where(certain, 1.0, mean * (1 - mean))
    of_seeds = variance / k * inflation / spread
    with np.errstate(divide="ignore"):
        effective = np.where(same, 1 / (1 / images + of_seeds), 1 / np.maximum(1 / (k * images), of_seeds))
    effective = np.where(certain, np.where(same, images, np.maximum(images, k)), effective)
    found = mean * effective
    low = np.where(
        mean <= 0, 0.0, special.betaincinv(np.where(mean <= 0, 1.0, found), effective - found + 1, 1 - upper)
    )
    missed = np.where(mean >= 1, 1.0, effective - found)
    high = np.where(mean >= 1, 1.0, special.betaincinv(found + 1, missed, upper))
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)
