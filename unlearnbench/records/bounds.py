"""Opens record files: how large one may become is bounded by what its end says, before anything of it is read.

The seal of a record protects it from accidents and not from people: anybody can write a small file with a valid one
that fills the memory when it is read. So whoever reads records opens them here.
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
LARGEST_TABLE = 64 * 2**20  # bytes of a file once decompressed, and of its texts counted in every row where they stand
LONGEST_TEXT = 20_000  # bytes of one value
CODECS = ("UNCOMPRESSED", "ZSTD")  # what records are and were written with

_PLAINLY = 4 * 2**20  # bytes that texts may take if each is read as often as it stands in a row
_LISTS = tuple(f"{name}.list.element" for name in SCORES)  # as Parquet names them
_LOOKED_AT = 1_000  # rows in which an unknown file says its version


class Opened(NamedTuple):
    """A record file whose columns are those of a version, with nothing read but its end.

    Attributes:
        size: bytes of its columns once decompressed.
    """

    content: bytes
    file: pq.ParquetFile
    version: int
    size: int

    @property
    def repeats(self) -> bool:
        """Whether its texts might fill the memory, were each read as often as it stands in a row."""
        return bool(self.size * self.file.metadata.num_rows > _PLAINLY)

    def reader(self, encoded: bool = False) -> pq.ParquetFile:
        """The file to be read; its texts dictionary-encoded if that is asked for, or if they might fill the memory."""
        return parse(self.content, texts(self.version)) if encoded or self.repeats else self.file


def open_record(path: str | os.PathLike[str], every_page: bool = False) -> Opened:
    """A sealed record file, bounded.

    Args:
        every_page: whether to look at each page of each column as well: what a stranger wrote may say there other
            things than at its end.

    Raises:
        FileNotFoundError: there is none.
        RecordError: it is larger than any record, or its columns are not those of a record.
        ValueError: it is damaged, or not written by unlearnbench (also as pyarrow's errors).
        OSError: it can't be read.
    """
    content = read_sealed(path, LARGEST_FILE)
    file = parse(content, most_footer=LARGEST_FOOTER)
    version = version_of_schema(file.schema_arrow)
    if version is None:
        raise schema_error(content, file, Path(path))
    return Opened(content, file, version, _bounded(file.metadata, content, Path(path), every_page))


def version_of_schema(schema: pa.Schema) -> int | None:
    """The version that has these columns, if any."""
    return next((version for version, known in SCHEMAS.items() if schema.equals(known)), None)


def refuse_long_texts(table: pa.Table, path: Path) -> None:
    """A text that stands once in the file and in every row of the table can be as large as a bomb.

    Args:
        table: as it was read, its texts dictionary-encoded and its indices validated.

    Raises:
        RecordError: a text, or all together, are longer than in any record.
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
    """The bytes of all columns once decompressed; RecordError if that, or what they hold, is more than in a record."""
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
                if found.values != values:  # of a list a reader believes the pages
                    raise RecordError(str(path), f"{where} holds {found.values:,} values, not {values:,}")
            else:
                total += max(column.total_compressed_size, 0)
            if total > LARGEST_TABLE:
                raise RecordError(str(path), f"over {LARGEST_TABLE:,} bytes once decompressed; no record is so large")
    return total


# --- files of other columns ------------------------------------------------------------------------------------------


def schema_error(content: bytes, file: pq.ParquetFile, path: Path) -> RecordError:
    """In what a file's columns are not those of the version that it says, or that it is of a newer one.

    Args:
        content: what `file` was parsed from.
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
    """Of rows that say a version which is none, or whose columns they have not."""
    said = sorted(set(versions))
    listed = ", ".join(map(str, said[:3])) + (", ..." if len(said) > 3 else "")
    if len(said) == 1 and said[0] in SCHEMAS:
        return RecordError(str(path), f"schema_version {listed}, but its columns are those of another version")
    kind = NewerRecordError if said and said[0] > SCHEMA_VERSION else RecordError
    return kind(str(path), f"schema_version {listed or 'none'}, this version reads {READABLE}")


def _said_versions(content: bytes, file: pq.ParquetFile) -> set[int] | None:
    """The versions that the first rows of any file say; None where it has no column for them that is safe to read.

    How many rows and columns a later version may have is not known here. So of any file only some rows are read, of one
    plain column.
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
