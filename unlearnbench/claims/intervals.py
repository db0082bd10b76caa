"""The one place where claims and tables beside a paper get their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from unlearnbench.metrics.catalog import METRICS
from unlearnbench.metrics.intervals import student_t

Form = Literal["value", "difference", "ratio"]


def interval(values: Sequence[float], form: Form, metric: str) -> tuple[float, float | None, float | None]:
    """Mean of one number a seed and Student's 95 % interval, cut to what the quantity can be.

    Args:
        values: one number a seed; of a ratio its logarithm.
        form: what each number is made of.
        metric: of the values behind it. Shares lie in [0, 1], their differences in [-1, 1].

    Returns:
        Mean, low and high; the latter are None for fewer than three seeds.
    """
    mean, low, high = student_t(values)
    if low is None or high is None:
        return mean, None, None
    least, most = _range(form, metric)
    return mean, max(low, least), min(high, most)


def _range(form: Form, metric: str) -> tuple[float, float]:
    if form == "ratio" or metric not in METRICS or METRICS[metric].unit != "share":
        return -math.inf, math.inf
    return (0.0, 1.0) if form == "value" else (-1.0, 1.0)
