"""Records that others wrote: a folder is taken whole, every rule checked, or refused with the file and the reason.

The seal of a record protects it from accidents and not from people: anybody can write a file with a valid one. So here
nothing is believed. What a file claims is bounded before it is parsed, its columns are those of a schema and not only
said to be, and values that can't come from a run are refused.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unlearnbench import records
from unlearnbench.errors import InputError, records_of
from unlearnbench.naming import dataset_id
from unlearnbench.page_sizes import pages
from unlearnbench.parquet_files import parse, read_sealed
from unlearnbench.plausible import MEASURED, contradiction
from unlearnbench.printing import one_line
from unlearnbench.record_reading import schema_error, texts, version_of_schema, with_later_columns
from unlearnbench.record_schema import MOST_SCORES, SCHEMA, SCORES, RecordError

LARGEST_FILE = 16 * 2**20  # bytes; the largest of the published records has 18,525
MOST_FILES = 1_000_000  # as many as a suite has cells
MOST_ROWS = 100_000
LONGEST_TEXT = 20_000  # bytes of one value
LARGEST_TABLE = 64 * 2**20  # bytes of a file once decompressed, and of its texts counted in every row where they stand
CODECS = ("UNCOMPRESSED", "ZSTD")  # what records are and were written with
BELOW = ("stale", "damaged")  # where a run puts what does not count

_NAME = re.compile(r"(?P<key>[0-9a-f]{64})(?P<failed>\.failed)?\.parquet")
_TEXTS = tuple(each.name for each in SCHEMA if each.type == pa.string())
_LISTS = tuple(f"{name}.list.element" for name in SCORES)  # as Parquet names them
_IDENTITY = ("suite", "experiment", "dataset", "dataset_params", "method_id", "attack_id", "seed")


@dataclass(frozen=True, eq=False)
class Submitted:
    """One cell as somebody recorded it.

    Attributes:
        folder: the results folder that it came in, as it was named.
        common: the columns that are the same in every row.
        measured: of every row the others.
        about: what the file's metadata says besides (`suite_seed`).
        classes: and the names of the dataset's classes.
    """

    folder: Path
    file: Path
    common: Mapping[str, Any]
    measured: tuple[Mapping[str, Any], ...]
    about: Mapping[str, int]
    classes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return str(self.common["cell_key"])

    @property
    def status(self) -> str:
        return str(self.common["status"])

    @property
    def is_failure(self) -> bool:
        """Whether somebody tried and got no result."""
        return self.status in ("failed", "timeout")

    @property
    def is_timing(self) -> bool:
        """Whether it measures the time of an erasure and nothing else."""
        return self.common["attack"] is None and any(each["metric"] == "unlearn_seconds" for each in self.measured)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of its record file."""
        return [{**self.common, **each} for each in self.measured]

    @property
    def identity(self) -> tuple[Any, ...]:
        """What the cell is called, whatever it was computed from."""
        names = (self.common[name] for name in _IDENTITY)
        return (*names, scenario_name(self.common["scenario_id"]), self.is_timing)

    @property
    def what(self) -> str:
        """The same for people."""
        dataset = dataset_id(self.common["dataset"], json.loads(self.common["dataset_params"]))
        parts = [self.common["experiment"], dataset, self.common["method_id"], self.common["attack_id"]]
        return " / ".join(one_line(part, 80) for part in parts if part is not None) + f" / seed {self.common['seed']}"

    @property
    def origin(self) -> dict[str, Any]:
        """Where the numbers come from."""
        common = self.common
        named = {name: common[name] for name in ("git_sha", "git_dirty", "device", "plugin_sha256")}
        versions = json.loads(common["versions"])
        return {"folder": str(self.folder), **named, "versions": versions, "started_at": self.started_at}

    @property
    def started_at(self) -> str:
        return str(self.common["started_at"].isoformat())


@dataclass
class Folder:
    """What a results folder holds: its cells, and the names of what is no record and was not looked at."""

    path: Path
    cells: list[Submitted] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def scenario_name(name: str) -> str:
    """A scenario's name without how many models were computed at a time, which memory decides."""
    return ",".join(part for part in name.split(",") if not part.startswith("replicas=")) or "default"


def read_folder(folder: Path) -> Folder:
    """All record files of a results folder, in the order of their names.

    Raises:
        InputError: there is no folder `records`, or the first file that breaks a rule (as `RecordError`).
    """
    place, found = folder / "records", Folder(folder)
    if place.is_symlink():
        raise InputError(str(place), "a link; give a folder that holds its records itself")
    records_of(folder)
    try:
        with os.scandir(place) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        raise InputError(str(place), f"can't be read: {error.strerror}") from error
    if len(names) > MOST_FILES:
        raise InputError(str(place), f"over {MOST_FILES:,} files")
    for name in names:
        if name.lower().endswith(".parquet") and not name.startswith("."):
            found.cells.append(read_cell(place / name, folder))
        elif name not in BELOW:
            found.left_out.append(name)
    return found


