"""Reads records from others: a folder is accepted as a whole, with every rule checked, or refused with file and reason.

A record's seal protects against accidents, not against people: anybody can write a file with a valid one. So nothing
is taken on trust here. What a file claims is bounded before it is read (records/bounds.py), its columns are compared
with the schema, and values that cannot come from a run are refused (plausibility.py).
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from unlearnbench.records import writing
from unlearnbench.records.bounds import open_record, refuse_long_texts
from unlearnbench.records.reading import with_later_columns
from unlearnbench.records.schema import CELL, SCHEMA, RecordError
from unlearnbench.settings.naming import dataset_id
from unlearnbench.submissions.plausibility import MEASURED, contradiction
from unlearnbench.system.errors import InputError, records_of, unreadable
from unlearnbench.system.printing import one_line

MOST_FILES = 1_000_000  # the most cells that a suite may have
_NOT_RECORDS = ("stale", "damaged")  # where a run puts what does not count

_NAME = re.compile(r"(?P<key>[0-9a-f]{64})(?P<failed>\.failed)?\.parquet")
_IDENTITY = tuple(name for name in CELL if name != "scenario_id")


@dataclass(frozen=True, eq=False)
class Submitted:
    """One cell as somebody recorded it.

    Attributes:
        folder: the results folder that it came in, as it was named.
        common: the columns that are the same in every row.
        measured: the other columns of every row.
        about: further facts from the file's metadata (`suite_seed`).
        classes: the names of the dataset's classes, from there too.
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
        """Whether the cell was tried without a result."""
        return self.status in ("failed", "timeout")

    @property
    def is_timing(self) -> bool:
        """Whether it measures the time of an erasure and nothing else."""
        # A record that measures more is another record of the cell it names, whatever its name.
        return self.common["attack"] is None and all(each["metric"] == "unlearn_seconds" for each in self.measured)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of its record file."""
        return [{**self.common, **each} for each in self.measured]

    @property
    def identity(self) -> tuple[Any, ...]:
        """What identifies the cell, whatever it was computed from."""
        names = (self.common[name] for name in _IDENTITY)
        return (*names, scenario_name(self.common["scenario_id"]), self.is_timing)

    @property
    def what(self) -> str:
        """The cell's identity in words."""
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


@dataclass(frozen=True)
class SubmittedFolder:
    """The content of a results folder: its cells, and the names of other files, which were not read."""

    path: Path
    cells: list[Submitted]
    left_out: list[str]


def scenario_name(name: str) -> str:
    """A scenario's name without the number of models that were computed together, which memory decides."""
    return ",".join(part for part in name.split(",") if not part.startswith("replicas=")) or "default"


def read_folder(folder: Path) -> SubmittedFolder:
    """All record files of a results folder, in the order of their names.

    Raises:
        InputError: there is no folder `records`, or a file breaks a rule (the first one, as `RecordError`).
    """
    place = folder / "records"
    if place.is_symlink():
        raise InputError(str(place), "a link; give a folder that holds its records itself")
    records_of(folder)
    try:
        with os.scandir(place) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        raise unreadable(error, place) from error
    if len(names) > MOST_FILES:
        raise InputError(str(place), f"over {MOST_FILES:,} files")
    is_record = {name: name.lower().endswith(".parquet") and not name.startswith(".") for name in names}
    cells = [read_cell(place / name, folder) for name in names if is_record[name]]
    return SubmittedFolder(folder, cells, [name for name in names if not is_record[name] and name not in _NOT_RECORDS])


def read_cell(file: Path, folder: Path) -> Submitted:
    """Read a record file from the results folder `folder`. Raises RecordError if it breaks a rule."""
    name = _NAME.fullmatch(file.name)
    if name is None:
        raise RecordError(str(file), "not the name of a record: its key, then .parquet or .failed.parquet")
    try:
        _refuse_special(file)
        opened = open_record(file, every_page=True)
        version = opened.version
        about = _about(opened.file.metadata.metadata or {}, file)
        classes = writing.class_names(opened.file.metadata.metadata, file)
        table = opened.reader(encoded=True).read(use_threads=False)
        table.validate(full=True)  # before its dictionary indices are used
        refuse_long_texts(table, file)
        table = with_later_columns(table, version)
        rows = writing.check(table.cast(SCHEMA).to_pylist(), file)
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
    """Refuse links, which lead elsewhere, and pipes and devices, which never end."""
    found = file.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise RecordError(str(file), "a link; a record is a file of its own")
    if not stat.S_ISREG(found.st_mode):
        raise RecordError(str(file), "not an ordinary file")


def _about(metadata: Mapping[bytes, bytes], file: Path) -> dict[str, int]:
    """Facts from the file's metadata; records of older versions have none."""
    text = metadata.get(writing.ABOUT.encode())
    if text is None:
        return {}
    value = json.loads(text) if len(text) <= 1_000 else None
    if isinstance(value, dict) and list(value) == ["suite_seed"]:
        seed = value["suite_seed"]
        if type(seed) is int and 0 <= seed < 2**63:
            return {"suite_seed": seed}
    raise RecordError(str(file), f"unknown metadata {one_line(repr(text), 60)}")
