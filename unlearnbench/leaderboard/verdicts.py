"""Verdicts on forgetting and accuracy, from one number per seed (docs/protocol.md#forgetting-and-accuracy).

Each verdict compares an interval with a margin that was declared beforehand. What the interval leaves open stays open,
so more seeds make a verdict more certain and never turn chance into one.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from unlearnbench.metrics.intervals import MINIMUM, Floats, student_t
from unlearnbench.metrics.shares import clopper_pearson

UNEVEN_LEVEL = 0.005
"""Level of the test that only takes a verdict away: retraining must not lose it by chance."""

MOST = 0.5
"""The share of seeds above which a criterion that each seed meets or misses counts as met."""


class Forgetting(StrEnum):
    """Whether a method forgot the erased images."""

    FORGOTTEN = "forgotten"
    REMEMBERED = "remembered"
    OVER_FORGOTTEN = "over-forgotten"
    UNEVEN = "unevenly forgotten"
    OPEN = "cannot be told"
    NOTHING = "nothing to forget"
    NOT_JUDGED = "not judged"
    BEFORE = "measured before protocol 2"


class Accuracy(StrEnum):
    """Whether a method kept the accuracy of retraining within a margin."""

    KEPT = "kept"
    BELOW = "below the floor"
    OPEN = "cannot be told"
    NOT_JUDGED = "not judged"


class Beside(StrEnum):
    """How a leak compares with that of retraining."""

    NO_WORSE = "no worse"
    WORSE = "worse"
    OPEN = "cannot be told"


def forgetting(memory: ArrayLike, original: ArrayLike, margin: float, images: int = 0) -> Forgetting:
    """The verdict on clean erasures: is the memory that is left within `margin` of the original's, on both sides of 0?

    Two paired tests of equivalence over seeds (Schuirmann, 1987), of margin * D0 - D and margin * D0 + D, where D is
    the memory of the method's models and D0 that of the original. If both are above 0: forgotten. If the first is below
    0: remembered. If the second is below 0: over-forgotten. If D0 is not above 0, there was nothing to forget.

    Args:
        memory: f64[n], D of each seed.
        original: f64[n], D0 of the same seeds.
        images: erased images of all seeds; the standard error is then at least that of one image. 0: no such bound.
    """
    left, held = np.asarray(memory, dtype=np.float64), np.asarray(original, dtype=np.float64)
    if len(left) < MINIMUM:
        return Forgetting.OPEN
    floor = 1 / images if images else 0.0
    if not _above(held, floor):
        return Forgetting.NOTHING
    above, below = margin * held - left, margin * held + left
    if _above(-above, floor):
        return Forgetting.REMEMBERED
    if _above(-below, floor):
        return Forgetting.OVER_FORGOTTEN
    return Forgetting.FORGOTTEN if _above(above, floor) and _above(below, floor) else Forgetting.OPEN


def uneven(square: ArrayLike, original: ArrayLike, margin: float) -> bool:
    """Whether more is left in single images than in their mean: the mean square of what is left is shown to be above
    margin^2 times that of the original, as happens if some images are remembered and others over-forgotten.

    Args:
        square: f64[n], `memory_square` of each seed.
        original: f64[n], the original's.
    """
    left, held = np.asarray(square, dtype=np.float64), np.asarray(original, dtype=np.float64)
    return one_sided(left - margin**2 * np.clip(held, 0.0, None)) < UNEVEN_LEVEL


def forgetting_seeds(memory: ArrayLike, original: ArrayLike, margin: float) -> int:
    """The number of seeds in which what is left lies within the margin of the original's mean memory."""
    left, before = np.asarray(memory, dtype=np.float64), np.asarray(original, dtype=np.float64)
    held = float(before.mean()) if before.size else 0.0
    return int((np.abs(left) <= margin * max(held, 0.0)).sum())


def backdoor_forgetting(accuracy: ArrayLike, threshold: float) -> tuple[Forgetting, int]:
    """The verdict on stamped images, where forgetting means misclassifying, and the number of seeds that got below the
    threshold.

    Methods stop as soon as they are below it, so their accuracies crowd there and the mean says little; what counts is
    the number of seeds that got there. Forgotten means more than half, by the one-sided 95 % bound of Clopper and
    Pearson (all of 5, 9 of 10); remembered means fewer than half, by the same bound.

    Args:
        accuracy: f64[n], on the stamped training images of each seed.
    """
    values = np.asarray(accuracy, dtype=np.float64)
    met = int((values < threshold).sum())
    if len(values) < MINIMUM:
        return Forgetting.OPEN, met
    low, high = clopper_pearson(met, len(values), level=0.9)
    verdict = Forgetting.FORGOTTEN if low > MOST else Forgetting.REMEMBERED if high < MOST else Forgetting.OPEN
    return verdict, met


def accuracy_kept(differences: ArrayLike, margin: float, images: int) -> Accuracy:
    """Whether accuracy is within `margin` of that of retraining: a test of non-inferiority.

    Args:
        differences: f64[n], accuracy minus retraining's, seed by seed.
        images: test images, the same for all seeds; the standard error is at least that of one image.
    """
    values = np.asarray(differences, dtype=np.float64)
    floor = 1 / images if images else 0.0
    if len(values) < MINIMUM:
        return Accuracy.OPEN
    if _above(values + margin, floor):
        return Accuracy.KEPT
    return Accuracy.BELOW if _above(-margin - values, floor) else Accuracy.OPEN


def beside_retraining(differences: ArrayLike, margin: float, floor: float = 0.0) -> Beside:
    """Whether a leak is within `margin` of that of retraining (a test of non-inferiority), and if not, whether it is
    worse.

    Args:
        differences: f64[n], the method's advantage minus that under retraining, seed by seed.
        floor: least standard error of the mean.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < MINIMUM:
        return Beside.OPEN
    if _above(margin - values, floor):
        return Beside.NO_WORSE
    return Beside.WORSE if _above(values - margin, floor) else Beside.OPEN


def one_sided(values: Floats, floor: float = 0.0) -> float:
    """p of Student's test that the mean of f64[n] is not above 0; 1 for fewer than 3 values.

    Args:
        floor: least standard error of the mean. Equal values in all seeds are not certain: at least one image could
            have turned out differently.
    """
    x = np.asarray(values, dtype=np.float64)
    x = x[~np.isnan(x)]
    if len(x) < MINIMUM:
        return 1.0
    mean, error = float(x.mean()), max(float(x.std(ddof=1)) / np.sqrt(len(x)), floor)
    if error == 0.0:
        return 0.0 if mean > 0 else 1.0
    return float(special.stdtr(len(x) - 1, -mean / error))


def _above(values: Floats, floor: float) -> bool:
    """Whether the 95 % interval of the mean lies above 0."""
    return one_sided(values, floor) < 0.025


def interval(values: ArrayLike, floor: float = 0.0) -> tuple[float, float | None, float | None]:
    """Mean and Student's 95 % interval, with a standard error of at least `floor`."""
    mean, low, high = student_t(values)
    if low is None or high is None:
        return mean, None, None
    n = len(np.asarray(values))
    half = max((high - low) / 2, floor * float(special.stdtrit(n - 1, 0.975)))
    return mean, mean - half, mean + half
