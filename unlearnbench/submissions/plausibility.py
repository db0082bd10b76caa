"""What a run could have recorded: rules on the rows of a cell beyond the schema; a broken one is reported in one line.

Records that pass can be reported: no number is so large that sums or squares become infinite, no text controls a
terminal, no setting has another type than the one that readers of records expect.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from unlearnbench.metrics.catalog import METRICS
from unlearnbench.records.schema import JSON_COLUMNS, SCHEMA, SCORES
from unlearnbench.registry.base import PLUGIN_NAME
from unlearnbench.settings.scenario import Scenario
from unlearnbench.settings.validation import wrong_in_part
from unlearnbench.suite.suite import NAME_CHARACTERS
from unlearnbench.system.escaping import commands, one_line

MEASURED = ("metric", "step", "value", "low", "high", "n_samples", "direction", *SCORES)
"""Columns that differ within a cell."""

_VALUES = ("step", "value", "low", "high", "n_samples", *SCORES)

_HASH = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_YEARS = 1e9  # seconds of thirty years
_LARGEST = {
    "n_shadows": 10**9, "peak_bytes": 2**60, "seed": 10**6, "step": 10**12, "n_samples": 10**12,
    "protocol_version": 1_000, "train_seconds": _YEARS, "unlearn_seconds": _YEARS, "attack_seconds": _YEARS,
}  # fmt: skip
"""Far beyond what a run can record, and far below what a number can hold."""

_EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)  # unlearnbench did not exist
_CLOCKS = timedelta(days=1)  # how far apart clocks may be, wrong time zones included
_DEEPEST = 16  # levels of nesting in a setting; suites use four
_LARGEST_INTEGER = 2**63  # as in suites
_LARGEST_FLOAT = 1e100  # whose square is a number
_ATTACK = ("attack", "attack_params", "attack_id")
_ROUNDING = 1e-6  # a share of float32 numbers may exceed 1 by this much


def contradiction(rows: Sequence[Mapping[str, Any]], key: str, failed: bool) -> str | None:
    """What is impossible in a cell's rows, or None.

    Args:
        rows: as `writing.check` returns them.
        key: from the file's name.
        failed: whether the file's name says that the cell failed.
    """
    first = rows[0]
    for column in SCHEMA.names:
        if column not in MEASURED and any(row[column] != first[column] for row in rows):
            return f"column '{column}' differs between the rows of one cell"
    if first["cell_key"] != key:
        return f"the record of another cell: its key is {one_line(first['cell_key'], 64)}"
    if failed != (first["status"] in ("failed", "timeout")):
        return f"status '{first['status']}' does not go with the file's name"
    wrong = _texts(first) or _names(first) or _numbers(first) or _dates(first) or _settings(first)
    if wrong is not None:
        return wrong
    if first["status"] == "not_run" or (first["status"] != "ok" and len(rows) > 1):
        return f"status '{first['status']}' with {len(rows)} rows"
    return next((wrong for row in rows if (wrong := _measurement(row)) is not None), None)


def _texts(first: Mapping[str, Any]) -> str | None:
    for column, value in first.items():
        if isinstance(value, str) and commands(value):
            return f"column '{column}' holds control characters ({one_line(value, 60)})"
    return None


def _names(first: Mapping[str, Any]) -> str | None:
    for column in ("suite", "experiment"):
        name = first[column]
        if not name or len(name) > 80 or not set(name) <= NAME_CHARACTERS:
            return f"column '{column}': '{one_line(name, 60)}' is not the name of one"
    for column in ("dataset", "method", "attack"):
        if first[column] is not None and not PLUGIN_NAME.fullmatch(first[column]):
            return f"column '{column}': '{one_line(first[column], 60)}' is not the name of one"
    if len({first[column] is None for column in _ATTACK}) > 1:
        return "only some of the columns 'attack', 'attack_params' and 'attack_id' are null"
    for column in ("method", "attack"):
        name, full = first[column], first[f"{column}_id"]
        if name is not None and full != name and not full.startswith(f"{name}["):
            return f"column '{column}_id': '{one_line(full, 60)}' is not an id of {column} '{name}'"
    ranked = [name for name in (first["ranked_by"] or "").split(",") if name]
    if (first["attack"] is None and first["ranked_by"] is not None) or any(name not in METRICS for name in ranked):
        return f"column 'ranked_by': '{one_line(first['ranked_by'], 60)}' is not a list of an attack's metrics"
    # A cell whose plugins failed when they were asked has no data hash, and an installed plugin may have no file.
    hashes = [*first["plugin_sha256"].split("+"), first["data_sha256"]]
    if any(text and not _HASH.fullmatch(text) for text in hashes):
        return "column 'plugin_sha256' or 'data_sha256' holds something other than a SHA-256"
    if first["git_sha"] is not None and not _COMMIT.fullmatch(first["git_sha"]):
        return f"column 'git_sha': '{one_line(first['git_sha'], 60)}' is not a commit"
    return None


def _numbers(row: Mapping[str, Any]) -> str | None:
    for column, largest in _LARGEST.items():
        if column in row and row[column] is not None and not 0 <= row[column] <= largest:
            return f"column '{column}' is {row[column]}; it lies between 0 and {largest:.0f}"
    return None


def _dates(first: Mapping[str, Any]) -> str | None:
    """Dates decide nothing, but a wrong one misleads its reader."""
    started = first["started_at"]
    if started < _EARLIEST:
        return f"column 'started_at' is {started:%Y-%m-%d}, before there was unlearnbench"
    if started > datetime.now(UTC) + _CLOCKS:
        return f"column 'started_at' is {started:%Y-%m-%d}, which is yet to come by this machine's clock"
    return None


def _settings(first: Mapping[str, Any]) -> str | None:
    settings = {column: json.loads(first[column]) for column in JSON_COLUMNS if first[column] is not None}
    for column, values in settings.items():
        if (wrong := _setting(values, _DEEPEST)) is not None:
            return f"column '{column}' holds {wrong}"
    if any(type(size) is not int or not 0 <= size <= _LARGEST["n_samples"] for size in settings["sizes"].values()):
        return "column 'sizes' holds something other than numbers of images"
    if not all(isinstance(version, str) for version in settings["versions"].values()):
        return "column 'versions' holds something other than versions"
    if (wrong := wrong_in_part(Scenario, settings["scenario"])) is not None:
        return f"column 'scenario': {wrong}"
    return None


def _setting(value: Any, depth: int) -> str | None:
    """What a JSON value holds that no suite can hold, or None."""
    if isinstance(value, str):  # JSON may escape characters, so that the column's text alone does not show them
        return f"control characters ({one_line(value, 60)})" if commands(value) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        most = _LARGEST_INTEGER if isinstance(value, int) else _LARGEST_FLOAT
        return None if abs(value) < most else "a number too large for any setting"
    if not isinstance(value, dict | list):
        return None
    if depth == 0:
        return f"parts within parts, over {_DEEPEST} deep"
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    return next((wrong for each in parts if (wrong := _setting(each, depth - 1)) is not None), None)


def _measurement(row: Mapping[str, Any]) -> str | None:
    metric = METRICS.get(row["metric"])
    if row["status"] != "ok":
        if row["metric"] != "status" or row["direction"] != "":
            return f"a cell that is not ok has a metric '{one_line(row['metric'], 60)}'"
        return next(
            (f"a cell that is not ok has a number in '{name}'" for name in _VALUES if row[name] is not None), None
        )
    assert metric is not None  # the schema's check accepts known metrics only
    if row["direction"] != metric.direction:
        return f"direction of '{metric.name}' is '{one_line(row['direction'], 60)}', not '{metric.direction}'"
    if (wrong := _numbers(row)) is not None:
        return f"'{metric.name}': {wrong}"
    if row["low"] is not None and row["high"] is not None and row["low"] > row["high"]:
        return f"'{metric.name}' with an interval from {row['low']} to {row['high']}"
    scores = [row[column] for column in SCORES if row[column] is not None]
    if scores and (row["attack"] is None or len(scores) < len(SCORES)):
        return f"'{metric.name}' with scores of one side only, or without an attack"
    if scores and row["n_samples"] not in (None, sum(map(len, scores))):
        return f"'{metric.name}' of {row['n_samples']} samples with {sum(map(len, scores))} scores"
    smallest, largest = metric.range
    for column in ("value", "low", "high"):
        value = row[column]
        if value is not None and not smallest - _ROUNDING <= value <= largest + _ROUNDING:
            return f"{column} of '{metric.name}' is {value}; it lies between {smallest:g} and {largest:g}"
    return None
