"""A copy of a record folder's rows in one file, for parsing thousands of small ones takes most of a leaderboard's time.

Nothing depends on it. A record file is read and checked as ever; only then, if its seal is one that the copy knows, its
rows are taken from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path

import pyarrow as pa

from unlearnbench.parquet_files import parse, read_sealed, write_parquet
from unlearnbench.record_reading import checked
from unlearnbench.record_schema import ENCODED, TEXT, RecordError

PLACE = Path("receipts", "rows.parquet")
"""Where a result folder has its copy: beside the receipts, for both are of one machine and not published."""

_ABOUT = "unlearnbench"
_READERS = ("parquet_files", "record_copy", "record_reading", "record_schema", "record_tables")


@dataclass(frozen=True)
class Copy:
    """Rows of record files.

    Attributes:
        rows: with the schema `ENCODED`.
        places: by a file's seal the first of its rows, and how many there are.
    """

    rows: pa.Table
    places: Mapping[str, tuple[int, int]]


NOTHING = Copy(ENCODED.empty_table(), {})


def load(path: Path) -> Copy:
    """The copy in a file; nothing if there is none, or none that this code would have made."""
    try:
        file = parse(read_sealed(path), TEXT)
        about = json.loads(file.metadata.metadata[_ABOUT.encode()])
        if about["reader"] != _reader():
            return NOTHING
        rows = checked(pa.Table.from_arrays(file.read(use_threads=False).columns, schema=ENCODED), path)
        ends = accumulate(size for _, size in about["files"])
        places = {seal: (end - size, size) for (seal, size), end in zip(about["files"], ends, strict=True)}
        return Copy(rows, places)
    except (OSError, ValueError, KeyError, TypeError, RecordError, pa.ArrowException):
        return NOTHING


def save(path: Path, rows: pa.Table, files: Sequence[tuple[str, int]]) -> None:
    """Write or replace a copy: the rows of files, one after the other, and each file's seal and number of rows."""
    with contextlib.suppress(OSError):  # without it the next reader only takes longer
        write_parquet(rows, path, {_ABOUT: json.dumps({"reader": _reader(), "files": files})})


@cache
def _reader() -> str:
    """What code took the rows from the files: other code might refuse them, or read them otherwise."""
    sources = [Path(__file__).with_name(f"{name}.py").read_bytes() for name in _READERS]
    return hashlib.sha256(b"".join([pa.__version__.encode(), *sources])).hexdigest()
