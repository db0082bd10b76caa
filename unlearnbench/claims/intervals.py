"""Intervals of claims and of the tables beside a paper, computed in one place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from unlearnbench.metrics.catalog import METRICS
from unlearnbench.metrics.intervals import student_t

Form = Literal["value", "difference", "ratio"]


def interval(values: Sequence[float], form: Form, metric: str) -> tuple[float, float | None, float | None]:
    """Mean of one number per seed and Student's 95 % interval, cut to the quantity's range.

    Args:
        values: one number per seed; for a ratio its logarithm.
        form: how each number is formed.
        metric: of the values behind the numbers. Shares lie in [0, 1], their differences in [-1, 1].

    Returns:
        Mean, low and high; low and high are None for fewer than three seeds.
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
