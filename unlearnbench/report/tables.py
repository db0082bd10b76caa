"""A leaderboard as plain tables of text: which columns, how numbers look, what the legend says.

The formats only draw these. Names and errors come from records that others wrote, so all text is made harmless for
a terminal here (`plain`); each format then escapes what is special to it (escaping.py).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unlearnbench.metrics.catalog import METRICS, Metric, shown_in
from unlearnbench.metrics.intervals import MINIMUM
from unlearnbench.report import wording
from unlearnbench.settings.protocols import measured_under
from unlearnbench.settings.scenario import Judging
from unlearnbench.system.errors import InputError, suggest
from unlearnbench.system.escaping import plain

if TYPE_CHECKING:
    import pandas as pd

NOTHING = "\u2013"  # an en dash: no value, no rank

_SETTING = (
    "suite",
    "experiment",
    "dataset",
    "dataset_params",
    "dataset_id",
    "scenario_id",
    "scenario",
    "protocol_version",
    "attack",
    "attack_params",
    "attack_id",
    "tier",
    "observation",
    "n_shadows",
)
_STATE = (
    "method_id", "status", "note", "n_seeds", "failed_seeds", "rank", "rank_metric", "near_best", "reference",
    "verdict", "forgot_seeds", "judged_seeds", "utility", "beside_retrain", "power", "power_for", "rates_note",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """One table: contenders that are compared, as rows of text without control characters.

    Attributes:
        title: the setting they share.
        headers: short column names; the columns up to that of the method's name are repeated where a table is broken.
        rows: as many texts each.
        legend: what the headers mean, one metric a line.
        notes: what failed and other warnings, one contender a line.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    legend: tuple[str, ...]
    notes: tuple[str, ...]
    name: int = 1  # number of the column of the method's name


def tables(frame: pd.DataFrame, metrics: Sequence[str] | None = None, sort: str | None = None) -> list[Table]:
    """The tables of a leaderboard: one for each experiment, dataset, scenario and attack (with its tier and shadows).

    What was measured under several protocols stands in several tables, those of the newest first.

    Args:
        frame: a leaderboard as `leaderboard.read` gives it.
        metrics: what to show; None picks what matters for each table.
        sort: the column to order contenders by, best first, or ``COLUMN:asc`` or ``COLUMN:desc``; None for the rank.

    Raises:
        InputError: a metric or column that the leaderboard does not have.
    """
    check_metrics(frame, metrics)
    order = None if sort is None else sort_order(frame, sort)
    several_suites = frame["suite"].nunique() > 1
    wanted = {*(metric.name for metric in shown_in("attacked", "beside", "unattacked")), *(metrics or ())}
    ends = ("", "_low", "_high", "_gap_retrain", "_gap_retrain_low", "_gap_retrain_high", "_gap_trivial")
    needed = {*_SETTING, *_STATE, *(order or ())[:1], *(f"{name}{end}" for name in wanted for end in ends)}
    # Few columns of one dtype: a hundred columns of nullable dtypes make each small table slow.
    narrow = frame[[column for column in frame.columns if column in needed]].astype(object)
    parts = narrow.groupby(list(_SETTING), sort=False, dropna=False)
    return [_table(part, metrics, order, several_suites) for _, part in parts]


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A leaderboard's rows with None for null."""
    found = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in found]


def check_metrics(frame: pd.DataFrame, metrics: Sequence[str] | None) -> None:
    """Raises InputError if the leaderboard has not all of these."""
    for name in metrics or ():
        if name not in METRICS or name not in frame:
            raise InputError("metrics", f"no '{name}' here{suggest(name, [m for m in METRICS if m in frame])}")


def sort_order(frame: pd.DataFrame, sort: str) -> tuple[str, bool]:
    """``COLUMN[:asc|desc]`` as a column of the leaderboard and whether it ascends: unless said, the best come first.

    Raises:
        InputError: the leaderboard has no such column, or the direction is another.
    """
    column, colon, way = sort.partition(":")
    if column not in frame:
        raise InputError("sort", f"no column '{column}' here{suggest(column, map(str, frame.columns))}")
    if colon and way not in ("asc", "desc"):
        raise InputError("sort", f"'{way}' is no direction; write {column}:asc or {column}:desc")
    metric = METRICS.get(column)
    return column, way == "asc" if colon else metric is None or metric.better == "lower"


