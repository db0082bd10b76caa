"""Keeps track of a run's cells: which stages each waits for, and its record once it is complete or has failed."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearnbench.records import cell_rows
from unlearnbench.running.progress import Progress
from unlearnbench.running.record_counts import Became
from unlearnbench.suite.plan import Cell
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import error_line
from unlearnbench.system.store import Store


class Ledger:
    """The cells that wait for a result.

    Args:
        results: the result folder.
        hardware: the hardware in use, for the records of failed cells.
        became: the final status of each cell, by its key; filled here.
    """

    def __init__(
        self, results: Path, store: Store, hardware: str, became: dict[str, Became], progress: Progress
    ) -> None:
        self._folder, self._errors = results / "records", results / "errors.log"
        self._store, self._hardware, self._became, self._progress = store, hardware, became, progress
        self._waiting: set[str] = set()
        self._cells_of: dict[str, list[Cell]] = defaultdict(list)
        self._values: dict[str, dict[str, Any]] = {}

    def add(self, cells: Iterable[Cell]) -> None:
        """Start waiting for these cells."""
        for cell in cells:
            self._waiting.add(cell.key)
            for key in cell.stages.values():
                self._cells_of[key].append(cell)

    def remove(self, cells: Iterable[Cell]) -> None:
        """Stop waiting for these cells: others replace them."""
        self._waiting -= {cell.key for cell in cells}

    def waiting_for(self, keys: Iterable[str]) -> list[Cell]:
        """The cells that wait for one of these stages."""
        cells = {cell.key: cell for key in keys for cell in self._cells_of[key] if cell.key in self._waiting}
        return list(cells.values())

    def keep(self, key: str, values: dict[str, Any]) -> None:
        """Keep what a stage has measured, so that it need not be read from the store."""
        self._values[key] = values

    def record(self, cell: Cell, name: str) -> None:
        """Write the record of a cell that waits; `name` identifies it in messages.

        Raises:
            CorruptArtifactError: an artifact of one of its stages is damaged; the cell keeps waiting.
        """
        if cell.key not in self._waiting:  # two cells of one key are one
            return
        for key in cell.stages.values():
            if key not in self._values:
                self._values[key] = self._store.values(key)
        stages = {stage: self._values[key] for stage, key in cell.stages.items()}
        try:
            cell_rows.write_result(self._folder, cell, stages)
        except (KeyError, ValueError, TypeError, InputError) as error:  # a plugin's numbers do not make a valid record
            what, trace = f"record: {error_line(error)}", traceback.format_exc()
            self.fail(cell, name, what)
            self._progress.note(f"failed: {name}: {what}", trace)
            cell_rows.log(self._errors, f"{name} {cell.last}", trace)
            return
        self._waiting.remove(cell.key)
        self._became[cell.key] = "done"
        for stage, key in cell.stages.items():
            if stage != "train":  # for thousands of cells they would fill the memory; the store has them
                self._values.pop(key, None)
        self._progress.cell()

    def fail(self, cell: Cell, name: str, error: str, status: cell_rows.Failure = "failed") -> None:
        """Record the failure of a waiting cell."""
        if not cell_rows.write_failure(self._folder, cell, error, self._hardware, datetime.now(UTC), status):
            self._progress.note(f"there is a result of {name}, which stays")
        self._waiting.remove(cell.key)
        self._became[cell.key] = "failed"
        self._progress.cell(failed=True)

    def log(self, name: str, text: str) -> None:
        """Add a failure to the error log."""
        cell_rows.log(self._errors, name, text)
