"""A leaderboard as tables of text: which rows and columns, titles, legends and notes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unlearnbench.leaderboard.contenders import TABLE_COLUMNS
from unlearnbench.metrics.catalog import METRICS, Metric, shown_in
from unlearnbench.metrics.intervals import MINIMUM
from unlearnbench.report import wording
from unlearnbench.report.rows import missing, rows_of
from unlearnbench.report.summary import results
from unlearnbench.report.text_tables import NOTHING, Table, format_interval, format_value
from unlearnbench.settings.protocols import measured_under
from unlearnbench.settings.scenario import Judging
from unlearnbench.system.errors import InputError, suggest
from unlearnbench.system.escaping import plain

if TYPE_CHECKING:
    import pandas as pd

_STATE = (
    "method_id", "status", "note", "n_seeds", "failed_seeds", "rank", "rank_metric", "near_best", "reference",
    "verdict", "forgot_seeds", "judged_seeds", "utility", "beside_retrain", "power", "power_for", "rates_note",
)  # fmt: skip


def tables(frame: pd.DataFrame, metrics: Sequence[str] | None = None, sort: str | None = None) -> list[Table]:
    """The tables of a leaderboard: one for each experiment, dataset, scenario and attack (with its tier and shadows).

    Results of different protocols stand in different tables, those of the newest protocol first.

    Args:
        frame: a leaderboard as `leaderboard.read` gives it.
        metrics: metrics to show; None chooses those that matter for each table.
        sort: the column that orders contenders, best first, or ``COLUMN:asc`` or ``COLUMN:desc``; None: the rank.

    Raises:
        InputError: the leaderboard lacks a metric or column.
    """
    check_metrics(frame, metrics)
    order = None if sort is None else sort_order(frame, sort)
    several_suites = frame["suite"].nunique() > 1
    wanted = {*(metric.name for metric in shown_in("attacked", "beside", "unattacked")), *(metrics or ())}
    ends = ("", "_low", "_high", "_gap_retrain", "_gap_retrain_low", "_gap_retrain_high", "_gap_trivial")
    needed = {*TABLE_COLUMNS, *_STATE, *(order or ())[:1], *(f"{name}{end}" for name in wanted for end in ends)}
    # Few columns of one dtype: a hundred columns of nullable dtypes make each small table slow.
    narrow = frame[[column for column in frame.columns if column in needed]].astype(object)
    parts = narrow.groupby(list(TABLE_COLUMNS), sort=False, dropna=False)
    return [_table(part, metrics, order, several_suites) for _, part in parts]


def with_results(frame: pd.DataFrame, metrics: Sequence[str] | None = None, sort: str | None = None) -> list[Table]:
    """The same tables after the results in words, which are left out if metrics or an order are chosen."""
    return [*(results(frame) if metrics is None and sort is None else []), *tables(frame, metrics, sort)]


def check_metrics(frame: pd.DataFrame, metrics: Sequence[str] | None) -> None:
    """Raises InputError if the leaderboard lacks one of these."""
    for name in metrics or ():
        if name not in METRICS or name not in frame:
            raise InputError("metrics", f"no '{name}' here{suggest(name, [m for m in METRICS if m in frame])}")


def sort_order(frame: pd.DataFrame, sort: str) -> tuple[str, bool]:
    """``COLUMN[:asc|desc]`` as a column and whether it ascends; without a direction the best come first.

    Raises:
        InputError: there is no such column or direction.
    """
    column, colon, way = sort.partition(":")
    if column not in frame:
        raise InputError("sort", f"no column '{column}' here{suggest(column, map(str, frame.columns))}")
    if colon and way not in ("asc", "desc"):
        raise InputError("sort", f"'{way}' is not a direction; write {column}:asc or {column}:desc")
    metric = METRICS.get(column)
    return column, way == "asc" if colon else metric is None or metric.better == "lower"


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
    if len(ranked_by) and ranked_by.iloc[0] in part:  # nobody has a value where every cell has failed
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
    """Places; ≈ marks those that cannot be distinguished from the best."""
    marked = [not missing(near) and bool(near) for near in part["near_best"]]
    mark = "≈" if sum(marked) > 1 else ""  # a single mark would mean that the best differs from all others
    pairs = zip(part["rank"], marked, strict=True)
    return [NOTHING if missing(rank) else f"{int(rank)}{mark if near else ''}" for rank, near in pairs]


def _title(part: pd.DataFrame, with_suite: bool) -> str:
    first = part.iloc[0]
    parts = [first["suite"]] if with_suite else []
    parts += [wording.in_words(first["experiment"]), first["dataset_id"], wording.in_words(first["scenario_id"])]
    if not missing(first["attack"]):
        parts.append(wording.in_words(first["attack"] if missing(first["attack_id"]) else first["attack_id"]))
        observed = {"tier": "tier", "observation": "observes"}
        parts += [f"{word} {wording.in_words(first[key])}" for key, word in observed.items() if not missing(first[key])]
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
    """The power that the suite asks for, to detect a difference as large as the margin."""
    judging = json.loads(part.iloc[0]["scenario"]).get("judging") or {}
    return float(judging.get("power", Judging().power))


def _rank_legend(part: pd.DataFrame) -> list[str]:
    ranked_by = part["rank_metric"].dropna()
    if not len(ranked_by):
        return [f"#: {NOTHING} no metric here that methods could be ranked by"]
    lines = [
        f"#: place by the mean of {ranked_by.iloc[0]}, among those that forgot and kept accuracy; ≈ not distinguishable"
        f" from the best; {NOTHING} not ranked"
    ]
    if part["beside_retrain"].notna().any():
        least = part["power_for"].dropna()
        lines.append(f"vs retrain: whether the advantage is within {least.iloc[0]:g} of that on retraining")
    power = part["power"].dropna()
    if len(power):
        lines.append(
            f"power: a difference of {part['power_for'].dropna().iloc[0]:g} to the best is detected with probability"
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
