"""Finds, before a run starts, the cells that are finished, that failed, and that planning has already decided."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unlearnbench.records import cell_rows
from unlearnbench.records.folder import is_intact, names_in
from unlearnbench.running.record_counts import Became
from unlearnbench.suite.plan import Cell, Plan
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import complain, error_line
from unlearnbench.system.regular_files import check_readable

if TYPE_CHECKING:
    from unlearnbench.running.data_report import DatasetReport

# The fields of a scenario that determine its sets.
DRAWN = {
    "kind", "erased_ratio", "erased_count", "erased", "negatives", "backdoor", "train_size", "test_size", "validation",
    "leak", "targets", "duplicates",
}  # fmt: skip


@dataclass
class Finished:
    """The status of cells that need no work, by their keys, and the cells that do."""

    became: dict[str, Became] = field(default_factory=dict)
    pending: list[Cell] = field(default_factory=list)


def look_up(plan: Plan, folder: Path, force: bool, retry_failed: bool) -> Finished:
    """Sort a plan's cells by the contents of the record folder. Writes nothing.

    Raises:
        UnreadableError: a record can't be read, so it can neither count nor be replaced.
    """
    found, not_tried, there = Finished(), 0, names_in(folder)
    for cell in plan.cells:
        if cell.skip is not None:
            found.became[cell.key] = "skipped"
        elif cell.error is not None:
            found.became[cell.key] = "failed"
        elif force:
            _check_replaceable(there, folder, cell)
            found.pending.append(cell)
        elif _is_there(there, folder, cell):
            found.became[cell.key] = "cached"
        elif not retry_failed and _is_there(there, folder, cell, failed=True):
            found.became[cell.key] = "failed"
            not_tried += 1
        else:
            found.pending.append(cell)
    if not_tried:
        complain(f"failed in an earlier run and not tried again: {not_tried} cells; --retry-failed tries them again")
    return found


def check_writable(*folders: Path) -> None:
    """Make the folders of a run; raise InputError before any work if one of them can't be written."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise InputError(str(folder), f"can't be written: {error.strerror}") from error


def check_data(cells: Iterable[Cell], data_root: Path) -> list[DatasetReport]:
    """Load each dataset and draw each scenario's sets for each seed, before any work. Damaged files, and scenarios that
    do not fit the data, are for the user to fix and do not count as failed cells.

    Returns:
        A description of each dataset.

    Raises:
        InputError: for the first dataset that can't be used or scenario that does not fit.
    """
    worlds: dict[str, dict[tuple[str, int, int | None], Cell]] = {}
    for cell in cells:
        scenario = cell.setting.scenario
        drawn = scenario.model_dump_json(include=DRAWN)
        # Outside leak experiments, members and unseen images are drawn for the attack.
        attacked = scenario.attack_images if cell.setting.attack and scenario.kind == "utility" else None
        worlds.setdefault(cell.dataset_id, {}).setdefault((drawn, cell.seed, attacked), cell)
    return [_check_group(list(group.values()), data_root) for group in worlds.values()]


def _check_group(cells: list[Cell], data_root: Path) -> DatasetReport:
    import torch

    from unlearnbench.running.data_report import describe, left_out_copies
    from unlearnbench.splits.world import build_world, challenge
    from unlearnbench.system.process_state.definitions import Definitions
    from unlearnbench.system.process_state.guard import guarded
    from unlearnbench.system.seeding import repetition_seed

    choice = cells[0].setting.dataset
    dataset = cast(Any, choice.info.cls(choice.params))
    try:
        with guarded(f"dataset {choice.info.name}", None if choice.info.is_released else Definitions(), random=True):
            data = dataset.load(data_root)
            report = describe(choice.id, dataset, data, data_root, cells[0].classes)
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
            world = build_world(data, setting.scenario, seed, torch.device("cpu"))
            if setting.attack is not None and setting.scenario.kind == "utility":
                challenge(world, setting.scenario)
        except InputError as error:
            where = f"{setting.suite}:experiments.{setting.experiment}.{error.where} (dataset {choice.id})"
            raise InputError(where, error.what) from error
    if any(cell.setting.scenario.duplicates == "drop" for cell in cells):
        report.more.append(left_out_copies(data))
    return report


def record_decided(plan: Plan, folder: Path, errors: Path) -> None:
    """Record the cells that a plugin skips, and those that failed because a plugin could not be asked."""
    now, reported, there = datetime.now(UTC), set(), names_in(folder)
    for cell in plan.cells:
        if cell.skip is not None and not _is_there(there, folder, cell):
            cell_rows.write_skip(folder, cell, "none", now)
        if cell.error is not None:
            if not _is_there(there, folder, cell, failed=True):
                cell_rows.write_failure(folder, cell, cell.error, "none", now)
            if cell.error not in reported:
                reported.add(cell.error)
                complain(f"failed: {cell.error}")
                cell_rows.log(errors, cell.error, cell.trace or "")


def _check_replaceable(there: set[str], folder: Path, cell: Cell) -> None:
    for name in (cell_rows.file_name(cell), cell_rows.file_name(cell, failed=True)):
        if name in there:
            check_readable(f"{folder}/{name}")


def _is_there(there: set[str], folder: Path, cell: Cell, failed: bool = False) -> bool:
    name = cell_rows.file_name(cell, failed)
    if name not in there:
        return False
    if is_intact(f"{folder}/{name}"):  # making ten thousand Paths takes as long as reading the files
        return True
    complain(f"{folder / name}: a damaged record file; its cell is computed again")
    return False
