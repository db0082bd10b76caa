"""The long results table: one row per cell and metric, one Parquet file per finished cell.

The schema is explicit and checked on both sides: a value is a finite number or null, a JSON column holds a JSON
object, and a file that is damaged, foreign or from another schema is an error that names it.
"""

from __future__ import annotations

import json
import math
import numbers
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unlearnbench.errors import InputError, suggest
from unlearnbench.metrics.catalog import describe
from unlearnbench.parquet_files import open_parquet, write_parquet

SCHEMA_VERSION = 1
STATUSES = ("ok", "failed", "timeout", "skipped", "not_run")
JSON_COLUMNS = ("dataset_params", "scenario", "method_params", "attack_params", "sizes", "versions")

_NULLABLE = True


def _field(name: str, kind: pa.DataType, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable)


SCHEMA: pa.Schema = pa.schema(
    [
        _field("suite", pa.string()),
        _field("experiment", pa.string()),
        _field("dataset", pa.string()),
        _field("dataset_params", pa.string()),  # JSON
        _field("scenario", pa.string()),  # JSON
        _field("scenario_id", pa.string()),
        _field("method", pa.string()),
        _field("method_params", pa.string()),  # JSON
        _field("method_id", pa.string()),  # the name and the parameters that differ from the defaults
        _field("attack", pa.string(), _NULLABLE),  # null: measured without an adversary
        _field("attack_params", pa.string(), _NULLABLE),  # JSON
        _field("attack_id", pa.string(), _NULLABLE),
        _field("tier", pa.string(), _NULLABLE),
        _field("observation", pa.string(), _NULLABLE),
        _field("n_shadows", pa.int64(), _NULLABLE),
        _field("seed", pa.int64()),
        _field("metric", pa.string()),
        _field("step", pa.int64(), _NULLABLE),  # null: the final value; else a point of a trajectory
        _field("value", pa.float64(), _NULLABLE),
        _field("low", pa.float64(), _NULLABLE),  # bootstrap over images within this seed
        _field("high", pa.float64(), _NULLABLE),
        _field("n_samples", pa.int64(), _NULLABLE),
        _field("direction", pa.string()),
        _field("status", pa.string()),
        _field("error", pa.string(), _NULLABLE),
        _field("train_seconds", pa.float64(), _NULLABLE),
        _field("unlearn_seconds", pa.float64(), _NULLABLE),
        _field("attack_seconds", pa.float64(), _NULLABLE),
        _field("peak_bytes", pa.int64(), _NULLABLE),
        _field("device", pa.string()),
        _field("sizes", pa.string()),  # JSON: images in every set
        _field("cell_key", pa.string()),
        _field("git_sha", pa.string(), _NULLABLE),
        _field("git_dirty", pa.bool_(), _NULLABLE),
        _field("plugin_sha256", pa.string()),
        _field("data_sha256", pa.string()),
        _field("versions", pa.string()),  # JSON: packages
        _field("started_at", pa.timestamp("us", tz="UTC")),
        _field("protocol_version", pa.int64()),
        _field("schema_version", pa.int64()),
    ]
)

_TEXT = tuple(field.name for field in SCHEMA if field.type == pa.string())
_IDENTITY = ("experiment", "dataset", "scenario_id", "method_id", "attack_id", "tier", "observation", "n_shadows")
_ENCODED: pa.Schema = pa.schema(
    [field.with_type(pa.dictionary(pa.int32(), pa.string())) if field.name in _TEXT else field for field in SCHEMA]
)


class RecordError(InputError):
    """A record file that can't be trusted: `where` is its path (or the row at fault), `what` is wrong with it."""


def write(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Write one finished cell: all rows are checked first, and the file appears whole or not at all.

    Args:
        rows: one mapping per metric with exactly the schema's keys. JSON columns are text (stored canonically, so
            that equal parameters are equal text); `started_at` is a datetime with a time zone.
        path: the file to write or replace, ``<cell_key>.parquet``; its folder is made.

    Raises:
        RecordError: no rows, or the first row and column that break a rule.
    """
    if not rows:
        raise RecordError(str(path), "a record file needs at least one row")
    checked = [_checked(row, f"{path}:row {number}") for number, row in enumerate(rows)]
    if len({row["cell_key"] for row in checked}) > 1:
        raise RecordError(str(path), "rows of several cells; write one file per cell_key")
    seen = set()
    for number, row in enumerate(checked):
        identity = tuple(row[column] for column in (*_IDENTITY, "seed", "metric", "step"))
        if identity in seen:
            raise RecordError(f"{path}:row {number}", f"metric '{row['metric']}' is there twice for this seed and step")
        seen.add(identity)
    write_parquet(pa.Table.from_pylist(checked, schema=SCHEMA), path)


def read(path: str | os.PathLike[str]) -> pa.Table:
    """The rows of one record file, with `SCHEMA`.

    Raises:
        RecordError: the file is missing, truncated, damaged, not a record file, or of another schema version.
    """
    return _read(Path(path), encoded=False)


def read_folder(folder: str | os.PathLike[str]) -> tuple[pa.Table, list[RecordError]]:
    """All rows of the ``*.parquet`` files in a folder, in the order of file names, and what was wrong with the rest.

    Text columns come dictionary-encoded (the long JSON texts repeat in every row), else the schema is `SCHEMA`.

    Raises:
        InputError: there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(str(root), "no such folder of records")
    paths = sorted(path for path in root.glob("*.parquet") if not path.name.startswith("."))
    tables, bad = [_ENCODED.empty_table()], []
    with ThreadPoolExecutor(max_workers=2) as threads:
        for result in threads.map(_try_read, paths):
            if isinstance(result, RecordError):
                bad.append(result)
            else:
                tables.append(result)
    return pa.concat_tables(tables).unify_dictionaries(), bad


