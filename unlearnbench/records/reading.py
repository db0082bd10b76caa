"""Record files to tables of rows. A file that is damaged, foreign or of a newer schema is an error that names it.

Older schemas lack the last columns of the current one; these columns are null in the tables.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from unlearnbench.records.bounds import (
    LARGEST_FOOTER,
    open_record,
    refuse_long_texts,
    version_error,
    version_of_schema,
)
from unlearnbench.records.schema import FAILED, READABLE, SCHEMA, SCHEMAS, RecordError, texts
from unlearnbench.system import regular_files
from unlearnbench.system.errors import InputError
from unlearnbench.system.parquet_files import parse

_TEXT = tuple(texts(max(SCHEMAS)))
_ENCODED: pa.Schema = pa.schema(
    [field.with_type(pa.dictionary(pa.int32(), pa.string())) if field.name in _TEXT else field for field in SCHEMA]
)

_BATCH = 250  # files that are joined and checked as one table
_SHORT = 200  # rows up to which Parquet's reader needs longer to dictionary-encode a file than to read it


def read(path: str | os.PathLike[str]) -> pa.Table:
    """The rows of one record file, with `SCHEMA`.

    Raises:
        RecordError: the file is missing, truncated, damaged, not a record file, or of a newer schema version.
        UnreadableError: it exists but can't be read.
    """
    where = Path(path)
    return _checked(_rows(where), where).table.cast(SCHEMA)


def read_folder(
    folder: str | os.PathLike[str], columns: Sequence[str] = tuple(SCHEMA.names)
) -> tuple[pa.Table, list[RecordError]]:
    """All rows of the ``*.parquet`` files in a folder, in the order of file names, and the errors of unusable files.

    Text columns are dictionary-encoded, as the long JSON texts repeat in every row; apart from that the schema is
    `SCHEMA`.

    Args:
        folder: holds the files; every byte of them is checked.
        columns: the columns to read, as each costs time in each file. They are returned in the schema's order,
            together with `schema_version`.

    Raises:
        InputError: there is no such folder, or something in it can't be read (as `UnreadableError`).
    """
    wanted = [name for name in SCHEMA.names if name in columns or name == "schema_version"]
    root = Path(folder)
    try:
        names = counting(regular_files.listing(root))
    except FileNotFoundError:
        raise InputError(str(root), "no such folder of records") from None
    batches = [[root / name for name in names[start : start + _BATCH]] for start in range(0, len(names), _BATCH)]
    tables, bad = [_ENCODED.empty_table().select(wanted)], list[RecordError]()
    with ThreadPoolExecutor(max_workers=2) as threads:
        for table, errors in threads.map(partial(_read_batch, columns=wanted), batches):
            tables.append(table)
            bad += errors
    return pa.concat_tables(tables).unify_dictionaries(), bad


def counting(names: Iterable[str]) -> list[str]:
    """The names of record files among those in a folder, without failures of cells that also have a result.

    A run leaves no such failure behind, but a killed run may, and so may two runs at once on a shared disk.
    """
    files = [name for name in names if name.endswith(".parquet") and not name.startswith(".")]
    there = set(files)
    return [name for name in files if not (name.endswith(FAILED) and f"{name.removesuffix(FAILED)}.parquet" in there)]


def schema_version(content: bytes) -> int | None:
    """The version of `SCHEMAS` whose columns a sealed Parquet file with this content has, or None."""
    # If the note is found at the file's end, nothing needs to be parsed, which takes a hundred times as long. Other
    # versions of pyarrow may have written the note in another form.
    place, version = max((content.rfind(_stored_schema(version)), version) for version in SCHEMAS)
    return version if place >= 0 else version_of_schema(parse(content, most_footer=LARGEST_FOOTER).schema_arrow)


@cache
def _stored_schema(version: int) -> bytes:
    """The schema of a version in the form in which pyarrow stores it in a file."""
    return base64.b64encode(SCHEMAS[version].serialize())


class _Rows(NamedTuple):
    """The rows of files and, for each row, the version whose columns its file has."""

    table: pa.Table
    versions: np.ndarray  # i64[rows]


# --- many files ------------------------------------------------------------------------------------------------------


def _read_batch(paths: Sequence[Path], columns: list[str]) -> tuple[pa.Table, list[RecordError]]:
    """The rows of some files as one table, and the errors of the files that have none."""
    found = [_attempt(_rows, path, columns) for path in paths]
    joined = _joined(found, columns)
    try:  # as one table, because checking many small ones takes long
        _checked(joined, paths[0])
    except RecordError:
        found = [_attempt(_checked, rows, path) for rows, path in zip(found, paths, strict=True)]
        joined = _joined(found, columns)
    return _encoded(joined.table), [error for error in found if isinstance(error, RecordError)]


def _attempt(step: Callable[..., Any], given: Any, *more: Any) -> Any:
    """Apply a step to the result of the previous one, unless that is an error; returns the first error."""
    if isinstance(given, RecordError):
        return given
    try:
        return step(given, *more)
    except RecordError as error:
        return error


def _joined(found: Sequence[_Rows | RecordError], columns: list[str]) -> _Rows:
    rows = [each for each in found if isinstance(each, _Rows)]
    tables = [each.table for each in rows]
    versions = np.concatenate([np.zeros(0, np.int64), *(each.versions for each in rows)])
    if any(_is_encoded(table) for table in tables):
        # One chunk per file: combining them would follow indices that have not been checked yet.
        return _Rows(pa.concat_tables(map(_encoded, tables)), versions)
    return _Rows(pa.concat_tables([SCHEMA.empty_table().select(columns), *tables]).combine_chunks(), versions)


def _is_encoded(table: pa.Table) -> bool:
    return any(pa.types.is_dictionary(field.type) for field in table.schema)


def _encoded(table: pa.Table) -> pa.Table:
    if _is_encoded(table):
        return table
    columns = zip(table.column_names, table.columns, strict=True)
    arrays = [column.dictionary_encode() if name in _TEXT else column for name, column in columns]
    return pa.Table.from_arrays(arrays, schema=pa.schema([_ENCODED.field(name) for name in table.column_names]))


# --- one file --------------------------------------------------------------------------------------------------------


def _rows(path: Path, columns: list[str] | None = None) -> _Rows:
    """The rows of a file, with all columns or those that are wanted. Values are not checked yet; texts are
    dictionary-encoded if there are many rows."""
    try:
        opened = open_record(path)
        version = opened.version
        there = columns and [name for name in columns if name in SCHEMAS[version].names]
        reader = opened.reader(encoded=opened.file.metadata.num_rows > _SHORT)
        table = reader.read(columns=there, use_threads=False)
        if opened.repeats:
            table.validate(full=True)
            refuse_long_texts(table, path)
        table = with_later_columns(table, version, columns)
    except FileNotFoundError:
        raise RecordError(str(path), "no such record file") from None
    except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    if not table.num_rows:
        raise RecordError(str(path), f"schema_version none, this version reads {READABLE}")
    return _Rows(table, np.full(table.num_rows, version))


def with_later_columns(table: pa.Table, version: int, columns: Sequence[str] | None = None) -> pa.Table:
    """The table with null columns appended in place of those (among `columns`) that its version does not have."""
    schema = _ENCODED if _is_encoded(table) else SCHEMA
    for name in [name for name in columns or SCHEMA.names if name not in SCHEMAS[version].names]:
        table = table.append_column(schema.field(name), pa.nulls(table.num_rows, schema.field(name).type))
    return table


def _checked(rows: _Rows, path: Path) -> _Rows:
    """The rows, if every value fits its type and each row states the version whose columns it has."""
    try:
        rows.table.validate(full=True)
    except (ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    said = rows.table.column("schema_version").to_numpy()
    if not np.array_equal(said, rows.versions):
        raise version_error(said.tolist(), path)
    return rows


def _unreadable(path: Path, error: Exception) -> RecordError:
    what = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return RecordError(str(path), f"not a readable record file ({what}); delete it to compute it again")