def format_value(value: Any, unit: str = "") -> str:
    """A number with four significant digits (counts whole), an en dash for null."""
    if missing(value):
        return NOTHING
    if unit in ("steps", "images") and float(value).is_integer():
        return f"{float(value):.0f}"
    return f"{float(value):.4g}"


def format_interval(value: Any, low: Any, high: Any, unit: str = "") -> str:
    """``0.0312 ± 0.0021``, or ``0.0312 [0.029, 0.034]`` if the interval is not symmetric: two digits of its width."""
    if missing(value) or missing(low) or missing(high):
        return format_value(value, unit)
    value, low, high = float(value), float(low), float(high)
    below, above = value - low, high - value
    widest = max(below, above)
    if widest <= 1e-9 * abs(value):  # equal but for rounding
        return f"{format_value(value, unit)} ± 0"
    digits = max(0, 1 - math.floor(math.log10(widest)))
    value, low, high = (round(each, digits) + 0.0 for each in (value, low, high))  # no "-0"
    if abs(above - below) < 0.01 * widest:
        return f"{value:.{digits}f} ± {widest:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


# --- one table -------------------------------------------------------------------------------------------------------


def _table(
    part: pd.DataFrame, metrics: Sequence[str] | None, order: tuple[str, bool] | None, with_suite: bool
) -> Table:
    part = _ordered(part, order)
    attacked = bool(part["attack"].notna().any())
    shown = [METRICS[name] for name in _chosen(part, metrics, attacked)]
    several = sum(isinstance(metric.trivial, str) for metric in shown) > 1
    headers, columns = ["#", "method"], [_ranks(part), [plain(name) for name in part["method_id"]]]
    records = rows_of(part)
    headers += ["forgot", "utility"]
    columns += [[wording.forgetting(row) for row in records], [wording.accuracy(row) for row in records]]
    if part["beside_retrain"].notna().any():
        headers.append("vs retrain")
        columns.append([NOTHING if missing(value) else str(value) for value in part["beside_retrain"]])
    for metric in shown:
        for header, column in _metric_columns(part, metric, several):
            headers.append(header)
            columns.append(column)
    rows = tuple(zip(*columns, strict=True))
    return Table(_title(part, with_suite), tuple(headers), rows, _legend(part, shown, headers), _notes(part))


def _ordered(part: pd.DataFrame, order: tuple[str, bool] | None) -> pd.DataFrame:
    if order is not None:
        return part.sort_values([order[0], "method_id"], ascending=[order[1], True], na_position="last")
    ranked_by = part["rank_metric"].dropna()
    last = part["rank"].isna() & part["reference"].astype("boolean").fillna(False).astype(bool)
    by, ascending_by = ["rank", "last"], [True, True]
    if len(ranked_by):
        metric = METRICS[ranked_by.iloc[0]]
        by.append(metric.name)
        ascending_by.append(metric.better == "lower")
    ordered = (
        part.copy()
        .assign(last=last)
        .sort_values([*by, "method_id"], ascending=[*ascending_by, True], na_position="last")
    )
    return ordered.drop(columns="last")


def _chosen(part: pd.DataFrame, metrics: Sequence[str] | None, attacked: bool) -> list[str]:
    usual = [*shown_in("attacked"), *shown_in("beside")] if attacked else shown_in("unattacked")
    wanted = [metric.name for metric in usual] if metrics is None else metrics
    return [name for name in wanted if name in part and part[name].notna().any()]


def _metric_columns(part: pd.DataFrame, metric: Metric, several: bool) -> list[tuple[str, list[str]]]:
    name = metric.name
    values = zip(part[name], part[f"{name}_low"], part[f"{name}_high"], strict=True)
    columns = [(metric.header, [format_interval(*value, metric.unit) for value in values])]
    if metric.good != "privacy":
        return columns
    gap = f"{name}_gap_retrain"
    if part[gap].notna().any():
        gaps = zip(part[gap], part[f"{gap}_low"], part[f"{gap}_high"], strict=True)
        columns.append((f"Δ{metric.header}", [format_interval(*each) for each in gaps]))
    if isinstance(metric.trivial, str) and part[f"{name}_gap_trivial"].notna().any():
        trivial = part[name] - part[f"{name}_gap_trivial"]
        columns.append((f"triv.{metric.header}" if several else "trivial", [format_value(value) for value in trivial]))
    return columns


