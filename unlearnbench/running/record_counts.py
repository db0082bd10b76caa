"""Counts a run's cells on disk: without a record there is no result, whatever was computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from unlearnbench.records import cell_rows
from unlearnbench.records.folder import names_in
from unlearnbench.running.options import Summary
from unlearnbench.suite.plan import Cell, Plan
from unlearnbench.system.printing import complain

Became = Literal["done", "cached", "failed", "skipped"]


def tally(
    plan: Plan, folder: Path, became: Mapping[str, Became], computed: Sequence[Cell], interrupted: bool, force: bool
) -> Summary:
    """The summary of a run; prints a line on stderr if records that it wrote or found are gone.

    Args:
        folder: the record folder. If it is moved or removed during the run, a new one holds the later records.
        became: the status of the cells that the run got to, by key.
        computed: the cells that this run had to compute.
        force: whether records of an earlier run may exist.
    """
    there, counts = names_in(folder), Counter[str]()
    for cell in plan.cells:
        what = became.get(cell.key) or ("done" if interrupted and not force and _is_result(cell, there) else None)
        if what is not None:  # an interrupt may come between a record and its count
            is_there = _is_result(cell, there) or cell_rows.file_name(cell, failed=True) in there
            counts[what if is_there else "lost"] += 1
    lost = 0 if interrupted else counts["lost"]  # cells that are skipped may not have been recorded yet
    if lost:
        gone = f"{lost} of the records that should be here are gone: the folder was moved, removed or emptied meanwhile"
        complain(f"error: {folder}: {gone}; what was computed is in the store: run the same command again")
    return Summary(
        plan, computed, len(plan.cells), counts["done"], counts["cached"], counts["failed"], counts["skipped"], lost,
        interrupted,
    )  # fmt: skip


def _is_result(cell: Cell, there: set[str]) -> bool:
    return cell_rows.file_name(cell) in there
