"""What a run could have recorded: rules on the rows of a cell beyond the schema, each broken one told in a line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from unlearnbench.escaping import commands, one_line
from unlearnbench.metrics.catalog import METRICS, Metric
from unlearnbench.record_schema import SCHEMA, SCORES
from unlearnbench.registry import NAME
from unlearnbench.suite import NAME_CHARACTERS

MEASURED = ("metric", "step", "value", "low", "high", "n_samples", "direction", *SCORES)
"""Columns that differ within a cell."""

_HASH = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_COUNTS = ("n_shadows", "peak_bytes", "train_seconds", "unlearn_seconds", "attack_seconds", "seed")
_ATTACK = ("attack", "attack_params", "attack_id")
_ROUNDING = 1e-6  # a share of float32 numbers may be so much over 1


def contradiction(rows: Sequence[Mapping[str, Any]], key: str, failed: bool) -> str | None:
    """What in a cell's rows can't be so, or None.

    Args:
        rows: as `records.check` returns them.
        key: of the file's name.
        failed: whether the name says that the cell failed.
    """
    first = rows[0]
    for column in SCHEMA.names:
        if column not in MEASURED and any(row[column] != first[column] for row in rows):
            return f"column '{column}' differs between the rows of one cell"
    if first["cell_key"] != key:
        return f"the record of another cell: its key is {one_line(first['cell_key'], 64)}"
    if failed != (first["status"] in ("failed", "timeout")):
        return f"status '{first['status']}' does not go with the file's name"
    wrong = _texts(first) or _names(first) or _numbers(first)
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
            return f"column '{column}': '{one_line(name, 60)}' is no name of one"
    for column in ("dataset", "method", "attack"):
        if first[column] is not None and not NAME.fullmatch(first[column]):
            return f"column '{column}': '{one_line(first[column], 60)}' is no name of one"
    if len({first[column] is None for column in _ATTACK}) > 1:
        return "only some of the columns 'attack', 'attack_params' and 'attack_id' are null"
    for column in ("method", "attack"):
        name, full = first[column], first[f"{column}_id"]
        if name is not None and full != name and not full.startswith(f"{name}["):
            return f"column '{column}_id': '{one_line(full, 60)}' is no {column} '{name}'"
    ranked = [name for name in (first["ranked_by"] or "").split(",") if name]
    if (first["attack"] is None and first["ranked_by"] is not None) or any(name not in METRICS for name in ranked):
        return f"column 'ranked_by': '{one_line(first['ranked_by'], 60)}' is no list of metrics of an attack"
    # A cell that failed when its plugins were asked has no data, and an installed plugin may have no file.
    hashes = [*first["plugin_sha256"].split("+"), first["data_sha256"]]
    if any(text and not _HASH.fullmatch(text) for text in hashes):
        return "column 'plugin_sha256' or 'data_sha256' holds no SHA-256"
    if first["git_sha"] is not None and not _COMMIT.fullmatch(first["git_sha"]):
        return f"column 'git_sha': '{one_line(first['git_sha'], 60)}' is no commit"
    return None


def _numbers(first: Mapping[str, Any]) -> str | None:
    for column in _COUNTS:
        if first[column] is not None and first[column] < 0:
            return f"column '{column}' is {first[column]}"
    sizes = json.loads(first["sizes"])
    if any(type(size) is not int or size < 0 for size in sizes.values()):
        return "column 'sizes' holds what is no number of images"
    versions = json.loads(first["versions"])
    if not all(isinstance(version, str) for version in versions.values()):
        return "column 'versions' holds what is no version"
    return None


def _measurement(row: Mapping[str, Any]) -> str | None:
    metric = METRICS.get(row["metric"])
    if row["status"] != "ok":
        return None if row["metric"] == "status" else f"a cell that is not ok has a metric '{row['metric']}'"
    assert metric is not None  # the schema's check knows all metrics
    if row["direction"] != metric.direction:
        return f"direction of '{metric.name}' is '{one_line(row['direction'], 60)}', not '{metric.direction}'"
    if any(row[column] is not None and row[column] < 0 for column in ("step", "n_samples")):
        return f"'{metric.name}' with a negative step or number of samples"
    if row["low"] is not None and row["high"] is not None and row["low"] > row["high"]:
        return f"'{metric.name}' with an interval from {row['low']} to {row['high']}"
    scores = [row[column] for column in SCORES if row[column] is not None]
    if scores and (row["attack"] is None or len(scores) < len(SCORES)):
        return f"'{metric.name}' with scores of one side only, or without an attack"
    if scores and row["n_samples"] not in (None, sum(map(len, scores))):
        return f"'{metric.name}' of {row['n_samples']} samples with {sum(map(len, scores))} scores"
    smallest, largest = _range(metric)
    for column in ("value", "low", "high"):
        value = row[column]
        if value is not None and not smallest - _ROUNDING <= value <= largest + _ROUNDING:
            return f"{column} of '{metric.name}' is {value}; it lies between {smallest} and {largest}"
    return None


def _range(metric: Metric) -> tuple[float, float]:
    """The smallest and the largest value that a metric can have."""
    if metric.name.startswith("skill_"):
        return -float("inf"), 1.0
    if metric.name in ("ssim", "deg_rate") or metric.unit.startswith("quantile"):  # differences
        return -1.0, 1.0
    if metric.unit in ("share", "accuracy", "probability"):
        return 0.0, 1.0
    return 0.0, float("inf")
