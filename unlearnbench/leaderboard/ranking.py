"""The order of contenders in one table, and what can't be told from the best (docs/protocol.md, section 12, rule 9).

Rows stand in the order of their means. A contender is told from the best if a paired test over seeds says so at
alpha / (k - 1), one-sided, k contenders: then the true best is among those that are not told from it in all but alpha
of the draws, whichever it is (the union over the k - 1 that could beat it by chance; Hsu, 1996, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from unlearnbench.leaderboard.verdicts import one_sided
from unlearnbench.metrics.catalog import Better
from unlearnbench.metrics.intervals import MINIMUM, Floats

ALPHA = 0.05


@dataclass(frozen=True)
class Standing:
    """A contender's place.

    Attributes:
        place: 1 + the number of contenders with a better mean.
        near_best: whether it can't be told from the one with the best mean (which is not told from itself).
    """

    place: int
    near_best: bool


def standings(values: Floats, better: Better, floor: float = 0.0) -> list[Standing | None]:
    """Places of contenders.

    Args:
        values: f64[contenders, seeds], NaN where a contender has no value for a seed.
        better: which way is good.
        floor: least standard error of a mean difference: that of one image.

    Returns:
        None for a contender with fewer than 3 seeds.
    """
    enough = (~np.isnan(values)).sum(1) >= MINIMUM
    found: list[Standing | None] = [None] * len(values)
    able = np.flatnonzero(enough)
    if not len(able):
        return found
    goodness = values[able] if better == "higher" else -values[able]
    means = np.nanmean(goodness, axis=1)
    best, alpha = int(means.argmax()), ALPHA / max(1, len(able) - 1)
    for number, contender in enumerate(able):
        told = number != best and one_sided(goodness[best] - goodness[number], floor) < alpha
        found[contender] = Standing(1 + int((means > means[number]).sum()), not told)
    return found


def power(values: Floats, difference: float, floor: float = 0.0) -> float | None:
    """Chance that a contender which is worse than the best by `difference` is told from it.

    Of Student's test as `standings` does it, at the largest spread of paired differences to any one contender that
    these values show: power for the pair that is hardest to tell apart.

    Args:
        values: f64[contenders, seeds]; those with fewer than 3 seeds in common with another are left out of its pairs.

    Returns:
        None with fewer than two contenders that have 3 seeds in common.
    """
    able = values[(~np.isnan(values)).sum(1) >= MINIMUM]
    powers = [
        _power(first - second, difference, len(able), floor)
        for number, first in enumerate(able)
        for second in able[number + 1 :]
    ]
    known = [each for each in powers if each is not None]
    return min(known, default=None)


def _power(differences: Floats, least: float, contenders: int, floor: float) -> float | None:
    present: NDArray[np.float64] = differences[~np.isnan(differences)]
    if len(present) < MINIMUM:
        return None
    freedom = len(present) - 1
    error = max(float(present.std(ddof=1)) / np.sqrt(len(present)), floor)
    if error == 0:
        return 1.0
    critical = special.stdtrit(freedom, 1 - ALPHA / max(1, contenders - 1))
    return float(1 - special.nctdtr(freedom, min(least / error, 1e3), critical))
