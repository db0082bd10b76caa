"""Walks a plan: looks up what is there, runs what is missing, records each cell as soon as it is complete."""

from __future__ import annotations

import traceback
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearnbench import recording
from unlearnbench.closing import close
from unlearnbench.crew import Crew
from unlearnbench.devices import describe, slots
from unlearnbench.engine import EngineName
from unlearnbench.errors import InputError
from unlearnbench.lookup import check_data, check_writable, look_up, record_decided
from unlearnbench.plan import Cell, Plan, Task
from unlearnbench.printing import error_line
from unlearnbench.progress import Progress
from unlearnbench.schedule import Schedule
from unlearnbench.store import CorruptArtifactError, Store
from unlearnbench.worker import Outcome, Place

ATTEMPTS = 3  # for a task whose worker died or whose inputs were damaged


@dataclass(frozen=True)
class RunOptions:
    """How to run a plan; see the command line."""

    data_root: Path
    results: Path
    cache: Path
    engine: EngineName = "serial"
    jobs: int = 1
    device: str = "auto"
    plugin_dirs: tuple[Path, ...] = ()
    force: bool = False
    retry_failed: bool = False
    fail_fast: bool = False


@dataclass
class Summary:
    """What became of the cells."""

    planned: int = 0
    done: int = 0
    cached: int = 0
    failed: int = 0
    skipped: int = 0
    interrupted: bool = False
    leaderboard: bool = True  # False: none can be built from the records that are there


def run(plan: Plan, options: RunOptions) -> Summary:
    """Complete every cell of a plan, write its record, and build the leaderboard; a cell that fails stops no other.

    Raises:
        InputError: a device that is not there, or folders that can't be written.
    """
    return _Run(plan, options).run()


