"""Walks a plan: looks up what is there, runs what is missing, records each cell as soon as it is complete."""

from __future__ import annotations

import contextlib
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearnbench import engine, recording
from unlearnbench.devices import describe, slots
from unlearnbench.errors import InputError
from unlearnbench.plan import Cell, Plan, Task
from unlearnbench.printing import error_line
from unlearnbench.progress import Progress
from unlearnbench.schedule import Schedule
from unlearnbench.store import Store
from unlearnbench.worker import Outcome, Place, carry_out

ATTEMPTS = 3  # for a task whose worker died or whose inputs were damaged


@dataclass(frozen=True)
class RunOptions:
    """How to run a plan; see the command line."""

    data_root: Path
    results: Path
    cache: Path
    engine: engine.EngineName = "serial"
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


def run(plan: Plan, options: RunOptions) -> Summary:
    """Complete every cell of a plan and write its record; a cell that fails stops no other.

    Raises:
        InputError: a device that is not there, or folders that can't be written.
    """
    return _Run(plan, options).run()


class _Run:
    def __init__(self, plan: Plan, options: RunOptions) -> None:
        self.plan, self.options = plan, options
        self.folder = options.results / "records"
        self.store = Store(options.cache)
        self.summary = Summary(planned=len(plan.cells))
        self.values: dict[str, dict[str, Any]] = {}
        self.started: dict[str, datetime] = {}
        self.attempts: dict[str, int] = {}

    def run(self) -> Summary:
        pending = self._look_up()
        if not pending:
            return self.summary
        slot_names = slots(self.options.device, self.options.jobs)
        self.hardware = describe(slot_names[0])
        for folder in (self.folder, self.options.cache):
            _writable(folder)
        tasks = self._tasks(pending)
        self.schedule = Schedule(
            [task for task in tasks if not self.store.has(task.key)],
            [task.key for task in tasks if self.store.has(task.key)],
        )
        self.waiting = {cell.key: cell for cell in pending}
        with Progress(self.schedule.left) as self.progress:
            self._record_complete()
            try:
                self._work(slot_names)
            except KeyboardInterrupt:
                self.summary.interrupted = True
        return self.summary

    # --- what is there ----------------------------------------------------------------------------------------------

    def _look_up(self) -> list[Cell]:
        """Count what is finished; return the cells to be computed."""
        now, pending = datetime.now(UTC), []
        for cell in self.plan.cells:
            done, failed = (recording.path(self.folder, cell, failed).is_file() for failed in (False, True))
            if cell.skip is not None:
                self.summary.skipped += 1
                if not done:
                    _writable(self.folder)
                    recording.write_skip(self.folder, cell, "none", now)
            elif self.options.force:
                pending.append(cell)
            elif done:
                self.summary.cached += 1
            elif failed and not self.options.retry_failed:
                self.summary.failed += 1
            else:
                pending.append(cell)
        return pending

    def _tasks(self, pending: list[Cell]) -> list[Task]:
        """The stage tasks behind the pending cells, in the plan's order."""
        wanted = {key for cell in pending for key in cell.stages.values()}
        tasks = [task for task in self.plan.tasks if task.key in wanted]
        if self.options.force:
            for task in tasks:
                self.store.discard(task.key)
        return tasks

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _work(self, slot_names: list[str]) -> None:
        free = list(slot_names)
        executor: Executor | None = None
        futures: dict[Future[Outcome], tuple[Task, str]] = {}
        try:
            while self.schedule.left:
                while free and (task := self.schedule.next()) is not None:
                    executor = executor or engine.start(self.options.engine, len(slot_names))
                    device = free.pop()
                    self.started[task.key] = datetime.now(UTC)
                    futures[executor.submit(carry_out, task, self._place(device))] = task, device
                    if self.options.engine == "serial":
                        break
                if not futures:
                    raise AssertionError("tasks are left but none can start: the plan has a cycle")
                finished, _ = wait(futures, return_when=FIRST_COMPLETED)
                for future in finished:
                    task, device = futures.pop(future)
                    free.append(device)
                    try:
                        outcome = future.result()
                    except BrokenProcessPool as error:
                        # The pool is gone with everything in it: those tasks start again in a new one.
                        self._restart(executor, [task, *(task for task, _ in futures.values())], error)
                        executor, free, futures = None, list(slot_names), {}
                        break
                    self._finish(task, outcome)
        finally:
            if executor is not None:
                engine.stop(executor)

    def _place(self, device: str) -> Place:
        options = self.options
        return Place(options.data_root, options.cache, options.plugin_dirs, device)

    def _restart(self, executor: Executor | None, lost: list[Task], error: Exception) -> None:
        if executor is not None:
            with contextlib.suppress(Exception):
                engine.stop(executor)
        for task in lost:
            self._try_again(task, f"{task.stage}: the worker process died ({error_line(error)})")

    def _finish(self, task: Task, outcome: Outcome) -> None:
        if outcome.status == "missing":
            assert outcome.missing is not None
            self.progress.note(f"computing a damaged or missing artifact again: {outcome.error}")
            if self._try_again(task, outcome.error or ""):
                self.schedule.again(outcome.missing, self.plan.task_by_key)
                self.progress.grow(1)
            return
        self.progress.advance(_name(task), failed=outcome.status == "failed")
        if outcome.status == "ok":
            self.values[task.key] = outcome.values or {}
            self.schedule.finish(task.key)
            self._record_complete()
        else:
            self._fail(task, outcome.error or "failed", outcome.trace)

    def _try_again(self, task: Task, error: str) -> bool:
        self.attempts[task.key] = self.attempts.get(task.key, 1) + 1
        if self.attempts[task.key] > ATTEMPTS:
            self._fail(task, error)
            return False
        self.schedule.again(task.key, self.plan.task_by_key)
        return True

    # --- records ----------------------------------------------------------------------------------------------------

    def _record_complete(self) -> None:
        """Write the record of every waiting cell whose stages are all there."""
        for cell in [c for c in self.waiting.values() if all(k in self.schedule.done for k in c.stages.values())]:
            stages = {stage: self._values(key) for stage, key in cell.stages.items()}
            started = self.started.get(cell.last) or datetime.now(UTC)
            recording.write_result(self.folder, cell, stages, self.hardware, started)
            del self.waiting[cell.key]
            self.summary.done += 1

    def _values(self, key: str) -> dict[str, Any]:
        if key not in self.values:
            self.values[key] = self.store.values(key)
        return self.values[key]

    def _fail(self, task: Task, error: str, trace: str | None = None) -> None:
        fallen = set(self.schedule.fail(task.key, error))
        self.progress.note(f"failed: {_name(task)}: {error}")
        if trace:
            self._log(task, trace)
        for cell in [c for c in self.waiting.values() if fallen & set(c.stages.values())]:
            recording.write_failure(self.folder, cell, error, self.hardware, datetime.now(UTC))
            del self.waiting[cell.key]
            self.summary.failed += 1
        if self.options.fail_fast:
            self.schedule.abandon()

    def _log(self, task: Task, trace: str) -> None:
        with (self.options.results / "errors.log").open("a", encoding="utf-8") as log:
            log.write(f"--- {datetime.now(UTC).isoformat()} {_name(task)} {task.key}\n{trace}\n")


def _name(task: Task) -> str:
    work = task.work
    parts = [task.stage, work["dataset"]["name"]]
    parts += [work[kind]["name"] for kind in ("method", "attack") if kind in work]
    return " ".join([*parts, f"seed {work['seed']}"])


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(str(folder), f"can't be written: {error.strerror}") from error
