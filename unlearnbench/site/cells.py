"""Cells of the site's tables: a number with its interval in words, or why there is none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from unlearnbench.metrics.catalog import Metric
from unlearnbench.report.text_tables import NOTHING, format_column, format_interval, format_value
from unlearnbench.site.rows import BoardRow
from unlearnbench.system.escaping import plain

MINUS = "\u2212"
"""The minus sign, which is as wide as a plus and is read aloud as a minus."""


@dataclass(frozen=True)
class TableCell:
    """One cell of a table.

    Attributes:
        text: the visible text.
        value: the sort key; None sorts last.
        details: the same in full sentences, shown on hover or focus and read by screen readers.
        state: ``null`` without a value, ``leak`` where a leak is shown, otherwise empty.
        link: the path of the page about it, from the site's root.
    """

    text: str
    value: float | str | None = None
    details: tuple[str, ...] = ()
    state: str = ""
    link: str = ""


def named(text: str, link: str = "") -> TableCell:
    """A cell of text."""
    return TableCell(plain(text), plain(text), link=link)


def empty(reason: str) -> TableCell:
    """A cell without a value, with the reason."""
    return TableCell(NOTHING, None, (plain(reason),), "null")


def measured(row: BoardRow, metric: Metric) -> TableCell:
    """A metric's mean over seeds."""
    name = metric.name
    if row.get(name) is None:
        return empty(_why_not(row, metric))
    mean, low, high, n = row[name], *(row.get(f"{name}{end}") for end in ("_low", "_high", "_n"))
    unit = "" if metric.unit in ("share", "-1 to 1") else f" {metric.unit}"
    details = [f"{metric.description}: mean {format_value(mean)}{unit}", _interval(low, high), _seeds(n)]
    return TableCell(minus(format_column(row, metric.name, metric.unit)), float(mean), tuple(map(minus, details)))


def to_retraining(row: BoardRow, metric: Metric) -> TableCell:
    """Difference to the same attack on retraining; `leak` where a leak beyond it is shown (report/findings.py)."""
    gap, low, high = (row.get(f"{metric.name}_gap_retrain{end}") for end in ("", "_low", "_high"))
    if gap is None:
        if row.get(metric.name) is None:
            return empty(_why_not(row, metric))
        if row["method_id"] == "retrain":
            return empty("retraining itself: what the others are compared with")
        return empty("no retraining with as many shadows in this setting")
    shown = next((each for each in row["findings"] if each.metric.name == metric.name and each.leaks), None)
    details = [f"minus the same attack on retraining, seed by seed: mean {format_value(gap)}", _interval(low, high)]
    if shown is not None:
        details.append(f"shown to leak: betrays more than retraining does, {p_value(shown.p)}")
    state = "" if shown is None else "leak"
    return TableCell(_signed(format_interval(gap, low, high)), float(gap), tuple(map(minus, details)), state)


def to_trivial(row: BoardRow, metric: Metric) -> TableCell:
    """Difference to the attacker who looks at no output."""
    gap = row.get(f"{metric.name}_gap_trivial")
    if gap is None:
        if row.get(metric.name) is None:
            return empty(_why_not(row, metric))
        return empty(
            "this metric has no trivial attacker" if metric.trivial is None else "trivial attacker not measured"
        )
    details = (
        f"minus the attacker who looks at no output, who gets {format_value(row[metric.name] - gap)}:"
        f" mean {format_value(gap)}",
    )
    return TableCell(
        _signed(f"{gap:.3f}" if abs(gap) >= 5e-4 else format_value(gap)), float(gap), tuple(map(minus, details))
    )


def seeds(row: BoardRow) -> TableCell:
    """The number of seeds with results, and what went wrong in others."""
    count, failed = int(row["n_seeds"]), int(row["failed_seeds"])
    details = [f"{count} seed{'' if count == 1 else 's'} with results"]
    if failed:
        details.append(f"{failed} without")
    if row.get("note"):
        details.append(plain(row["note"]))
    return TableCell(f"{count}{f' ({failed} failed)' if failed else ''}", float(count), tuple(details))


def state_of(row: BoardRow) -> str:
    """Why a contender has no results, in words; empty if it has some."""
    if row["status"] in ("ok", "partial"):
        return ""
    note = f": {row['note']}" if row.get("note") else ""
    return plain(f"{row['status']}{note}")


def _why_not(row: BoardRow, metric: Metric) -> str:
    if state := state_of(row):
        return state
    if metric.rate is not None and metric.rate.of == "tpr" and row.get("auc") is not None:
        return "not given: too few never-seen images for so few false alarms"
    if metric.is_time:
        return "not measured: times are measured in cells of their own, and never averaged over kinds of machines"
    return "not measured"


def p_value(p: float | None) -> str:
    """The p-value of a finding, in words."""
    shown = "none" if p is None else "< 0.001" if p < 0.001 else f"= {p:.2g}"
    return f"p {shown}, adjusted for all tests of the method in its setting"


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "no interval: fewer than three seeds"
    return f"95 % interval {format_value(low)} to {format_value(high)}"


def _seeds(n: Any) -> str:
    return "" if n is None else f"n = {int(n)} seed{'' if n == 1 else 's'}"


def _signed(text: str) -> str:
    return minus(text if text.startswith("-") else f"+{text}")


def minus(text: str) -> str:
    """The text with minus signs before numbers instead of hyphens."""
    return re.sub(r"(^|[ \[])-", rf"\1{MINUS}", text)
