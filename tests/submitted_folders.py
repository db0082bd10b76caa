"""Results folders as several people would hand them in: cells under their keys, and what they come to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from sample_records import row

from unlearnbench.records import writing as records
from unlearnbench.records.schema import SCHEMA
from unlearnbench.submissions.plausibility import MEASURED
from unlearnbench.submissions.reading import Submitted

Cell = list[dict[str, Any]]


def key(name: str) -> str:
    """A key as real ones look."""
    return hashlib.sha256(name.encode()).hexdigest()


def cell(method: str, seed: int, accuracy: float | None = 0.5, code: str = "", **other: Any) -> Cell:
    """A finished cell of two metrics; `code` is what else its key depends on."""
    same = {"cell_key": key(f"{method} {seed} {other.get('attack')} {code}"), **other}
    return [row(method, seed, "accuracy", accuracy, **same), row(method, seed, "gradient_steps", 20.0, **same)]


def failure(method: str, seed: int, error: str = "OutOfMemoryError", code: str = "", **other: Any) -> Cell:
    same = {"cell_key": key(f"{method} {seed} {other.get('attack')} {code}"), "status": "failed", "error": error}
    return [row(method, seed, "status", None, n_samples=None, direction="", **{**same, **other})]


def file_of(folder: Path, made: Cell) -> Path:
    """Where a cell's record lies in a results folder."""
    end = ".failed.parquet" if made[0]["status"] in ("failed", "timeout") else ".parquet"
    return folder / "records" / f"{made[0]['cell_key']}{end}"


def hand_in(folder: Path, cells: Iterable[Cell]) -> Path:
    """The cells as a results folder."""
    (folder / "records").mkdir(parents=True, exist_ok=True)
    for made in cells:
        records.write(made, file_of(folder, made))
    return folder


def taken(made: Cell, folder: str) -> Submitted:
    """The same in memory, as `read_cell` gives it."""
    place = Path(folder)
    rows = records.check(made, place)
    common = {name: value for name, value in rows[0].items() if name not in MEASURED}
    measured = tuple({name: each[name] for name in MEASURED} for each in rows)
    return Submitted(place, file_of(place, made), common, measured, {})


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as a record's table, with nothing checked."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def values(folder: Path) -> list[dict[str, Any]]:
    """All rows of a folder's records but when they were made and by whom, in the order of keys."""
    found = []
    for path in sorted((folder / "records").glob("*.parquet")):
        for each in records.read(path).to_pylist():
            found.append({name: value for name, value in each.items() if name not in ("started_at", "git_sha")})
    return found


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content; empty if there is no folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
