"""A table of text, and the format of numbers in it; the output formats only render it.

Names and errors come from records that others wrote, so all text is made harmless for a terminal before it enters a
table (`plain`); each output format then escapes what is special to it (escaping.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from unlearnbench.report.rows import LeaderboardRow, missing

NOTHING = "\u2013"  # an en dash: no value, no rank
MOST_DECIMALS = 9  # beyond, as for p-values, numbers are written as 1e-12


@dataclass(frozen=True)
class Table:
    """One table: compared contenders as rows of text without control characters.

    Attributes:
        title: the setting they share.
        headers: short column names; where a table is split, the columns up to the method's name are repeated.
        rows: one text per header.
        legend: what the headers mean, one metric per line.
        notes: failures and other warnings, one contender per line.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    legend: tuple[str, ...]
    notes: tuple[str, ...]
    name: int = 1  # index of the column with the method's name


def format_value(value: Any, unit: str = "") -> str:
    """A number with four significant digits (counts without decimals), an en dash for null."""
    if missing(value):
        return NOTHING
    if unit in ("steps", "images") and float(value).is_integer():
        return f"{float(value):.0f}"
    return f"{float(value):.4g}"


def format_interval(value: Any, low: Any, high: Any, unit: str = "") -> str:
    """``0.0312 ± 0.0021``, or ``0.0312 [0.029, 0.034]`` if the interval is asymmetric: two digits of its width."""
    if missing(value) or missing(low) or missing(high):
        return format_value(value, unit)
    value, low, high = float(value), float(low), float(high)
    below, above = value - low, high - value
    widest = max(below, above)
    if widest <= 1e-9 * abs(value):  # equal up to rounding
        return f"{format_value(value, unit)} ± 0"
    digits = max(0, 1 - math.floor(math.log10(widest)))
    value, low, high = (round(each, digits) + 0.0 for each in (value, low, high))  # no "-0"
    shape = f".{digits}f" if digits <= MOST_DECIMALS else ".2g"
    if abs(above - below) < 0.01 * widest:
        return f"{value:{shape}} ± {widest:{shape}}"
    return f"{value:{shape}} [{low:{shape}}, {high:{shape}}]"


def format_column(row: LeaderboardRow, name: str, unit: str = "") -> str:
    """A row's value of a column, with its interval."""
    return format_interval(row.get(name), row.get(f"{name}_low"), row.get(f"{name}_high"), unit)
