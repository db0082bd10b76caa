"""A record file to rows: one that is damaged, foreign or of another schema is an error that names it."""

from __future__ import annotations

import base64
import os
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from unlearnbench.parquet_files import parse, read_sealed
from unlearnbench.record_schema import SCHEMA, SCHEMA_VERSION, TEXT, RecordError

_SHORT = 200  # rows of a file, up to which Parquet's reader takes longer to encode its columns than to read them


def read(path: str | os.PathLike[str]) -> pa.Table:
    """The rows of one record file, with `SCHEMA`.

    Raises:
        RecordError: the file is missing, truncated, damaged, not a record file, or of another schema version.
    """
    where = Path(path)
    return checked(rows(whole(where), where), where).cast(SCHEMA)


def has_schema(content: bytes) -> bool:
    """Whether a sealed Parquet file with this content has the columns of `SCHEMA`."""
    # Where the note is found, at the file's end, nothing need be parsed, which takes a hundred times as long. Another
    # version of pyarrow may have put it otherwise.
    return content.rfind(_stored_schema()) >= 0 or bool(parse(content).schema_arrow.equals(SCHEMA))


@cache
def _stored_schema() -> bytes:
    """`SCHEMA` as pyarrow notes it in a file."""
    return base64.b64encode(SCHEMA.serialize())


def whole(path: Path) -> bytes:
    """The content of a record file, unchanged since it was written. Raises RecordError."""
    try:
        return read_sealed(path)
    except FileNotFoundError:
        raise RecordError(str(path), "no such record file") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def rows(content: bytes, path: Path) -> pa.Table:
    """The rows of a whole file, their values not `checked` yet; with `SCHEMA`, or `ENCODED` if they are many.

    Raises:
        RecordError: it has other columns, or no rows.
    """
    try:
        file = parse(content)
        if not has_schema(content):
            raise RecordError(str(path), _schema_difference(file))
        if file.metadata.num_rows > _SHORT:
            file = parse(content, TEXT)
        table = file.read(use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    if not table.num_rows:
        raise RecordError(str(path), f"schema_version none, this version reads {SCHEMA_VERSION}")
    return table


def checked(table: pa.Table, path: Path) -> pa.Table:
    """The table, if every value is one of its type and of this schema version; else raises RecordError for `path`."""
    try:
        table.validate(full=True)
    except (ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    versions = set(table.column("schema_version").unique().to_pylist())
    if versions - {SCHEMA_VERSION}:
        found = ", ".join(str(version) for version in sorted(versions))
        raise RecordError(str(path), f"schema_version {found}, this version reads {SCHEMA_VERSION}")
    return table


def _unreadable(path: Path, error: Exception) -> RecordError:
    what = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return RecordError(str(path), f"not a readable record file ({what}); delete it to compute it again")


def _schema_difference(file: pq.ParquetFile) -> str:
    found: pa.Schema = file.schema_arrow
    if "schema_version" in found.names:
        versions = set(file.read(columns=["schema_version"]).column(0).to_pylist())
        if versions != {SCHEMA_VERSION}:
            listed = ", ".join(sorted(str(version) for version in versions))
            return f"schema_version {listed}, this version reads {SCHEMA_VERSION}"
    missing = [name for name in SCHEMA.names if name not in found.names]
    if missing:
        return f"not a record file: column '{missing[0]}' is missing"
    unknown = [name for name in found.names if name not in SCHEMA.names]
    if unknown:
        return f"not a record file: unknown column '{unknown[0]}'"
    return "not a record file: its columns have other types or another order"