def read_cell(file: Path, folder: Path) -> Submitted:
    """A record file; `folder` is the results folder that it came in. Raises RecordError for what breaks a rule."""
    name = _NAME.fullmatch(file.name)
    if name is None:
        raise RecordError(str(file), "not the name of a record: its key, then .parquet or .failed.parquet")
    try:
        _refuse_special(file)
        content = read_sealed(file)
        parsed = parse(content)
        _refuse_bomb(parsed.metadata, content, file)
        version = version_of_schema(parsed.schema_arrow)
        if version is None:
            raise schema_error(parsed, file)
        about = _about(parsed.metadata.metadata or {}, file)
        classes = records.class_names(parsed.metadata.metadata, file)
        table = parse(content, texts(version)).read(use_threads=False)
        table.validate(full=True)  # before its indices are followed
        table = with_later_columns(table, version)
        _refuse_long(table, file)
        rows = records.check(table.cast(SCHEMA).to_pylist(), file)
    except RecordError:
        raise
    except (OSError, ValueError, OverflowError, MemoryError, RecursionError, pa.ArrowException) as error:
        what = one_line(str(error), 200) or type(error).__name__
        raise RecordError(str(file), f"not a readable record file ({what})") from error
    if rows[0]["schema_version"] != version:
        there = rows[0]["schema_version"]
        raise RecordError(str(file), f"schema_version {there}, but its columns are those of version {version}")
    wrong = contradiction(rows, name["key"], bool(name["failed"]))
    if wrong is not None:
        raise RecordError(str(file), wrong)
    common = {column: value for column, value in rows[0].items() if column not in MEASURED}
    measured = tuple({column: row[column] for column in MEASURED} for row in rows)
    return Submitted(folder, file, common, measured, about, classes)


# --- bounds ----------------------------------------------------------------------------------------------------------


def _refuse_special(file: Path) -> None:
    """Links lead elsewhere, and pipes and devices never end."""
    found = file.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise RecordError(str(file), "a link; a record is a file of its own")
    if not stat.S_ISREG(found.st_mode):
        raise RecordError(str(file), "not an ordinary file")
    if found.st_size > LARGEST_FILE:
        raise RecordError(str(file), f"{found.st_size:,} bytes; a record has at most {LARGEST_FILE:,}")


def _refuse_bomb(about: pq.FileMetaData, content: bytes, file: Path) -> None:
    """A small file that would become large when it is read."""
    if about.num_row_groups > 1 or about.num_rows > MOST_ROWS:
        what = f"{about.num_rows:,} rows in {about.num_row_groups:,} groups; a record has at most {MOST_ROWS:,} in one"
        raise RecordError(str(file), what)
    total = 0
    for group in map(about.row_group, range(about.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            where = f"column '{one_line(column.path_in_schema, 60)}'"
            if column.compression not in CODECS:
                raise RecordError(str(file), f"{where} is compressed by {column.compression}; records never are")
            is_list = column.path_in_schema in _LISTS
            fits = (
                group.num_rows <= column.num_values <= group.num_rows + MOST_SCORES
                if is_list
                else (column.num_values == group.num_rows)
            )
            if not fits or group.num_rows != about.num_rows:
                raise RecordError(str(file), f"{where} claims {column.num_values:,} values in {about.num_rows:,} rows")
            if (is_list and column.num_values) or column.compression != "UNCOMPRESSED":
                found = pages(content, column)
                total += found.size
                if is_list and found.values != column.num_values:  # of a list a reader believes the pages
                    raise RecordError(str(file), f"{where} holds {found.values:,} values, not {column.num_values:,}")
            if total > LARGEST_TABLE:
                raise RecordError(str(file), f"over {LARGEST_TABLE:,} bytes once decompressed; no record is so large")


def _refuse_long(table: pa.Table, file: Path) -> None:
    """A text that stands once in the file and in every row of the table can be as large as a bomb."""
    total = 0
    for name in _TEXTS:
        for chunk in table.column(name).chunks:
            lengths = pc.binary_length(chunk.dictionary)
            longest = pc.max(lengths).as_py() or 0
            if longest > LONGEST_TEXT:
                what = f"column '{name}' holds a text of {longest:,} bytes; at most {LONGEST_TEXT:,}"
                raise RecordError(str(file), what)
            total += pc.sum(lengths.take(chunk.indices)).as_py() or 0
    if total > LARGEST_TABLE:
        raise RecordError(str(file), f"{total:,} bytes of text; a record has at most {LARGEST_TABLE:,}")


def _about(metadata: Mapping[bytes, bytes], file: Path) -> dict[str, int]:
    """What the file says besides its columns; records of older versions say nothing."""
    text = metadata.get(records.ABOUT.encode())
    if text is None:
        return {}
    value = json.loads(text) if len(text) <= 1_000 else None
    if isinstance(value, dict) and list(value) == ["suite_seed"]:
        seed = value["suite_seed"]
        if type(seed) is int and 0 <= seed < 2**63:
            return {"suite_seed": seed}
    raise RecordError(str(file), f"unknown metadata {one_line(repr(text), 60)}")
