"""Opens record files: bounds how large each may become in memory before any of its data is read.

The seal of a record protects it from accidents, not from people: anybody can write a small file with a valid seal that
fills the memory when it is read. All code that reads records therefore opens them here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unlearnbench.records.parquet_pages import pages
from unlearnbench.records.schema import (
    MOST_ROWS,
    MOST_SCORES,
    READABLE,
    SCHEMA,
    SCHEMA_VERSION,
    SCHEMAS,
    SCORES,
    NewerRecordError,
    RecordError,
    texts,
)
from unlearnbench.system.parquet_files import parse, read_sealed
from unlearnbench.system.printing import one_line

LARGEST_FILE = 16 * 2**20  # bytes; the largest of the published records has 18,525
LARGEST_FOOTER = 64 * 2**10  # bytes; the published records have 10,426, and later versions may have more columns
LARGEST_TABLE = 64 * 2**20  # bytes of a decompressed file, and of its texts if each is counted in every row
LONGEST_TEXT = 20_000  # bytes of one value
CODECS = ("UNCOMPRESSED", "ZSTD")  # what records are and were written with

_PLAINLY = 4 * 2**20  # bytes that texts may take when they are copied into every row
_LISTS = tuple(f"{name}.list.element" for name in SCORES)  # as Parquet names them
_LOOKED_AT = 1_000  # rows in which the version of an unknown file is looked for


class Opened(NamedTuple):
    """A record file whose columns are those of a known version; only its footer has been read.

    Attributes:
        size: bytes of its decompressed columns.
    """

    content: bytes
    file: pq.ParquetFile
    version: int
    size: int

    @property
    def repeats(self) -> bool:
        """Whether its texts could fill the memory if they were copied into every row."""
        return bool(self.size * self.file.metadata.num_rows > _PLAINLY)

    def reader(self, encoded: bool = False) -> pq.ParquetFile:
        """The file to read from, with dictionary-encoded texts if asked for, or if plain ones could fill the memory."""
        return parse(self.content, texts(self.version)) if encoded or self.repeats else self.file


def open_record(path: str | os.PathLike[str], every_page: bool = False) -> Opened:
    """Open a sealed record file and check its bounds.

    Args:
        every_page: whether to check the header of every page as well: in a file from a stranger the pages may
            contradict the footer.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: it is larger than any record, or does not have the columns of a record.
        ValueError: it is damaged or was not written by unlearnbench (or one of pyarrow's errors).
        OSError: it can't be read.
    """
    content = read_sealed(path, LARGEST_FILE)
    file = parse(content, most_footer=LARGEST_FOOTER)
    version = version_of_schema(file.schema_arrow)
    if version is None:
        raise schema_error(content, file, Path(path))
    return Opened(content, file, version, _bounded(file.metadata, content, Path(path), every_page))


def version_of_schema(schema: pa.Schema) -> int | None:
    """The schema version that has exactly these columns, or None."""
    return next((version for version, known in SCHEMAS.items() if schema.equals(known)), None)


def refuse_long_texts(table: pa.Table, path: Path) -> None:
    """Refuse texts that are stored once but repeated in so many rows that they would fill the memory.

    Args:
        table: as read, with dictionary-encoded texts and validated indices.

    Raises:
        RecordError: one text, or all of them together, are longer than in any record.
    """
    total = 0
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not pa.types.is_dictionary(column.type):
            continue
        for chunk in column.chunks:
            lengths = pc.binary_length(chunk.dictionary)
            longest = pc.max(lengths).as_py() or 0
            if longest > LONGEST_TEXT:
                what = f"column '{name}' holds a text of {longest:,} bytes; at most {LONGEST_TEXT:,}"
                raise RecordError(str(path), what)
            total += pc.sum(lengths.take(chunk.indices)).as_py() or 0
    if total > LARGEST_TABLE:
        raise RecordError(str(path), f"{total:,} bytes of text; a record has at most {LARGEST_TABLE:,}")


def _bounded(about: pq.FileMetaData, content: bytes, path: Path, every_page: bool) -> int:
    """The bytes of all decompressed columns. Raises RecordError if they hold more than a record can."""
    if about.num_row_groups > 1 or about.num_rows > MOST_ROWS:
        what = f"{about.num_rows:,} rows in {about.num_row_groups:,} groups; a record has at most {MOST_ROWS:,} in one"
        raise RecordError(str(path), what)
    total = 0
    for group in map(about.row_group, range(about.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            is_list = column.path_in_schema in _LISTS
            where = f"column '{one_line(column.path_in_schema, 60)}'"
            if (codec := column.compression) not in CODECS:
                raise RecordError(str(path), f"{where} is compressed by {codec}; records never are")
            values, most = column.num_values, about.num_rows + (MOST_SCORES if is_list else 0)
            if group.num_rows != about.num_rows or not about.num_rows <= values <= most:
                raise RecordError(str(path), f"{where} claims {values:,} values in {about.num_rows:,} rows")
            if values and (every_page or codec != "UNCOMPRESSED" or is_list):
                found = pages(content, column)
                total += found.size
                if found.values != values:  # for lists a reader believes the pages
                    raise RecordError(str(path), f"{where} holds {found.values:,} values, not {values:,}")
            else:
                total += max(column.total_compressed_size, 0)
            if total > LARGEST_TABLE:
                raise RecordError(str(path), f"over {LARGEST_TABLE:,} bytes once decompressed; no record is so large")
    return total


# --- files of other columns ------------------------------------------------------------------------------------------


def schema_error(content: bytes, file: pq.ParquetFile, path: Path) -> RecordError:
    """The error that says how a file's columns differ from those of its version, or that the version is newer.

    Args:
        content: the bytes that `file` was parsed from.
    """
    found: pa.Schema = file.schema_arrow
    wanted, said = SCHEMA, _said_versions(content, file)
    if said is not None:
        if len(said) != 1 or not said <= set(SCHEMAS):
            return version_error(said, path)
        wanted = SCHEMAS[next(iter(said))]
    missing = [name for name in wanted.names if name not in found.names]
    if missing:
        return RecordError(str(path), f"not a record file: column '{missing[0]}' is missing")
    unknown = [name for name in found.names if name not in wanted.names]
    if unknown:
        return RecordError(str(path), f"not a record file: unknown column '{one_line(unknown[0], 60)}'")
    return RecordError(str(path), "not a record file: its columns have other types or another order")


def version_error(versions: Iterable[int], path: Path) -> RecordError:
    """The error for rows whose version is unknown, or whose columns are not those of the version that they state."""
    said = sorted(set(versions))
    listed = ", ".join(map(str, said[:3])) + (", ..." if len(said) > 3 else "")
    if len(said) == 1 and said[0] in SCHEMAS:
        return RecordError(str(path), f"schema_version {listed}, but its columns are those of another version")
    kind = NewerRecordError if said and said[0] > SCHEMA_VERSION else RecordError
    return kind(str(path), f"schema_version {listed or 'none'}, this version reads {READABLE}")


def _said_versions(content: bytes, file: pq.ParquetFile) -> set[int] | None:
    """The versions stated in the first rows of any file; None if it has no such column that is safe to read.

    The number of rows and columns of later versions is not known here, so only some rows of one plain column are read.
    """
    fields = [field for field in file.schema_arrow if field.name == "schema_version"]
    if len(fields) != 1 or fields[0].type != pa.int64():
        return None
    if not file.metadata.num_row_groups:
        return set()
    group = file.metadata.row_group(0)
    (column,) = (each for each in map(group.column, range(group.num_columns)) if each.path_in_schema == fields[0].name)
    if column.compression not in CODECS or pages(content, column).size > LARGEST_TABLE:
        return None
    rows = file.iter_batches(batch_size=_LOOKED_AT, row_groups=[0], columns=["schema_version"])
    first = next(rows, None)
    return set() if first is None else {value for value in first.column(0).to_pylist() if value is not None}