def _ranks(part: pd.DataFrame) -> list[str]:
    """Places; ≈ behind those that can't be told from the best."""
    marked = [not missing(near) and bool(near) for near in part["near_best"]]
    mark = "≈" if sum(marked) > 1 else ""  # alone the best is told from all others
    pairs = zip(part["rank"], marked, strict=True)
    return [NOTHING if missing(rank) else f"{int(rank)}{mark if near else ''}" for rank, near in pairs]


def _title(part: pd.DataFrame, with_suite: bool) -> str:
    first = part.iloc[0]
    names = [first[key] for key in ("experiment", "dataset_id", "scenario_id")]
    parts = [first["suite"], *names] if with_suite else names
    if not missing(first["attack"]):
        parts.append(first["attack"] if missing(first["attack_id"]) else first["attack_id"])
        parts += [f"{key} {first[key]}" for key in ("tier", "observation") if not missing(first[key])]
        if not missing(first["n_shadows"]):
            parts.append(f"{int(first['n_shadows'])} shadows")
    if protocol := measured_under(first["protocol_version"]):
        parts.append(protocol)
    return " / ".join(plain(part) for part in parts)


def _legend(part: pd.DataFrame, shown: list[Metric], headers: list[str]) -> tuple[str, ...]:
    seeds = sorted(set(part.loc[part["n_seeds"] > 0, "n_seeds"]))
    counts = " to ".join(str(n) for n in (seeds if len(seeds) < 2 else (seeds[0], seeds[-1])))
    lines = [f"mean ± 95 % interval over {counts} seed{'' if counts == '1' else 's'}"] if seeds else []
    for metric in shown:
        trivial = f"; trivial attacker {metric.trivial:g}" if isinstance(metric.trivial, float) else ""
        lines.append(f"{metric.header}: {metric.description} ({metric.direction}{trivial})")
    if any(header.startswith("Δ") for header in headers):
        lines.append("Δ: minus retrain, seed by seed")
    if any(header.startswith("triv") for header in headers):
        lines.append("trivial: what an attacker gets who sees no model output")
    lines += [f"not given: {plain(note)}" for note in dict.fromkeys(part["rates_note"].dropna())]
    if seeds and max(seeds) < MINIMUM:
        lines.append(f"fewer than {MINIMUM} seeds: no intervals, no verdicts, no ranks")
    return (*lines, *_rank_legend(part))


def _declared_power(part: pd.DataFrame) -> float:
    """With which power the suite wants a table to tell a difference of its margin."""
    judging = json.loads(part.iloc[0]["scenario"]).get("judging") or {}
    return float(judging.get("power", Judging().power))


def _rank_legend(part: pd.DataFrame) -> list[str]:
    ranked_by = part["rank_metric"].dropna()
    if not len(ranked_by):
        return [f"#: {NOTHING} nothing here that erased images could be ranked by"]
    lines = [
        f"#: place by the mean of {ranked_by.iloc[0]}, of those that forgot and kept accuracy; ≈ not told from the"
        f" best; {NOTHING} not ranked"
    ]
    if part["beside_retrain"].notna().any():
        least = part["power_for"].dropna()
        lines.append(f"vs retrain: whether the advantage is within {least.iloc[0]:g} of that on retraining")
    power = part["power"].dropna()
    if len(power):
        lines.append(
            f"power: a difference of {part['power_for'].dropna().iloc[0]:g} to the best is told with probability"
            f" {power.iloc[0]:.2f} (declared: {_declared_power(part):g})"
        )
    return lines


def _notes(part: pd.DataFrame) -> tuple[str, ...]:
    notes = []
    for method, status, failed, note in zip(
        part["method_id"], part["status"], part["failed_seeds"], part["note"], strict=True
    ):
        what = [] if status == "ok" else [f"{failed} seeds failed" if status == "partial" else str(status)]
        if not missing(note):
            what.append(str(note))
        if what:
            notes.append(plain(f"{method}: {'; '.join(what)}"))
    return tuple(notes)


def missing(value: Any) -> bool:
    """Whether a leaderboard has no value there."""
    import pandas as pd

    return bool(pd.isna(value))
