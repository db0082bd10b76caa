"""The owner's audit: was a model trained on images that she marked? (MIB: Hu et al., 2022.)

She asks q stamped images of classes other than her target, and the model answers s of them with the target. The paper
rejects "not used" if sqrt(q - 1) (s / q - 1 / K) > sqrt(s / q - (s / q)^2) t, with Student's t at q - 1 degrees of
freedom. Its left side is measured in an estimated deviation, which is 0 where all answers agree: two of two answers
would convict a model of two classes. These tests are exact instead.
"""

from __future__ import annotations

import numpy as np
from scipy import special, stats

LEVEL = 0.05
"""Most models that never saw the mark may be called trained on it."""

POWER = 0.95


def p_value(found: int, asked: int, share: float) -> float:
    """P(X >= found) for X ~ Binomial(asked, share): the exact test of an expected share of at most `share`."""
    return float(special.betainc(found, asked - found + 1, share)) if found else 1.0


def paired_p_value(gained: int, lost: int) -> float:
    """The same for "the pattern changes nothing", image by image: McNemar's exact test, one-sided.

    Args:
        gained: images answered with the target only if they are stamped.
        lost: images answered with it only if they are not.
    """
    return p_value(gained, gained + lost, 0.5)


def fewest_queries(share: float, null: float, most: int, level: float = LEVEL, power: float = POWER) -> int | None:
    """The least number of queries with which a model that answers `share` of them with the target is found.

    Args:
        null: the share up to which it counts as not trained on the mark.
        most: images that the owner could ask.
        level: of the exact test.
        power: least probability that it rejects.

    Returns:
        None if `most` are too few.
    """
    asked = np.arange(1, most + 1)
    needed = stats.binom.isf(level, asked, null) + 1  # the smallest number of targets that rejects
    enough = np.flatnonzero(stats.binom.sf(needed - 1, asked, share) >= power)
    return int(asked[enough[0]]) if len(enough) else None
