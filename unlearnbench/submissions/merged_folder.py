"""Writes the results folder of merged records, completely or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from unlearnbench.records import writing
from unlearnbench.report.files import write_leaderboard
from unlearnbench.submissions.merge import Merged
from unlearnbench.submissions.reading import Submitted
from unlearnbench.system.errors import InputError, unreadable, unwritable
from unlearnbench.system.parquet_files import sync_folder
from unlearnbench.system.version import PROTOCOL_VERSION


def write(merged: Merged, out: Path) -> None:
    """Make the results folder `out`, completely or not at all: records and their leaderboard.

    Raises:
        InputError: it can't be written.
    """
    target = out.resolve()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        _write_records(merged, temporary)
        temporary.replace(target)  # also in the place of an empty folder
        sync_folder(target.parent)
    except OSError as error:
        raise unwritable(error, out) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_target(out: Path, folders: Iterable[Path]) -> None:
    """Refuse a target that is not empty, or that lies in one of the folders that are read."""
    target = out.resolve()
    try:
        if target.exists() and not target.is_dir():
            raise InputError(str(out), "not a folder")
        if target.is_dir() and next(target.iterdir(), None) is not None:
            raise InputError(str(out), "is not empty; name a folder that is not there yet, or an empty one")
    except OSError as error:
        raise unreadable(error, out) from error
    for folder in folders:
        if target.is_relative_to(folder.resolve()):
            raise InputError(str(out), f"lies in {folder}, which is only read; name another folder")


def _write_records(merged: Merged, folder: Path) -> None:
    places = {number: _place(folder, number) for number in (*merged.kept, PROTOCOL_VERSION)}
    for number, cells in merged.kept.items():
        _write_cells(cells, places[number] / "records")
    stale = defaultdict[int, list[Submitted]](list)
    for each in merged.apart:
        stale[each.cell.common["protocol_version"]].append(each.cell)
    for number, cells in stale.items():
        _write_cells(cells, places[number] / "records" / "stale")
    for number, cells in merged.kept.items():
        if cells:
            write_leaderboard(places[number] / "records", places[number])


def _write_cells(cells: Iterable[Submitted], folder: Path) -> None:
    """Write cells anew from checked values: not a byte of a submitted file is copied."""
    for cell in cells:
        writing.write(cell.rows, folder / cell.file.name, cell.about, cell.classes)


def _place(folder: Path, protocol: int) -> Path:
    """The results folder of a protocol: for this version's protocol the folder itself."""
    return folder if protocol == PROTOCOL_VERSION else folder / f"protocol_{protocol}"
