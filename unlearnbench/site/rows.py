"""A leaderboard's rows for the site: with their setting, their findings and the number of places in their table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unlearnbench.leaderboard.contenders import TABLE_COLUMNS
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.report.findings import findings
from unlearnbench.report.rows import rows_of
from unlearnbench.site.scenario_facts import facts_of
from unlearnbench.system.escaping import plain

if TYPE_CHECKING:
    import pandas as pd

BoardRow = Mapping[str, Any]
"""A leaderboard's row with None for null, and the values that `site_rows` adds."""


def site_rows(board: pd.DataFrame, source: str, part: str) -> list[dict[str, Any]]:
    """A leaderboard's rows with None for null, and what the site adds.

    That is where a row comes from, its setting, its findings, and how many rows of its table have a place or cannot be
    distinguished from the best.

    Raises:
        InputError: a method that erases nothing is shown to leak.
    """
    rows = rows_of(board)
    shown = {id(row): own for row, own in findings(rows)}
    table = [tuple(row[key] for key in TABLE_COLUMNS) for row in rows]
    near = Counter(key for key, row in zip(table, rows, strict=True) if row["near_best"])
    of = Counter(key for key, row in zip(table, rows, strict=True) if row["rank"] is not None)
    for key, row in zip(table, rows, strict=True):
        setting = facts_of(row["scenario"])
        row |= {"source": source, "part": part, "beta": setting.beta, "edr": setting.ratio, "erased": setting.erased}
        row |= {"beta_text": setting.beta_text, "near": near[key], "of": of[key], "table": (part, *key)}
        row["findings"] = shown.get(id(row), [])
    places = {key: place for place, key in enumerate(dict.fromkeys(table))}
    order = sorted(range(len(rows)), key=lambda number: (places[table[number]], *_standing(rows[number])))
    return [rows[number] for number in order]


def _standing(row: BoardRow) -> tuple[bool, float, bool, bool, float]:
    """The sort key within a table: place, contenders before references, the mean of the ranking metric."""
    rank, metric = row["rank"], METRICS.get(row["rank_metric"] or "")
    value = None if metric is None else row.get(metric.name)
    sign = -1.0 if metric is not None and metric.better == "higher" else 1.0
    reference = row["reference"] is True
    return rank is None, float(rank or 0), reference, value is None, sign * float(value or 0)


def filters_of(row: BoardRow) -> dict[str, str]:
    """A row's value for each dimension."""
    values = {
        "dataset": row["dataset_id"], "method": row["method"], "attack": row["attack_id"], "tier": row["tier"],
        "observes": row["observation"], "beta": row["beta_text"], "edr": row["erased"],
    }  # fmt: skip
    return {name: plain(value) for name, value in values.items() if value}
