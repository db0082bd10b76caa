"""All record files of a folder to one table: many small files, which are put together before all else is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from unlearnbench import record_copy
from unlearnbench.errors import InputError
from unlearnbench.parquet_files import seal_of
from unlearnbench.record_copy import Copy
from unlearnbench.record_reading import checked, rows, whole
from unlearnbench.record_schema import ENCODED, SCHEMA, TEXT, RecordError

BATCH = 250  # files that are put together and checked as one
WORTH_A_COPY = 500  # files that had to be parsed, from which on the next reader finds a copy


class _File(NamedTuple):
    """A whole record file: its seal, how many rows it has, and the rows unless a copy has them."""

    seal: str
    size: int
    rows: pa.Table | None


class _Batch(NamedTuple):
    """What some files gave: tables that one after the other hold their rows, each file's seal and number of rows, how
    many files were parsed, and what was wrong with the others."""

    tables: list[pa.Table]
    sizes: list[tuple[str, int]]
    parsed: int
    bad: list[RecordError]


def read_folder(
    folder: str | os.PathLike[str], copy: str | os.PathLike[str] | None = None
) -> tuple[pa.Table, list[RecordError]]:
    """All rows of the ``*.parquet`` files in a folder, in the order of file names, and what was wrong with the rest.

    Text columns come dictionary-encoded (the long JSON texts repeat in every row), else the schema is `SCHEMA`.

    Args:
        folder: holds the files. Each is read, and every byte of it checked.
        copy: a file to take the rows of unchanged files from, and to write or replace where many were parsed.

    Raises:
        InputError: there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(str(root), "no such folder of records")
    names = sorted(path.name for path in root.glob("*.parquet") if not path.name.startswith("."))
    parts = [[root / name for name in names[start : start + BATCH]] for start in range(0, len(names), BATCH)]
    kept = record_copy.load(Path(copy)) if copy is not None else record_copy.NOTHING
    with ThreadPoolExecutor(max_workers=2) as threads:
        batches = list(threads.map(partial(_read_batch, kept=kept), parts))
    table = pa.concat_tables([ENCODED.empty_table(), *(table for batch in batches for table in batch.tables)])
    table = table.unify_dictionaries()
    bad = [error for batch in batches for error in batch.bad]
    if copy is not None and not bad and sum(batch.parsed for batch in batches) >= WORTH_A_COPY:
        record_copy.save(Path(copy), table, [size for batch in batches for size in batch.sizes])
    return table, bad


def _read_batch(paths: Sequence[Path], kept: Copy) -> _Batch:
    found = [_attempt(_read_file, path, kept) for path in paths]
    table = _joined(found)
    try:  # as one, for many small tables take long to look at
        checked(table, paths[0])
    except RecordError:
        found = [_attempt(_check_file, file, path) for file, path in zip(found, paths, strict=True)]
        table = _joined(found)
    files = [file for file in found if isinstance(file, _File)]
    return _Batch(
        tables=_in_order(files, _encoded(table), kept),
        sizes=[(file.seal, file.size) for file in files],
        parsed=sum(file.rows is not None for file in files),
        bad=[error for error in found if isinstance(error, RecordError)],
    )


def _attempt(step: Callable[..., Any], given: Any, *more: Any) -> Any:
    """What a step makes of what the one before gave, or the first error of any."""
    if isinstance(given, RecordError):
        return given
    try:
        return step(given, *more)
    except RecordError as error:
        return error


def _read_file(path: Path, kept: Copy) -> _File:
    content = whole(path)
    seal = seal_of(content)
    if seal in kept.places:
        return _File(seal, kept.places[seal][1], None)
    table = rows(content, path)
    return _File(seal, table.num_rows, table)


def _check_file(file: _File, path: Path) -> _File:
    if file.rows is not None:
        checked(file.rows, path)
    return file


def _joined(found: Sequence[_File | RecordError]) -> pa.Table:
    """The rows that were parsed."""
    tables = [file.rows for file in found if isinstance(file, _File) and file.rows is not None]
    if any(_is_encoded(table) for table in tables):
        # In as many pieces as files: to put them together is to follow indices which nobody has checked yet.
        return pa.concat_tables(map(_encoded, tables))
    return pa.concat_tables([SCHEMA.empty_table(), *tables]).combine_chunks()


def _is_encoded(table: pa.Table) -> bool:
    return bool(pa.types.is_dictionary(table.column(TEXT[0]).type))


def _encoded(table: pa.Table) -> pa.Table:
    if _is_encoded(table):
        return table
    columns = zip(table.column_names, table.columns, strict=True)
    arrays = [column.dictionary_encode() if name in TEXT else column for name, column in columns]
    return pa.Table.from_arrays(arrays, schema=ENCODED)


def _in_order(files: Sequence[_File], parsed: pa.Table, kept: Copy) -> list[pa.Table]:
    """The rows of files from the table of what was parsed and from the copy, in as few pieces as there can be."""
    pieces: list[tuple[pa.Table, int, int]] = []
    used = 0
    for file in files:
        if file.rows is None:
            table, start = kept.rows, kept.places[file.seal][0]
        else:
            table, start = parsed, used
            used += file.size
        end = start + file.size
        if pieces and pieces[-1][0] is table and pieces[-1][2] == start:
            start = pieces.pop()[1]
        pieces.append((table, start, end))
    return [table.slice(start, end - start) for table, start, end in pieces]
