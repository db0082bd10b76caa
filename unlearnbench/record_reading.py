"""Record files to tables of rows: a file that is damaged, foreign or of another schema is an error that names it."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unlearnbench.errors import InputError
from unlearnbench.parquet_files import parse, read_sealed
from unlearnbench.record_schema import SCHEMA, SCHEMA_VERSION, RecordError

_TEXT = tuple(field.name for field in SCHEMA if field.type == pa.string())
_ENCODED: pa.Schema = pa.schema(
    [field.with_type(pa.dictionary(pa.int32(), pa.string())) if field.name in _TEXT else field for field in SCHEMA]
)

_BATCH = 250  # files that are put together and looked at as one
_SHORT = 200  # rows of a file, up to which Parquet's reader takes longer to encode its columns than to read them


def read(path: str | os.PathLike[str]) -> pa.Table:
    """The rows of one record file, with `SCHEMA`.

    Raises:
        RecordError: the file is missing, truncated, damaged, not a record file, or of another schema version.
    """
    where = Path(path)
    return _checked(_rows(where), where).cast(SCHEMA)


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
        InputError: there is no such folder.
    """
    wanted = [name for name in SCHEMA.names if name in columns or name == "schema_version"]
    root = Path(folder)
    if not root.is_dir():
        raise InputError(str(root), "no such folder of records")
    names = sorted(path.name for path in root.glob("*.parquet") if not path.name.startswith("."))
    batches = [[root / name for name in names[start : start + _BATCH]] for start in range(0, len(names), _BATCH)]
    tables, bad = [_ENCODED.empty_table().select(wanted)], list[RecordError]()
    with ThreadPoolExecutor(max_workers=2) as threads:
        for table, errors in threads.map(partial(_read_batch, columns=wanted), batches):
            tables.append(table)
            bad += errors
    return pa.concat_tables(tables).unify_dictionaries(), bad


def has_schema(content: bytes) -> bool:
    """Whether a sealed Parquet file with this content has the columns of `SCHEMA`."""
    # Where the note is found, at the file's end, nothing need be parsed, which takes a hundred times as long. Another
    # version of pyarrow may have put it otherwise.
    return content.rfind(_stored_schema()) >= 0 or bool(parse(content).schema_arrow.equals(SCHEMA))


@cache
def _stored_schema() -> bytes:
    """`SCHEMA` as pyarrow notes it in a file."""
    return base64.b64encode(SCHEMA.serialize())


# --- many files ------------------------------------------------------------------------------------------------------


def _read_batch(paths: Sequence[Path], columns: list[str]) -> tuple[pa.Table, list[RecordError]]:
    """The rows of some files as one table, and what was wrong with the files that have none."""
    found = [_attempt(_rows, path, columns) for path in paths]
    table = _joined(found, columns)
    try:  # as one, for many small tables take long to look at
        _checked(table, paths[0])
    except RecordError:
        found = [_attempt(_checked, rows, path) for rows, path in zip(found, paths, strict=True)]
        table = _joined(found, columns)
    return _encoded(table), [error for error in found if isinstance(error, RecordError)]


def _attempt(step: Callable[..., Any], given: Any, *more: Any) -> Any:
    """What a step makes of what the one before gave, or the first error of any."""
    if isinstance(given, RecordError):
        return given
    try:
        return step(given, *more)
    except RecordError as error:
        return error


def _joined(found: Sequence[pa.Table | RecordError], columns: list[str]) -> pa.Table:
    tables = [table for table in found if isinstance(table, pa.Table)]
    if any(_is_encoded(table) for table in tables):
        # In as many pieces as files: to put them together is to follow indices which nobody has checked yet.
        return pa.concat_tables(map(_encoded, tables))
    return pa.concat_tables([SCHEMA.empty_table().select(columns), *tables]).combine_chunks()


def _is_encoded(table: pa.Table) -> bool:
    return any(pa.types.is_dictionary(field.type) for field in table.schema)


def _encoded(table: pa.Table) -> pa.Table:
    if _is_encoded(table):
        return table
    columns = zip(table.column_names, table.columns, strict=True)
    arrays = [column.dictionary_encode() if name in _TEXT else column for name, column in columns]
    return pa.Table.from_arrays(arrays, schema=pa.schema([_ENCODED.field(name) for name in table.column_names]))


# --- one file --------------------------------------------------------------------------------------------------------


def _rows(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The rows of a whole file with the right columns, all or those that are wanted, their values not checked yet;
    encoded if they are many."""
    try:
        content = read_sealed(path)
        file = parse(content)
        if not has_schema(content):
            raise RecordError(str(path), schema_difference(file))
        if file.metadata.num_rows > _SHORT:
            file = parse(content, _TEXT)
        table = file.read(columns=columns, use_threads=False)
    except FileNotFoundError:
        raise RecordError(str(path), "no such record file") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    if not table.num_rows:
        raise RecordError(str(path), f"schema_version none, this version reads {SCHEMA_VERSION}")
    return table


def _checked(table: pa.Table, path: Path) -> pa.Table:
    """The table, if every value is one of its type and of this schema version."""
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


def schema_difference(file: pq.ParquetFile) -> str:
    """In what a file's columns are not those of `SCHEMA`."""
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
