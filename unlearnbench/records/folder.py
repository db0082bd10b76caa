"""Which record files of a folder count. Replaced and damaged ones are moved aside, never deleted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from unlearnbench.records.bounds import LARGEST_FILE, LARGEST_FOOTER, open_record, schema_error
from unlearnbench.records.reading import schema_version
from unlearnbench.records.schema import CELL, NewerRecordError, RecordError
from unlearnbench.settings.scenario import canonical
from unlearnbench.suite.plan import Cell, Plan
from unlearnbench.system import canonical_json, regular_files
from unlearnbench.system.errors import InputError, UnreadableError
from unlearnbench.system.parquet_files import parse, read_sealed


class SetApart(NamedTuple):
    """The files that were moved: how many were stale, and the names of the damaged ones."""

    stale: int
    damaged: list[str]


def is_intact(path: str | os.PathLike[str]) -> bool:
    """Whether a record file is complete, unchanged since it was written, and of a schema that can be read.

    Raises:
        NewerRecordError: a later version of unlearnbench wrote it, so it must not be replaced.
        UnreadableError: it exists but can't be read, so it must not be replaced either.
    """
    try:
        content = read_sealed(path, LARGEST_FILE)
        if schema_version(content) is not None:
            return True
        error = schema_error(content, parse(content, most_footer=LARGEST_FOOTER), Path(path))
    except (OSError, ValueError, pa.ArrowException):
        return False
    if isinstance(error, NewerRecordError):
        raise error
    return False


def names_in(folder: Path) -> set[str]:
    """All names in a folder; none if it does not exist. Raises UnreadableError if it can't be listed."""
    try:
        return set(regular_files.listing(folder))
    except FileNotFoundError:
        return set()


def set_apart(folder: Path, plan: Plan) -> SetApart:
    """Move records that must not be averaged with those of a plan into `folder`/stale and `folder`/damaged.

    A record is stale if its cell is planned but was computed from other code, data or parameters, or under another
    protocol. Records of cells outside the plan stay, whatever their protocol; so do those of a newer schema and those
    that can't be read.
    """
    planned = {cell.key for cell in plan.cells}
    there = sorted(name for name in names_in(folder) if name.endswith(".parquet"))  # names sort faster than paths
    outside = [folder / name for name in there if name.split(".")[0] not in planned]
    if not outside:
        return SetApart(0, [])
    cells, params = set(), dict[int, str]()
    for cell in plan.cells:
        cells.add(identity(cell, params))
    stale, damaged = 0, []
    with ThreadPoolExecutor(max_workers=2) as threads:
        for path, found in zip(outside, threads.map(_first_row, outside), strict=True):
            if isinstance(found, InputError):
                continue
            if found is None:
                damaged.append(move(path, "damaged").name)
            elif tuple(found[name] for name in CELL) in cells:
                stale += 1
                move(path, "stale")
    return SetApart(stale, damaged)


def first_rows(folder: Path, files: Sequence[str], column: str) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The identity of the cell in each record file, and one more column. Files that can't be read are left out."""
    with ThreadPoolExecutor(max_workers=2) as threads:
        for found in threads.map(lambda name: _first_row(folder / name, column), files):
            if isinstance(found, Mapping):
                yield tuple(found[name] for name in CELL), found[column]


def move(path: Path, where: str) -> Path:
    """Move a record file into a subfolder, where leaderboards ignore it, without overwriting one of the same name."""
    folder = path.parent / where
    folder.mkdir(exist_ok=True)
    names = chain([path.name], (f"{path.stem}.{number}{path.suffix}" for number in count(2)))
    target = next(folder / name for name in names if not os.path.lexists(folder / name))
    path.replace(target)
    return target


def identity(cell: Cell, params: dict[int, str]) -> tuple[Any, ...]:
    """The values of `CELL` in the records of a cell. `params` caches the texts of parameters between calls."""
    dataset = cell.setting.dataset
    if id(dataset) not in params:
        params[id(dataset)] = canonical_json.dumps(canonical(dataset.params))
    text = params[id(dataset)]
    names = (cell.setting.suite, cell.experiment, dataset.info.name, text, cell.scenario_id)
    return (*names, cell.method_id, cell.attack_id, cell.seed)


def _first_row(path: Path, column: str = "protocol_version") -> Mapping[str, Any] | InputError | None:
    """The identity of the cell in a record file, and one more column. None if the file is damaged or not a record; the
    error if it has a newer schema or can't be read."""
    try:
        rows = open_record(path).reader().read_row_group(0, columns=[*CELL, column], use_threads=False)
        rows.validate(full=True)
        found: Mapping[str, Any] = rows.slice(0, 1).to_pylist()[0]
    except (NewerRecordError, UnreadableError) as error:
        return error
    except (RecordError, OSError, ValueError, IndexError, MemoryError, pa.ArrowException):
        return None
    return found
