"""Whether two records of one cell agree.

On the same kind of machine with the same packages a cell gives the same numbers to the last bit, whatever the engine
(docs/protocol.md#replicas, docs/protocol.md#keys). Elsewhere rounding differs, and training amplifies differences: a
perturbation of 1e-7 grows to 2.5 % of the parameters in 3,000 steps, so that no bound on bits would hold. In that case
only the metrics are compared, each within a tolerance. Times are never compared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unlearnbench.metrics.catalog import METRICS, describe
from unlearnbench.records.schema import SCORES
from unlearnbench.settings.naming import BATCHING
from unlearnbench.submissions.reading import Submitted, scenario_name
from unlearnbench.system.package_versions import COMPUTING

_PACKAGES = (*COMPUTING, "torchvision")

# What identifies a cell; the same for equal keys, unless a record misstates what it was computed from.
IDENTITY_COLUMNS = (
    "suite", "experiment", "dataset", "dataset_params", "scenario", "method", "method_params", "method_id", "attack",
    "attack_params", "attack_id", "tier", "observation", "n_shadows", "seed", "sizes", "data_sha256",
    "protocol_version",
)  # fmt: skip

DECLARED_COLUMNS = ("reference", "own_original", "ranked_by")  # what plugins declare; null in older records


@dataclass(frozen=True)
class RecordDifference:
    """Two values that should be the same.

    Attributes:
        what: a metric, with its step in a trajectory; or a column.
        left, right: numbers or texts; None where there is no value, or no such metric.
        by: how far apart numbers are; None for texts, and where one is missing.
        allowed: how far apart they may be.
    """

    what: str
    left: Any
    right: Any
    by: float | None = None
    allowed: float = 0.0

    @property
    def is_small(self) -> bool:
        """Whether it is within the tolerance."""
        return self.by is not None and self.by <= self.allowed * (1 + 1e-9)  # 4 of 24 images are 4/24 up to rounding


def same_kind(one: Submitted, other: Submitted) -> bool:
    """Whether two records were computed on the same kind of machine with the same packages."""
    return _kind(one) == _kind(other)


def differences(one: Submitted, other: Submitted) -> list[RecordDifference]:
    """Every difference between two records of a cell, except in times and provenance."""
    one_version = one.common["schema_version"] == other.common["schema_version"]
    found = []
    for name in (*IDENTITY_COLUMNS, *DECLARED_COLUMNS):
        left, right = one.common[name], other.common[name]
        lacking = name in DECLARED_COLUMNS and not one_version and None in (left, right)
        if left != right and not lacking and not (name == "scenario" and _same_but_how(one, other)):
            found.append(RecordDifference(name, left, right))
    seeds = one.about.get("suite_seed"), other.about.get("suite_seed")
    if None not in seeds and seeds[0] != seeds[1] and one.key == other.key:
        found.append(RecordDifference("suite_seed", seeds[0], seeds[1]))
    names = scenario_name(one.common["scenario_id"]), scenario_name(other.common["scenario_id"])
    found += [RecordDifference("scenario_id", *names)] if names[0] != names[1] else []
    strict = same_kind(one, other)
    one_rows, other_rows = _measured(one), _measured(other)
    for key in one_rows | other_rows:
        if key in one_rows and key in other_rows:
            found += _compared(key, one_rows[key], other_rows[key], strict, one_version)
        else:
            values = _value(one_rows.get(key)), _value(other_rows.get(key))
            found.append(RecordDifference(f"{_shown(key)} (a metric of one only)", *values))
    return found


def _compared(
    key: tuple[str, int | None], left: Mapping[str, Any], right: Mapping[str, Any], strict: bool, one_version: bool
) -> list[RecordDifference]:
    one, other = left["value"], right["value"]
    found = []
    if one is None or other is None:
        found += [RecordDifference(_shown(key), one, other)] if one is not other else []
    elif one != other:
        allowed = 0.0 if strict else max(describe(key[0]).tolerance(value, left["n_samples"]) for value in (one, other))
        found.append(RecordDifference(_shown(key), one, other, abs(one - other), allowed))
    if left["n_samples"] != right["n_samples"]:
        found.append(RecordDifference(f"{_shown(key)}, samples", left["n_samples"], right["n_samples"]))
    if strict:  # elsewhere the bounds of an interval differ more than the value and add nothing to it
        for end in ("low", "high"):
            if left[end] != right[end]:
                by = None if None in (left[end], right[end]) else abs(left[end] - right[end])
                found.append(RecordDifference(f"{_shown(key)}, {end}", left[end], right[end], by))
        for name in SCORES:
            if left[name] != right[name] and (one_version or None not in (left[name], right[name])):
                found.append(RecordDifference(f"{_shown(key)}, {name}", "some", "others"))
    return found


def _same_but_how(one: Submitted, other: Submitted) -> bool:
    """Whether scenarios under two keys differ only in how many models and seeds were computed together."""
    if one.key == other.key:
        return False
    left, right = (json.loads(cell.common["scenario"]) for cell in (one, other))
    return all(left.get(name) == right.get(name) for name in {*left, *right} - set(BATCHING))


def _measured(cell: Submitted) -> dict[tuple[str, int | None], Mapping[str, Any]]:
    """The rows by metric and step, without times."""
    times = {metric.name for metric in METRICS.values() if metric.is_time}  # `status` is not a metric
    return {(row["metric"], row["step"]): row for row in cell.measured if row["metric"] not in times}


def _value(row: Mapping[str, Any] | None) -> float | None:
    return None if row is None or row["value"] is None else float(row["value"])


def _shown(key: tuple[str, int | None]) -> str:
    return key[0] if key[1] is None else f"{key[0]} at step {key[1]}"


def _kind(cell: Submitted) -> tuple[Any, ...]:
    versions = json.loads(cell.common["versions"])
    return (cell.common["device"], *(versions.get(package) for package in _PACKAGES))


def largest(found: list[RecordDifference]) -> RecordDifference | None:
    """The difference that says most: one that is not between numbers, else the largest relative to its tolerance."""
    if not found:
        return None
    return max(found, key=lambda each: math.inf if each.by is None else each.by / (each.allowed or 1e-300))
