"""What may be said of forgetting and of accuracy, from one number a seed (docs/protocol.md, section 12).

Each verdict is an interval against a margin that was declared beforehand: what the interval leaves open is said to be
open, so that more seeds make a verdict surer and never turn chance into one.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from unlearnbench.metrics.intervals import MINIMUM, Floats, student_t
from unlearnbench.metrics.shares import clopper_pearson

UNEVEN_LEVEL = 0.005
"""Of the test that only takes a verdict away: retraining must not lose it by chance."""

MOST = 0.5
"""Of the seeds: a criterion that is met or missed in each is met if it is in more than so many."""


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
    """Whether a method kept the accuracy of retraining but for a margin."""

    KEPT = "kept"
    BELOW = "below the floor"
    OPEN = "cannot be told"
    NOT_JUDGED = "not judged"


class Beside(StrEnum):
    """How a leak stands to that of retraining."""

    NO_WORSE = "no worse"
    WORSE = "worse"
    OPEN = "cannot be told"


def forgetting(memory: ArrayLike, original: ArrayLike, margin: float, images: int = 0) -> Forgetting:
    """The verdict on clean erasures: is what is left of the original's memory within `margin` of it, on both sides?

    Two paired tests over seeds, as of equivalence (Schuirmann, 1987): margin * D0 - D and margin * D0 + D, D the memory
    of the method's models and D0 the original's. Both above 0: forgotten. The first below 0: remembered; the second:
    over-forgotten. D0 itself must be above 0, else there was nothing to forget.

    Args:
        memory: f64[n], D of each seed.
        original: f64[n], D0 of the same seeds.
        images: erased images of all seeds, if the standard error is never to be below that of one.
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
    """Whether more is left image by image than in the mean: the mean square of what is left is shown to be above
    margin^2 times that of the original, as it is where some images are remembered and others over-forgotten.

    Args:
        square: f64[n], `memory_square` of each seed.
        original: f64[n], the original's.
    """
    left, held = np.asarray(square, dtype=np.float64), np.asarray(original, dtype=np.float64)
    return one_sided(left - margin**2 * np.clip(held, 0.0, None)) < UNEVEN_LEVEL


def forgetting_seeds(memory: ArrayLike, original: ArrayLike, margin: float) -> int:
    """In how many seeds what is left lies within the margin of the original's mean memory."""
    left, before = np.asarray(memory, dtype=np.float64), np.asarray(original, dtype=np.float64)
    held = float(before.mean()) if before.size else 0.0
    return int((np.abs(left) <= margin * max(held, 0.0)).sum())


def backdoor_forgetting(accuracy: ArrayLike, threshold: float) -> tuple[Forgetting, int]:
    """The verdict on stamped images, where forgetting is misclassifying, and the seeds whose accuracy is under the bar.

    Methods stop as soon as they are under it, so their accuracies crowd below it and their mean says little: what
    counts is in how many seeds they got there. Forgotten: in most, by the one-sided 95 % bound of Clopper and Pearson
    (all of 5, 9 of 10); remembered: in fewer.

    Args:
        accuracy: f64[n], of each seed, on the stamped training images.
    """
    values = np.asarray(accuracy, dtype=np.float64)
    met = int((values < threshold).sum())
    if len(values) < MINIMUM:
        return Forgetting.OPEN, met
    low, high = clopper_pearson(met, len(values), level=0.9)
    verdict = Forgetting.FORGOTTEN if low > MOST else Forgetting.REMEMBERED if high < MOST else Forgetting.OPEN
    return verdict, met


def accuracy_kept(differences: ArrayLike, margin: float, images: int) -> Accuracy:
    """Whether accuracy is within `margin` of retraining's: a test of non-inferiority.

    Args:
        differences: f64[n], accuracy minus retraining's, seed by seed.
        images: test images, the same for all seeds: the standard error is never below that of one.
    """
    values = np.asarray(differences, dtype=np.float64)
    floor = 1 / images if images else 0.0
    if len(values) < MINIMUM:
        return Accuracy.OPEN
    if _above(values + margin, floor):
        return Accuracy.KEPT
    return Accuracy.BELOW if _above(-margin - values, floor) else Accuracy.OPEN


def beside_retraining(differences: ArrayLike, margin: float, floor: float = 0.0) -> Beside:
    """Whether a leak is within `margin` of retraining's: a test of non-inferiority; and if not, whether it is worse.

    Args:
        differences: f64[n], the method's advantage minus that under retraining, seed by seed.
        floor: least standard error.
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
        floor: least standard error of the mean: equal values in all seeds are not certain, an image is the least that
            could have been otherwise.
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
    """Mean and Student's 95 % interval, with a standard error of `floor` at least."""
    mean, low, high = student_t(values)
    if low is None or high is None:
        return mean, None, None
    n = len(np.asarray(values))
    half = max((high - low) / 2, floor * float(special.stdtrit(n - 1, 0.975)))
    return mean, mean - half, mean + half