# --- reading ---------------------------------------------------------------------------------------------------------


def _try_read(path: Path) -> pa.Table | RecordError:
    try:
        return _read(path, encoded=True)
    except RecordError as error:
        return error


def _read(path: Path, encoded: bool) -> pa.Table:
    expected = _ENCODED if encoded else SCHEMA
    try:
        file = open_parquet(path, _TEXT if encoded else None)
        if not file.schema_arrow.equals(expected):
            raise RecordError(str(path), _schema_difference(file, expected))
        table = file.read(use_threads=False)
        table.validate(full=True)
    except FileNotFoundError:
        raise RecordError(str(path), "no such record file") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        what = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise RecordError(str(path), f"not a readable record file ({what}); delete it to compute it again") from error
    versions = set(table.column("schema_version").to_pylist())
    if versions != {SCHEMA_VERSION}:
        found = ", ".join(str(version) for version in sorted(versions)) or "none"
        raise RecordError(str(path), f"schema_version {found}, this version reads {SCHEMA_VERSION}")
    return table


def _schema_difference(file: pq.ParquetFile, expected: pa.Schema) -> str:
    found: pa.Schema = file.schema_arrow
    if "schema_version" in found.names:
        versions = set(file.read(columns=["schema_version"]).column(0).to_pylist())
        if versions != {SCHEMA_VERSION}:
            listed = ", ".join(sorted(str(version) for version in versions))
            return f"schema_version {listed}, this version reads {SCHEMA_VERSION}"
    missing = [name for name in expected.names if name not in found.names]
    if missing:
        return f"not a record file: column '{missing[0]}' is missing"
    unknown = [name for name in found.names if name not in expected.names]
    if unknown:
        return f"not a record file: unknown column '{unknown[0]}'"
    return "not a record file: its columns have other types or another order"


# --- checking --------------------------------------------------------------------------------------------------------


def _checked(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The row in the schema's order with plain Python values; RecordError names the first rule that it breaks."""
    unknown = [str(key) for key in row if key not in SCHEMA.names]
    if unknown:
        raise RecordError(where, f"unknown column '{unknown[0]}'{suggest(unknown[0], SCHEMA.names)}")
    values = {}
    for field in SCHEMA:
        if field.name not in row:
            raise RecordError(where, f"column '{field.name}' is missing")
        values[field.name] = _value(row[field.name], field, where)
    if values["status"] not in STATUSES:
        raise RecordError(where, f"status '{values['status']}' is not one of {', '.join(STATUSES)}")
    if values["schema_version"] != SCHEMA_VERSION:
        raise RecordError(where, f"schema_version {values['schema_version']}, this version writes {SCHEMA_VERSION}")
    if values["status"] == "ok":
        try:
            describe(values["metric"])
        except KeyError as error:
            raise RecordError(where, error.args[0]) from None
    elif values["value"] is not None:
        raise RecordError(where, f"status '{values['status']}' with a value; a cell that is not ok has null")
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
            raise RecordError(where, f"column '{field.name}' is {value}; what is not a finite number must be None")
        return float(value)
    if pa.types.is_timestamp(field.type) and isinstance(value, datetime):
        if value.utcoffset() is None:
            raise RecordError(where, f"column '{field.name}' needs a time zone")
        return value.astimezone(UTC)
    raise RecordError(where, f"column '{field.name}' must be {field.type}, got {type(value).__name__}")


def _text(value: Any, column: str, where: str) -> str:
    if not isinstance(value, str):
        raise RecordError(where, f"column '{column}' must be text, got {type(value).__name__}")
    try:
        value.encode()
        return canonical(value) if column in JSON_COLUMNS else value
    except ValueError as error:
        raise RecordError(where, f"column '{column}': {error}") from None


def canonical(text: str) -> str:
    """A JSON object as text with sorted keys and no spaces. Raises ValueError if it is not one, or holds NaN."""
    value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_distinct)
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _distinct(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    listed = list(pairs)
    values = dict(listed)
    if len(values) < len(listed):
        raise ValueError("a key is there twice")
    return values
