"""The long results table: one row per cell and metric, one Parquet file per finished cell.

The schema is explicit and checked both on writing and on reading: a value is a finite number or null, a JSON column
holds a JSON object, and a file that is damaged, foreign or from a newer schema is an error that names it. Records of
older schemas are read as they are; the columns that they lack are null.
"""

from __future__ import annotations

import json
import math
import numbers
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from unlearnbench.metrics.catalog import describe
from unlearnbench.records.reading import read, read_folder
from unlearnbench.records.schema import (
    JSON_COLUMNS,
    MOST_ROWS,
    MOST_SCORES,
    SCHEMA,
    SCHEMA_VERSION,
    SCHEMAS,
    SCORES,
    STATUSES,
    RecordError,
)
from unlearnbench.settings.naming import LARGEST_NAMES
from unlearnbench.system import canonical_json
from unlearnbench.system.errors import suggest
from unlearnbench.system.parquet_files import write_parquet
from unlearnbench.system.printing import one_line

__all__ = [
    "ABOUT",
    "CLASSES",
    "JSON_COLUMNS",
    "MOST_SCORES",
    "SCHEMA",
    "SCHEMAS",
    "SCHEMA_VERSION",
    "STATUSES",
    "RecordError",
    "check",
    "class_names",
    "read",
    "read_folder",
    "write",
]

ABOUT = "unlearnbench"  # the metadata entry for facts that have no column
CLASSES = (
    "unlearnbench.classes"  # the metadata entry for the names of the dataset's classes, which older versions ignore
)
_LARGEST = float(np.finfo(np.float32).max)
_FIELDS: dict[str, pa.Field] = {field.name: field for field in SCHEMA}
_LATER = {version: set(SCHEMA.names) - set(schema.names) for version, schema in SCHEMAS.items()}
_LONGEST_NAME = 80  # characters of a metric's name; finding the nearest name to a longer one would take seconds
_MEASUREMENT = ("experiment", "dataset", "scenario_id", "method_id", "attack_id", "tier", "observation", "n_shadows",
                "seed", "metric", "step")  # fmt: skip


def write(
    rows: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    about: Mapping[str, int] | None = None,
    classes: Sequence[str] = (),
) -> None:
    """Write the record of one finished cell. All rows are checked first, and the file appears complete or not at all.

    Args:
        rows: one mapping per metric, with exactly the keys of the schema that its `schema_version` names (rows of an
            older schema may have later columns as None). JSON columns are text, stored in canonical form so that equal
            parameters are equal text; `started_at` is a datetime with a time zone.
        path: the file to write or replace, ``<cell_key>.parquet``; its folder is created.
        about: further facts about the cell (`suite_seed`), stored in the file's metadata.
        classes: the names of the dataset's classes 0, 1, ..., if they have any; stored there, too.

    Raises:
        RecordError: there are no rows, or a rule is broken (names the first such row and column).
    """
    checked = check(rows, path)
    more = {ABOUT: json.dumps(dict(about), sort_keys=True)} if about else {}
    more |= {CLASSES: json.dumps(list(classes))} if classes else {}
    schema = SCHEMAS[
        checked[0]["schema_version"]
    ]  # that of the rows: a null in a column says more than a missing column
    write_parquet(pa.Table.from_pylist(checked, schema=schema), path, more)


