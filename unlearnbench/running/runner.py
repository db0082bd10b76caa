"""Walks a plan: looks up what exists, runs what is missing, records each cell as soon as it is complete."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from unlearnbench.records.cell_rows import Failure
from unlearnbench.running.find_finished import Finished, check_data, check_writable, look_up, record_decided
from unlearnbench.running.ledger import Ledger
from unlearnbench.running.log import begin
from unlearnbench.running.memory import adopt, exchange, smaller, with_replicas
from unlearnbench.running.options import RunOptions, Summary
from unlearnbench.running.progress import Progress
from unlearnbench.running.record_counts import tally
from unlearnbench.running.remote_jobs import inputs
from unlearnbench.running.schedule import Schedule
from unlearnbench.running.worker import JobOutcome, JobPlace
from unlearnbench.running.worker_pool import Ended, WorkerPool
from unlearnbench.suite.plan import Cell, Plan, build
from unlearnbench.suite.tasks import Job, Task
from unlearnbench.system.devices import describe, slots
from unlearnbench.system.errors import InputError, unwritable
from unlearnbench.system.printing import error_line
from unlearnbench.system.store import CorruptArtifactError, Store

ATTEMPTS = 3  # for a task whose worker dies or whose inputs are damaged


def run(plan: Plan, options: RunOptions) -> Summary:
    """Complete every cell of a plan and write its record; a failing cell does not stop the others.

    Raises:
        InputError: a device that does not exist, or folders that can't be written.
    """
    folder = options.results / "records"
    if not options.force:
        plan = adopt(plan, folder, lambda settings: build(settings, options.data_root))
    found = look_up(plan, folder, options.force, options.retry_failed)
    loop: _Loop | None = None
    interrupted = False
    try:
        if found.pending:
            with _started(plan, found, options) as loop:
                loop.run(found.pending)
        else:
            record_decided(plan, folder, options.results / "errors.log")
    except KeyboardInterrupt:
        interrupted = True
    except OSError as error:  # a full disk, a folder without permission
        raise unwritable(error, folder) from error
    walked = plan if loop is None else loop.plan
    return tally(walked, folder, found.became, found.pending, interrupted, options.force)


@contextmanager
def _started(plan: Plan, found: Finished, options: RunOptions) -> Iterator[_Loop]:
    """Sets up what the loop needs: workers, checked data and folders, a log and progress."""
    pending, device_names = found.pending, slots(options.device, options.jobs, options.cells_per_device)
    device = device_names[0]
    data, plugins = inputs(pending)
    place = JobPlace(
        options.data_root, options.cache, options.plugin_dirs, "", options.time_limit, data=data, plugins=plugins
    )
    leased = device_names[: len(pending)] if options.scheduler is None else [options.device]
    with WorkerPool(options.engine, leased, place, options.scheduler) as pool:
        pool.call(attacks=any(cell.setting.attack is not None for cell in pending))
        read = check_data(pending, options.data_root)
        check_writable(options.results / "records", options.cache)
        record_decided(plan, options.results / "records", options.results / "errors.log")
        store = Store(options.cache)
        # With --force nothing counts as existing.
        there = cache((lambda _: False) if options.force else store.has)
        tasks = _wanted(plan.tasks, pending, there)
        if options.force:
            for key in tasks:
                store.discard(key)
        schedule = Schedule(tasks.values(), [key for key in tasks if there(key)])
        about = {"suite": plan.suite, "engine": options.engine, "devices": " ".join(device_names)}
        log = begin(options.results / "logs", device, about)
        cached = sum(became == "cached" for became in found.became.values())
        for dataset in read:
            log.info(dataset.head, extra={"detail": "\n".join(dataset.more)})
        with Progress(schedule.left, len(pending), cached, log, options.verbose) as progress:
            ledger = Ledger(options.results, store, describe(device), found.became, progress)
            ledger.add(pending)
            if stored := sum(map(there, tasks)):
                progress.note(f"{stored} of {len(tasks)} stages are in the store, and are used again")
            yield _Loop(plan, options, device, tasks, schedule, there, store, pool, ledger, progress)


class _Loop:
    """Hands jobs to workers until nothing is left. `plan` is the plan as it runs, which `_halve` may change."""

    def __init__(
        self, plan: Plan, options: RunOptions, device: str, tasks: dict[str, Task], schedule: Schedule,
        there: Callable[[str], bool], store: Store, pool: WorkerPool, ledger: Ledger, progress: Progress,
    ) -> None:  # fmt: skip
        self.plan = plan
        self._options, self._device, self._tasks, self._schedule = options, device, tasks, schedule
        self._there, self._store, self._pool, self._ledger, self._progress = there, store, pool, ledger, progress
        self._attempts: dict[str, int] = defaultdict(lambda: 1)
        self._to_run_alone: deque[Job] = deque()  # each may have killed its worker
        self._runs_alone = False

    def run(self, pending: Sequence[Cell]) -> None:
        self._record_complete(pending)
        while self._schedule.left:
            self._step()

    def _step(self) -> None:
        """Start what can start, then wait for something to end."""
        while self._pool.has_room and (job := self._next(self._pool.is_idle)) is not None:
            self._progress.start(job[0].key, _name(job[0], len(job)))
            self._pool.submit(job)
        if self._pool.is_idle:  # the rest waits for an artifact that was lost and can't be recomputed
            self._fail(self._schedule.first_waiting(), "what it needs was lost and could not be computed again")
            return
        ended = self._pool.wait()
        for job, outcome in ended.finished:
            self._progress.end(job[0].key)
            self._finish(job, outcome)
        for job in ended.late:
            self._progress.end(job[0].key, "late")
            for task in job:
                self._fail(task, f"{task.stage}: longer than {self._options.time_limit:g} s", status="timeout")
        for job in ended.stopped:
            self._progress.end(job[0].key, "stopped")
        if ended.stopped:
            self._progress.note(f"the workers were stopped ({ended.why}); what else they worked on starts again")
            self._start_again(ended.stopped)
        if ended.lost:
            self._lose(ended)

    def _next(self, nothing_runs: bool) -> Job | None:
        """The next job. A job that may have killed its worker runs alone, so that it can't take others with it; so does
        a job that measures time."""
        if nothing_runs:
            self._runs_alone = False
        if self._runs_alone or (self._to_run_alone and not nothing_runs):
            return None
        if self._to_run_alone:
            self._runs_alone = True
            return self._to_run_alone.popleft()
        job = self._schedule.next(alone=nothing_runs)
        self._runs_alone = job is not None and job[0].stage == "timing"
        return job

    # --- outcomes of jobs ---------------------------------------------------------------------------------------------

    def _finish(self, job: Job, outcome: JobOutcome) -> None:
        if outcome.refused is not None:
            raise InputError(*outcome.refused)
        if outcome.missing is not None:
            if self._may_try_again(job, outcome.why):
                self._recompute(outcome.missing, outcome.why)
                self._start_again([job])
            return
        for task in job:
            if task.key in outcome.values:
                self._progress.advance(_name(task))
                self._ledger.keep(task.key, outcome.values[task.key])
                self._schedule.finish(task.key)
                self._record_complete(self._ledger.waiting_for([task.key]))
        if outcome.exhausted and (fewer := smaller(job[0])) is not None:
            self._halve(job, fewer)
            return
        for task in job:
            if task.key in outcome.errors:
                self._fail(task, *outcome.errors[task.key])

    def _lose(self, ended: Ended) -> None:
        """A worker, or a pool of workers, died. A single job is the cause; of a pool's jobs, any may be."""
        lost, why = ended.lost, f"the worker process died ({ended.why})"
        for job in lost:
            self._progress.end(job[0].key, "lost")
        self._progress.note("a worker process died; what it worked on starts again")
        if ended.one_by_one:
            self._start_again([job for job in lost if self._may_try_again(job, why)])
        elif len(lost) > 1 or self._may_try_again(lost[0], why):
            self._to_run_alone.extend(lost)

    def _start_again(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            for task in job:
                self._schedule.put_back(task.key)

    def _may_try_again(self, job: Job, error: str) -> bool:
        key = job[0].key
        self._attempts[key] += 1
        if self._attempts[key] > ATTEMPTS:
            for task in job:
                self._fail(task, f"{task.stage}: {error}")
            return False
        return True

    def _recompute(self, key: str, error: str | None) -> None:
        """An artifact is damaged or gone: compute it again."""
        before = self._schedule.left
        if self._schedule.redo(key):
            self._progress.note(f"computing a damaged or missing artifact again: {error}")
            self._progress.grow(self._schedule.left - before)
            self._store.discard(key)

    def _halve(self, job: Job, replicas: int) -> None:
        """Memory ran out: the cells that wait for a job continue with fewer models at a time, under other keys."""
        self._progress.note(f"out of memory: {_name(job[0])} goes on with {replicas} models at a time")
        failed = [key for task in job for key in self._schedule.fail(task.key)]
        cells = self._ledger.waiting_for(failed)
        settings = [with_replicas(cell.setting, replicas) for cell in cells]
        other = build(settings, self._options.data_root, self._device)
        replaced = {cell.key: new for cell, new in zip(cells, other.cells, strict=True)}
        self.plan = exchange(self.plan, replaced, other.tasks)
        self._ledger.remove(cells)
        self._ledger.add(other.cells)
        more = _wanted(other.tasks, other.cells, self._there)
        self._tasks |= more
        new = self._schedule.add(more.values(), self._there)
        self._progress.grow(len(new) - len(failed))
        self._record_complete(other.cells)

    # --- cells --------------------------------------------------------------------------------------------------------

    def _record_complete(self, cells: Sequence[Cell]) -> None:
        """Write the record of each waiting cell whose stages are all done."""
        for cell in cells:
            if all(key in self._schedule.done for key in cell.stages.values()):
                try:
                    self._ledger.record(cell, _name(self._tasks[cell.last]))
                except CorruptArtifactError as error:
                    self._recompute(error.key, error_line(error))

    def _fail(self, task: Task, error: str, trace: str | None = None, status: Failure = "failed") -> None:
        failed = self._schedule.fail(task.key)
        self._progress.advance(_name(task), failed=len(failed))
        self._progress.note(f"failed: {_name(task)}: {error}", trace or "")
        self._ledger.log(f"{_name(task)} {task.key}", trace or error)
        for cell in self._ledger.waiting_for(failed):
            self._ledger.fail(cell, _name(self._tasks[cell.last]), error, status)
        if self._options.fail_fast:
            self._schedule.abandon()


def _wanted(tasks: Iterable[Task], cells: Iterable[Cell], there: Callable[[str], bool]) -> dict[str, Task]:
    """The tasks of these cells in the plan's order; if a task has to be computed, also the others of its group."""
    keys = {key for cell in cells for key in cell.stages.values()}
    every = list(tasks)
    for task in reversed(every):
        if any(member in keys and not there(member) for member in task.together):
            keys |= {task.key, *task.needs.values()}
    return {task.key: task for task in every if task.key in keys}


def _name(task: Task, together: int = 1) -> str:
    work = task.work
    parts = [task.stage, work.dataset.id]
    parts += [plugin.name for kind, plugin in work.plugins.items() if kind != "dataset"]
    return " ".join([*parts, f"seed {work.seed}", *([f"and {together - 1} more"] if together > 1 else [])])
