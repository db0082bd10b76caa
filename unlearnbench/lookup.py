"""What a run finds before it starts: finished cells, failed ones, and those that planning has decided."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from unlearnbench import recording
from unlearnbench.errors import InputError
from unlearnbench.plan import Cell, Plan
from unlearnbench.printing import complain, error_line
from unlearnbench.record_folder import is_intact, names

# The fields of a scenario that its sets are drawn by.
DRAWN = {"kind", "erased_ratio", "erased_count", "backdoor", "train_size", "test_size", "validation", "leak", "targets"}


@dataclass
class Found:
    """How many cells need no work, and those that do."""

    cached: int = 0
    failed: int = 0
    skipped: int = 0
    pending: list[Cell] = field(default_factory=list)


def look_up(plan: Plan, folder: Path, force: bool, retry_failed: bool) -> Found:
    """Sort a plan's cells by what is in the record folder. Writes nothing."""
    found, not_tried, there = Found(), 0, names(folder)
    for cell in plan.cells:
        if cell.skip is not None:
            found.skipped += 1
        elif cell.error is not None:
            found.failed += 1
        elif force:
            found.pending.append(cell)
        elif _is_there(there, folder, cell):
            found.cached += 1
        elif not retry_failed and _is_there(there, folder, cell, failed=True):
            found.failed += 1
            not_tried += 1
        else:
            found.pending.append(cell)
    if not_tried:
        complain(f"failed in an earlier run and not tried again: {not_tried} cells; --retry-failed tries them again")
    return found


def check_writable(*folders: Path) -> None:
    """Make the folders of a run, and find out before any work that nothing could be kept in one of them."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(str(folder), f"can't be written: {error.strerror}") from error


def check_data(cells: Iterable[Cell], data_root: Path) -> None:
    """Load each dataset and draw each scenario's sets for each seed, before any work: damaged files, and scenarios that
    do not fit the data, are the user's to mend and no cell's failure.

    Raises:
        InputError: for the first dataset or scenario that will not do.
    """
    worlds: dict[str, dict[tuple[str, int], Cell]] = {}
    for cell in cells:
        drawn = cell.setting.scenario.model_dump_json(include=DRAWN)
        worlds.setdefault(cell.dataset_id, {}).setdefault((drawn, cell.seed), cell)
    for group in worlds.values():
        _check_group(list(group.values()), data_root)


def _check_group(cells: list[Cell], data_root: Path) -> None:
    import torch

    from unlearnbench.process_state.definitions import Definitions
    from unlearnbench.process_state.guard import guarded
    from unlearnbench.scenario import build_world
    from unlearnbench.seeding import repetition_seed

    choice = cells[0].setting.dataset
    try:
        with guarded(f"dataset {choice.info.name}", None if choice.info.is_released else Definitions(), random=True):
            data = cast(Any, choice.info.cls(choice.params)).load(data_root)
    except InputError:
        raise
    except Exception as error:
        if choice.info.builtin:
            raise
        raise InputError(choice.id, f"can't be loaded: {error_line(error)}") from error
    for cell in cells:
        setting = cell.setting
        seed = repetition_seed(setting.suite_seed, choice.id, setting.seed)
        try:
            build_world(data, setting.scenario, seed, torch.device("cpu"))
        except InputError as error:
            where = f"{setting.suite}:experiments.{setting.experiment}.{error.where} (dataset {choice.id})"
            raise InputError(where, error.what) from error


def record_decided(plan: Plan, folder: Path, errors: Path) -> None:
    """Record the cells that a plugin skips, or that failed because a plugin could not be asked."""
    now, told, there = datetime.now(UTC), set(), names(folder)
    for cell in plan.cells:
        if cell.skip is not None and not _is_there(there, folder, cell):
            recording.write_skip(folder, cell, "none", now)
        if cell.error is not None:
            if not _is_there(there, folder, cell, failed=True):
                recording.write_failure(folder, cell, cell.error, "none", now)
            if cell.error not in told:
                told.add(cell.error)
                complain(f"failed: {cell.error}")
                recording.log(errors, cell.error, cell.trace or "")


def _is_there(there: set[str], folder: Path, cell: Cell, failed: bool = False) -> bool:
    name = recording.file_name(cell, failed)
    if name not in there:
        return False
    if is_intact(f"{folder}/{name}"):  # to make ten thousand Paths takes as long as to read the files
        return True
    complain(f"{folder / name}: a damaged record file; its cell is computed again")
    return False