def class_names(metadata: Mapping[bytes, bytes] | None, path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The class names in the metadata of a record file; empty if the classes have no names, or if the record was
    written before names were recorded.

    Raises:
        RecordError: they are not a list of texts, or the list is too long.
    """
    text = (metadata or {}).get(CLASSES.encode())
    if text is None:
        return ()
    try:
        found = json.loads(text) if len(text) <= LARGEST_NAMES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
        raise RecordError(str(path), f"unknown class names {one_line(repr(text[:60]))}")
    return tuple(found)


def check(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows with plain values and all columns of `SCHEMA` in its order. Arguments and errors as in `write`."""
    if not rows:
        raise RecordError(str(path), "a record file needs at least one row")
    if len(rows) > MOST_ROWS:
        raise RecordError(str(path), f"{len(rows):,} rows; a record has at most {MOST_ROWS:,}")
    checked: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        checked.append(_checked(row, f"{path}:row {number}", rows[0], checked[0] if checked else {}))
    if len({row["cell_key"] for row in checked}) > 1:
        raise RecordError(str(path), "rows of several cells; write one file per cell_key")
    if len({row["schema_version"] for row in checked}) > 1:
        raise RecordError(str(path), "rows of several schema versions")
    seen = set()
    for number, row in enumerate(checked):
        identity = tuple(row[column] for column in _MEASUREMENT)
        if identity in seen:
            raise RecordError(f"{path}:row {number}", f"metric '{row['metric']}' appears twice for this seed and step")
        seen.add(identity)
    return checked


# --- checking --------------------------------------------------------------------------------------------------------


def _checked(row: Mapping[str, Any], where: str, first: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The row in the schema's order with plain Python values. Raises RecordError naming the first broken rule.

    Args:
        first: the first row of the file, most of whose values are repeated in every row.
        known: the checked first row; empty when the first row itself is checked.
    """
    unknown = [str(key) for key in row if key not in _FIELDS]
    if unknown:
        raise RecordError(where, f"unknown column '{unknown[0]}'{suggest(unknown[0], SCHEMA.names)}")
    version = row.get("schema_version", SCHEMA_VERSION)
    if type(version) is not int or version not in SCHEMAS:
        raise RecordError(where, f"schema_version {version}, this version writes {SCHEMA_VERSION}")
    values = {}
    for name, field in _FIELDS.items():
        is_later = name in _LATER[version]
        if name not in row and not is_later:
            raise RecordError(where, f"column '{name}' is missing")
        value = row.get(name)
        same = name in known and type(value) is type(first.get(name)) and value == first.get(name)
        values[name] = known[name] if same else _value(value, field, where)
        if is_later and values[name] is not None:
            raise RecordError(where, f"schema_version {version} has no column '{name}'")
    if values["status"] not in STATUSES:
        raise RecordError(where, f"status '{one_line(values['status'], 60)}' is not one of {', '.join(STATUSES)}")
    scored = [column for column in SCORES if values[column] is not None]
    if scored and values["metric"] != "auc":
        raise RecordError(where, f"scores beside metric '{one_line(values['metric'], 60)}'; they belong to 'auc'")
    if scored and not all(values[column] for column in SCORES):
        raise RecordError(where, f"scores of one side only; {' and '.join(SCORES)} each need at least one")
    if values["status"] == "ok":
        try:
            describe(values["metric"][:_LONGEST_NAME])
        except KeyError as error:
            raise RecordError(where, one_line(error.args[0])) from None
    elif values["value"] is not None:
        raise RecordError(where, f"status '{values['status']}' with a value; it must be null for a cell that is not ok")
    return values


def _value(value: Any, field: pa.Field, where: str) -> Any:
    if value is None:
        if not field.nullable:
            raise RecordError(where, f"column '{field.name}' must not be null")
        return None
    if field.type == pa.string():
        return _text(value, field.name, where)
    is_flag = isinstance(value, bool)
    if field.type == pa.bool_() and is_flag:
        return value
    if field.type == pa.int64() and isinstance(value, numbers.Integral) and not is_flag:
        if not -(2**63) <= int(value) < 2**63:
            raise RecordError(where, f"column '{field.name}': {value} does not fit 64 bits")
        return int(value)
    if field.type == pa.float64() and isinstance(value, numbers.Real) and not is_flag:
        if not math.isfinite(value):
            raise RecordError(where, f"column '{field.name}' is {value}; values that are not finite must be None")
        return float(value)
    if pa.types.is_list(field.type) and isinstance(value, list):
        return _scores(value, field.name, where)
    if pa.types.is_timestamp(field.type) and isinstance(value, datetime):
        if value.utcoffset() is None:
            raise RecordError(where, f"column '{field.name}' needs a time zone")
        return value.astimezone(UTC)
    raise RecordError(where, f"column '{field.name}' must be {field.type}, got {type(value).__name__}")


def _scores(values: list[Any], column: str, where: str) -> list[float]:
    if len(values) > MOST_SCORES:
        raise RecordError(where, f"column '{column}' holds {len(values):,} numbers; at most {MOST_SCORES:,}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not abs(float(value)) <= _LARGEST:
            raise RecordError(where, f"column '{column}' holds {str(value)[:40]}, which is not a finite float32")
    return [float(value) for value in values]


def _text(value: Any, column: str, where: str) -> str:
    if not isinstance(value, str):
        raise RecordError(where, f"column '{column}' must be text, got {type(value).__name__}")
    try:
        value.encode()
        return canonical_json.object_text(value) if column in JSON_COLUMNS else value
    except ValueError as error:
        raise RecordError(where, f"column '{column}': {one_line(str(error), 200)}") from None
