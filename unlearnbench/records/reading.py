"""Record files to tables of rows: a file that is damaged, foreign or of a newer schema is an error that names it.

Older schemas lack the last columns of the current one; these are null in what is read.
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

_BATCH = 250  # files that are put together and looked at as one
_SHORT = 200  # rows of a file, up to which Parquet's reader takes longer to encode its columns than to read them


def read(path: str | os.PathLike[str]) -> pa.Table:
    """The rows of one record file, with `SCHEMA`.

    Raises:
        RecordError: the file is missing, truncated, damaged, not a record file, or of a newer schema version.
        UnreadableError: it is there and can't be read.
    """
    where = Path(path)
    return _checked(_rows(where), where).table.cast(SCHEMA)


def read_folder(
    folder: str | os.PathLike[str], columns: Sequence[str] = tuple(SCHEMA.names)
) -> tuple[pa.Table, list[RecordError]]:
    """All rows of the ``*.parquet`` files in a folder, in the order of file names, and what was wrong with the rest.

    Text columns come dictionary-encoded (the long JSON texts repeat in every row), else the schema is `SCHEMA`.

    Args:
        folder: holds the files; every byte of theirs is checked.
        columns: those that are wanted, for each takes time in each file; they come in the schema's order, and
            `schema_version` with them.

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
    """Of the names in a folder those of record files, but for failures of cells that have a result there.

    A run leaves no such failure. One that was killed, or two at once on a disk that is shared, may.
    """
    files = [name for name in names if name.endswith(".parquet") and not name.startswith(".")]
    there = set(files)
    return [name for name in files if not (name.endswith(FAILED) and f"{name.removesuffix(FAILED)}.parquet" in there)]


def schema_version(content: bytes) -> int | None:
    """The version whose columns a sealed Parquet file with this content has; None if it is none of `SCHEMAS`."""
    # Where the note is found, at the file's end, nothing need be parsed, which takes a hundred times as long. Another
    # version of pyarrow may have put it otherwise.
    place, version = max((content.rfind(_stored_schema(version)), version) for version in SCHEMAS)
    return version if place >= 0 else version_of_schema(parse(content, most_footer=LARGEST_FOOTER).schema_arrow)


@cache
def _stored_schema(version: int) -> bytes:
    """A version's schema as pyarrow notes it in a file."""
    return base64.b64encode(SCHEMAS[version].serialize())


class _Rows(NamedTuple):
    """The rows of files, and the version whose columns the file of each has."""

    table: pa.Table
    versions: np.ndarray  # i64[rows]


# --- many files ------------------------------------------------------------------------------------------------------


def _read_batch(paths: Sequence[Path], columns: list[str]) -> tuple[pa.Table, list[RecordError]]:
    """The rows of some files as one table, and what was wrong with the files that have none."""
    found = [_attempt(_rows, path, columns) for path in paths]
    joined = _joined(found, columns)
    try:  # as one, for many small tables take long to look at
        _checked(joined, paths[0])
    except RecordError:
        found = [_attempt(_checked, rows, path) for rows, path in zip(found, paths, strict=True)]
        joined = _joined(found, columns)
    return _encoded(joined.table), [error for error in found if isinstance(error, RecordError)]


def _attempt(step: Callable[..., Any], given: Any, *more: Any) -> Any:
    """What a step makes of what the one before gave, or the first error of any."""
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
        # In as many pieces as files: to put them together is to follow indices which nobody has checked yet.
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
    """The rows of a whole file with the right columns, all or those that are wanted, their values not checked yet;
    encoded if they are many."""
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
    """The table with nulls in the columns (of those that are wanted) that its version does not have."""
    schema = _ENCODED if _is_encoded(table) else SCHEMA
    for name in [name for name in columns or SCHEMA.names if name not in SCHEMAS[version].names]:
        table = table.append_column(schema.field(name), pa.nulls(table.num_rows, schema.field(name).type))
    return table


def _checked(rows: _Rows, path: Path) -> _Rows:
    """The rows, if every value is one of its type and they say that they are of the version whose columns they have."""
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
