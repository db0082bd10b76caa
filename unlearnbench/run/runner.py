"""Walks a plan: looks up what is there, runs what is missing, records each cell as soon as it is complete."""

from __future__ import annotations

import traceback
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from unlearnbench.records import cell_rows as recording
from unlearnbench.run.find_finished import check_data, check_writable, look_up, record_decided
from unlearnbench.run.log import begin
from unlearnbench.run.memory import adopt, exchange, smaller, with_replicas
from unlearnbench.run.options import RunOptions, Summary
from unlearnbench.run.progress import Progress
from unlearnbench.run.remote_jobs import inputs
from unlearnbench.run.schedule import Schedule
from unlearnbench.run.tally import tally
from unlearnbench.run.worker import Outcome, Place
from unlearnbench.run.worker_pool import Crew, Report
from unlearnbench.suite.plan import Cell, Plan, build
from unlearnbench.suite.suite import Setting
from unlearnbench.suite.tasks import Job, Task
from unlearnbench.system.devices import describe, slots
from unlearnbench.system.errors import InputError, unwritable
from unlearnbench.system.printing import error_line
from unlearnbench.system.store import CorruptArtifactError, Store

ATTEMPTS = 3  # for a task whose worker died or whose inputs were damaged


def run(plan: Plan, options: RunOptions) -> Summary:
    """Complete every cell of a plan and write its record; a cell that fails stops no other.

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
        self.suspects: deque[Job] = deque()
        self.solitary, self.device = False, "cpu"

    def run(self) -> Summary:
        if not self.options.force:
            self.plan = adopt(self.plan, self.folder, self._replan)
        found = look_up(self.plan, self.folder, self.options.force, self.options.retry_failed)
        self.became, interrupted = found.became, False
        try:
            if found.pending:
                options = self.options
                self._compute(found.pending, slots(options.device, options.jobs, options.cells_per_device))
            else:
                record_decided(self.plan, self.folder, self.errors)
        except KeyboardInterrupt:
            interrupted = True
        except OSError as error:  # a full disk, a folder without permission
            raise unwritable(error, self.folder) from error
        return tally(self.plan, self.folder, self.became, found.pending, interrupted, self.options.force)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _compute(self, pending: list[Cell], slot_names: list[str]) -> None:
        options = self.options
        data, plugins = inputs(pending)
        place = Place(
            options.data_root, options.cache, options.plugin_dirs, "", options.time_limit, data=data, plugins=plugins
        )
        leased = slot_names[: len(pending)] if options.scheduler is None else [options.device]
        with Crew(options.engine, leased, place, options.scheduler) as crew:
            crew.call(attacks=any(cell.setting.attack is not None for cell in pending))
            read = check_data(pending, options.data_root)
            check_writable(self.folder, options.cache)
            record_decided(self.plan, self.folder, self.errors)
            self._prepare(pending, slot_names[0])
            about = {"suite": self.plan.suite, "engine": options.engine, "devices": " ".join(slot_names)}
            log = begin(options.results / "logs", self.device, about)
            cached = sum(became == "cached" for became in self.became.values())
            for dataset in read:
                log.info(dataset.head, extra={"detail": "\n".join(dataset.more)})
            with Progress(self.schedule.left, len(pending), cached, log, options.verbose) as self.progress:
                self._record_complete(pending)
                while self.schedule.left:
                    self._step(crew)

    def _prepare(self, pending: list[Cell], device: str) -> None:
        self.device, self.hardware = device, describe(device)
        # With --force nothing counts as there.
        self.there = cache((lambda _: False) if self.options.force else self.store.has)
        self.tasks = _wanted(self.plan.tasks, pending, self.there)
        if self.options.force:
            for key in self.tasks:
                self.store.discard(key)
        self.schedule = Schedule(self.tasks.values(), [key for key in self.tasks if self.there(key)])
        self.waiting = {cell.key for cell in pending}
        self.cells_of: dict[str, list[Cell]] = defaultdict(list)
        for cell in pending:
            for key in cell.stages.values():
                self.cells_of[key].append(cell)

    def _step(self, crew: Crew) -> None:
        """Start what can start, then wait for something to end."""
        while crew.has_room and (job := self._next(crew.is_idle)) is not None:
            self.progress.start(job[0].key, _name(job[0], len(job)))
            crew.submit(job)
        if crew.is_idle:  # what is left waits for an artifact that was lost and can't be had
            self._fail(self.schedule.first_waiting(), "what it needs was lost and could not be computed again")
            return
        report = crew.wait()
        for job, outcome in report.finished:
            self.progress.end(job[0].key)
            self._finish(job, outcome)
        for job in report.late:
            self.progress.end(job[0].key, "late")
            for task in job:
                self._fail(task, f"{task.stage}: longer than {self.options.time_limit:g} s", status="timeout")
        for job in report.innocent:
            self.progress.end(job[0].key, "stopped")
        if report.innocent:
            self.progress.note(f"the workers were stopped ({report.why}); what else they worked on starts again")
            self._start_again(report.innocent)
        if report.lost:
            self._lose(report)

    def _next(self, nothing_runs: bool) -> Job | None:
        """The next job. One that may have killed its worker runs alone, so that it takes no other with it, and so does
        one that measures time."""
        if nothing_runs:
            self.solitary = False
        if self.solitary or (self.suspects and not nothing_runs):
            return None
        job = self.suspects.popleft() if self.suspects else None
        self.solitary = job is not None
        if job is None:
            job = self.schedule.next(alone=nothing_runs)
            self.solitary = job is not None and job[0].stage == "timing"
        return job

    def _finish(self, job: Job, outcome: Outcome) -> None:
        if outcome.refused is not None:
            raise InputError(*outcome.refused)
        if outcome.missing is not None:
            if self._may_try_again(job, outcome.why):
                self._recompute(outcome.missing, outcome.why)
                self._start_again([job])
            return
        for task in job:
            if task.key in outcome.values:
                self.progress.advance(_name(task))
                self.values[task.key] = outcome.values[task.key]
                self.schedule.finish(task.key)
                self._record_complete(self.cells_of[task.key])
        if outcome.exhausted and (fewer := smaller(job[0])) is not None:
            self._halve(job, fewer)
            return
        for task in job:
            if task.key in outcome.errors:
                self._fail(task, *outcome.errors[task.key])

    def _lose(self, report: Report) -> None:
        """Jobs whose worker, or pool of workers, died: one that was alone did it, of a pool's jobs each may have."""
        lost, why = report.lost, f"the worker process died ({report.why})"
        for job in lost:
            self.progress.end(job[0].key, "lost")
        self.progress.note("a worker process died; what it worked on starts again")
        if report.guilty:
            self._start_again([job for job in lost if self._may_try_again(job, why)])
        elif len(lost) > 1 or self._may_try_again(lost[0], why):
            self.suspects.extend(lost)

    def _start_again(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            for task in job:
                self.schedule.put_back(task.key)

    def _halve(self, job: Job, replicas: int) -> None:
        """Memory ran out: the cells that wait for a job go on with fewer models at a time, under other keys."""
        self.progress.note(f"out of memory: {_name(job[0])} goes on with {replicas} models at a time")
        fallen = [key for task in job for key in self.schedule.fail(task.key)]
        cells = {cell.key: cell for key in fallen for cell in self.cells_of[key] if cell.key in self.waiting}
        other = self._replan([with_replicas(cell.setting, replicas) for cell in cells.values()])
        exchanged = dict(zip(cells, other.cells, strict=True))
        self.plan = exchange(self.plan, exchanged, other.tasks)
        self.waiting -= cells.keys()
        more = _wanted(other.tasks, other.cells, self.there)
        self.tasks |= more
        for cell in other.cells:
            self.waiting.add(cell.key)
            for key in cell.stages.values():
                self.cells_of[key].append(cell)
        new = self.schedule.add(more.values(), self.there)
        self.progress.grow(len(new) - len(fallen))
        self._record_complete(other.cells)

    def _replan(self, settings: Sequence[Setting]) -> Plan:
        return build(settings, self.options.data_root, self.device)

    def _may_try_again(self, job: Job, error: str) -> bool:
        key = job[0].key
        self.attempts[key] += 1
        if self.attempts[key] > ATTEMPTS:
            for task in job:
                self._fail(task, f"{task.stage}: {error}")
            return False
        return True

    def _recompute(self, key: str, error: str | None) -> None:
        """An artifact that was there is damaged or gone."""
        before = self.schedule.left
        if self.schedule.redo(key):
            self.progress.note(f"computing a damaged or missing artifact again: {error}")
            self.progress.grow(self.schedule.left - before)
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
                what, name, trace = f"record: {error_line(error)}", _name(self.tasks[cell.last]), traceback.format_exc()
                self._record_failure(cell, what)
                self.progress.note(f"failed: {name}: {what}", trace)
                recording.log(self.errors, f"{name} {cell.last}", trace)
                continue
            self.waiting.remove(cell.key)
            self.became[cell.key] = "done"
            for stage, key in cell.stages.items():
                if stage != "train":  # of thousands of cells they would fill the memory; the store has them
                    self.values.pop(key, None)
            self.progress.cell()

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

    def _fail(self, task: Task, error: str, trace: str | None = None, status: recording.Failure = "failed") -> None:
        fallen = self.schedule.fail(task.key)
        self.progress.advance(_name(task), failed=len(fallen))
        self.progress.note(f"failed: {_name(task)}: {error}", trace or "")
        recording.log(self.errors, f"{_name(task)} {task.key}", trace or error)
        for key in fallen:
            for cell in self.cells_of[key]:
                if cell.key in self.waiting:
                    self._record_failure(cell, error, status)
        if self.options.fail_fast:
            self.schedule.abandon()

    def _record_failure(self, cell: Cell, error: str, status: recording.Failure = "failed") -> None:
        if not recording.write_failure(self.folder, cell, error, self.hardware, datetime.now(UTC), status):
            self.progress.note(f"there is a result of {_name(self.tasks[cell.last])}, which stays")
        self.waiting.remove(cell.key)
        self.became[cell.key] = "failed"
        self.progress.cell(failed=True)


def _wanted(tasks: Iterable[Task], cells: Iterable[Cell], there: Callable[[str], bool]) -> dict[str, Task]:
    """The tasks of cells in the plan's order and, where one has to be computed, those that are computed with it."""
    keys = {key for cell in cells for key in cell.stages.values()}
    every = list(tasks)
    for task in reversed(every):
        if any(mate in keys and not there(mate) for mate in task.together):
            keys |= {task.key, *task.needs.values()}
    return {task.key: task for task in every if task.key in keys}


def _name(task: Task, together: int = 1) -> str:
    work = task.work
    parts = [task.stage, work.dataset.id]
    parts += [plugin.name for kind, plugin in work.plugins.items() if kind != "dataset"]
    return " ".join([*parts, f"seed {work.seed}", *([f"and {together - 1} more"] if together > 1 else [])])