class _Run:
    def __init__(self, plan: Plan, options: RunOptions) -> None:
        self.plan, self.options = plan, options
        self.folder, self.errors = options.results / "records", options.results / "errors.log"
        self.store = Store(options.cache)
        self.values: dict[str, dict[str, Any]] = {}
        self.attempts: dict[str, int] = defaultdict(lambda: 1)
        self.suspects: deque[Task] = deque()
        self.solitary = False

    def run(self) -> Summary:
        found = look_up(self.plan, self.folder, self.options.force, self.options.retry_failed)
        self.summary = Summary(len(self.plan.cells), 0, found.cached, found.failed, found.skipped)
        slot_names = slots(self.options.device, self.options.jobs) if found.pending else []
        check_data(found.pending, self.options.data_root)
        if found.pending:
            check_writable(self.folder, self.options.cache)
        try:
            record_decided(self.plan, self.folder, self.errors)
            if found.pending:
                self._compute(found.pending, slot_names)
        except KeyboardInterrupt:
            self.summary.interrupted = True
            # The interrupt may have come between a record and its count.
            written = [cell for cell in found.pending if recording.path(self.folder, cell).is_file()]
            self.summary.done = self.summary.done if self.options.force else len(written)
        except OSError as error:  # a full disk, a folder without permission
            raise InputError(str(error.filename or self.folder), f"can't be written: {error.strerror}") from error
        try:
            self.summary.leaderboard = close(self.options.results, self.plan)
        except KeyboardInterrupt:
            self.summary.interrupted = True
        return self.summary

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _compute(self, pending: list[Cell], slot_names: list[str]) -> None:
        options = self.options
        self.hardware = describe(slot_names[0])
        wanted = {key for cell in pending for key in cell.stages.values()}
        self.tasks = {task.key: task for task in self.plan.tasks if task.key in wanted}
        if options.force:
            for key in self.tasks:
                self.store.discard(key)
        self.schedule = Schedule(self.tasks.values(), [key for key in self.tasks if self.store.has(key)])
        self.waiting = {cell.key for cell in pending}
        self.cells_of: dict[str, list[Cell]] = defaultdict(list)
        for cell in pending:
            for key in cell.stages.values():
                self.cells_of[key].append(cell)
        place = Place(options.data_root, options.cache, options.plugin_dirs, "")
        with Progress(self.schedule.left) as self.progress:
            self._record_complete(pending)
            with Crew(options.engine, slot_names[: self.schedule.left], place) as crew:
                while self.schedule.left:
                    self._step(crew)

    def _step(self, crew: Crew) -> None:
        """Start what can start, then wait for something to end."""
        while crew.has_room and (task := self._next(crew.is_idle)) is not None:
            crew.submit(task)
        if crew.is_idle:  # what is left waits for an artifact that was lost and can't be had
            self._fail(self.schedule.first_waiting(), "what it needs was lost and could not be computed again")
            return
        report = crew.wait()
        for task, outcome in report.finished:
            self._finish(task, outcome)
        if report.lost:
            self._lose(report.lost, report.why)

    def _next(self, nothing_runs: bool) -> Task | None:
        """The next task. One that may have killed its worker runs alone, so that it takes no other with it."""
        if nothing_runs:
            self.solitary = False
        if self.solitary or (self.suspects and not nothing_runs):
            return None
        if self.suspects:
            self.solitary = True
            return self.suspects.popleft()
        return self.schedule.next()

    def _finish(self, task: Task, outcome: Outcome) -> None:
        if outcome.status == "ok":
            self.progress.advance(_name(task))
            self.values[task.key] = outcome.values or {}
            self.schedule.finish(task.key)
            self._record_complete(self.cells_of[task.key])
        elif outcome.status == "failed":
            self._fail(task, outcome.error or "failed", outcome.trace)
        elif self._may_try_again(task, outcome.error or "an input is missing"):
            assert outcome.missing is not None
            self._recompute(outcome.missing, outcome.error)
            self.schedule.put_back(task.key)

    def _lose(self, lost: list[Task], why: str) -> None:
        """Tasks whose worker pool died: one that was alone did it, of several each may have."""
        self.progress.note("a worker process died; what it worked on starts again")
        if len(lost) > 1 or self._may_try_again(lost[0], f"the worker process died ({why})"):
            self.suspects.extend(lost)

    def _may_try_again(self, task: Task, error: str) -> bool:
        self.attempts[task.key] += 1
        if self.attempts[task.key] > ATTEMPTS:
            self._fail(task, f"{task.stage}: {error}")
            return False
        return True

    def _recompute(self, key: str, error: str | None) -> None:
        """An artifact that was there is damaged or gone."""
        if self.schedule.redo(key):
            self.progress.note(f"computing a damaged or missing artifact again: {error}")
            self.progress.grow(1)
            self.store.discard(key)

    # --- records ----------------------------------------------------------------------------------------------------

    def _record_complete(self, cells: Iterable[Cell]) -> None:
        """Write the record of each waiting cell whose stages are all there."""
        for cell in cells:
            if cell.key not in self.waiting or not self._all_done(cell):
                continue
            stages = {stage: self._values(key) for stage, key in cell.stages.items()}
            if not self._all_done(cell):
                continue  # a damaged artifact, which is computed again
            try:
                recording.write_result(self.folder, cell, stages)
            except (KeyError, ValueError, TypeError, InputError) as error:  # a plugin's numbers are no record
                self._record_failure(cell, f"record: {error_line(error)}")
                recording.log(self.errors, f"{_name(self.tasks[cell.last])} {cell.last}", traceback.format_exc())
                continue
            self.waiting.remove(cell.key)
            self.summary.done += 1

    def _all_done(self, cell: Cell) -> bool:
        return all(key in self.schedule.done for key in cell.stages.values())

    def _values(self, key: str) -> dict[str, Any]:
        """An artifact's values; empty if it is damaged, and then it is computed again."""
        if key not in self.values:
            try:
                self.values[key] = self.store.values(key)
            except CorruptArtifactError as error:
                self._recompute(key, error_line(error))
                return {}
        return self.values[key]

    def _fail(self, task: Task, error: str, trace: str | None = None) -> None:
        fallen = self.schedule.fail(task.key)
        self.progress.advance(_name(task), failed=len(fallen))
        self.progress.note(f"failed: {_name(task)}: {error}")
        recording.log(self.errors, f"{_name(task)} {task.key}", trace or error)
        for key in fallen:
            for cell in self.cells_of[key]:
                if cell.key in self.waiting:
                    self._record_failure(cell, error)
        if self.options.fail_fast:
            self.schedule.abandon()

    def _record_failure(self, cell: Cell, error: str) -> None:
        recording.write_failure(self.folder, cell, error, self.hardware, datetime.now(UTC))
        self.waiting.remove(cell.key)
        self.summary.failed += 1


def _name(task: Task) -> str:
    work = task.work
    parts = [task.stage, work["dataset"]["name"]]
    parts += [work[kind]["name"] for kind in ("method", "attack") if kind in work]
    return " ".join([*parts, f"seed {work['seed']}"])
