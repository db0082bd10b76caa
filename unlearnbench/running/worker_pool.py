"""The workers of a run and their devices; hides what each engine does when a worker dies."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import NamedTuple, Self

from unlearnbench.running import engines, executors
from unlearnbench.running.options import EngineName
from unlearnbench.running.worker import JobOutcome, JobPlace, carry_out, get_ready
from unlearnbench.suite.tasks import Job
from unlearnbench.system import interruption
from unlearnbench.system.printing import error_line

LOOK_AGAIN = 5.0  # seconds between looks at how many workers a cluster has


@dataclass
class Ended:
    """The jobs that ended, with and without an outcome.

    Attributes:
        lost: jobs whose worker died; `why` is the reason.
        one_by_one: whether each of these jobs was lost with its own worker. When a pool dies, any of its jobs may be
            the cause.
        late: jobs that took too long.
        stopped: jobs that were stopped because of other jobs.
    """

    finished: list[tuple[Job, JobOutcome]] = field(default_factory=list)
    lost: list[Job] = field(default_factory=list)
    why: str = ""
    one_by_one: bool = False
    late: list[Job] = field(default_factory=list)
    stopped: list[Job] = field(default_factory=list)


class _Running(NamedTuple):
    job: Job
    device: str
    since: float


class WorkerPool:
    """Workers, started when there is work.

    Args:
        slots: devices, one per concurrent job; all workers of a scheduler use the first.
        place: where jobs run; the device is filled in.
        scheduler: address of the Dask scheduler whose workers are used.
    """

    def __init__(
        self,
        name: EngineName,
        slots: Sequence[str],
        place: JobPlace,
        scheduler: str | None = None,
    ) -> None:
        self._name, self._slots, self._scheduler = name, list(slots), scheduler
        self._place = replace(place, expendable=name != "serial")
        self._free = list(slots)
        self._executor: Executor | None = None
        self._attacks = False
        self._starting: list[Future[None]] = []
        self._running: dict[Future[JobOutcome], _Running] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            with interruption.held():  # no worker is left behind, whatever happens
                engines.stop(self._executor)

    def call(self, attacks: bool = False) -> None:
        """Start the workers before there is work, because each takes seconds to import torch.

        Args:
            attacks: whether there will be attacks, which run in separate processes.
        """
        self._attacks = attacks
        if self._name != "serial":
            self._executor_started()
        else:
            get_ready(attacks)

    @property
    def is_idle(self) -> bool:
        """Whether no job is running."""
        return not self._running

    @property
    def has_room(self) -> bool:
        """Whether another job can start."""
        if self._name == "serial":  # a job is done when submit returns: handle its result before the next job
            return self.is_idle
        executor = self._executor_started()
        if isinstance(executor, executors.Cluster):
            return len(self._running) < executor.workers()
        return bool(self._free)

    def submit(self, job: Job) -> None:
        """Start a job on a free device."""
        # A scheduler's workers choose their own devices.
        device = self._free.pop() if self._scheduler is None else self._slots[0]
        try:
            executor = self._executor_started()
            if self._place.time_limit is not None:
                wait(self._starting)  # getting workers ready does not count as a job's time
            future: Future[JobOutcome] = executor.submit(carry_out, job, replace(self._place, device=device))
        except BrokenExecutor as error:  # a worker died while idle
            future = Future()
            future.set_exception(error)
        self._running[future] = _Running(job, device, time.monotonic())

    def wait(self) -> Ended:
        """Wait until at least one job ends, or until there may be more workers."""
        report = Ended()
        patience = LOOK_AGAIN if isinstance(self._executor, executors.Cluster) else None
        ended = wait(self._running, patience, FIRST_COMPLETED).done
        broken = [future for future in ended if isinstance(future.exception(), BrokenExecutor)]
        for future in ended.difference(broken):
            self._end(future, report)
        if broken:
            report.why = error_line(broken[0].exception() or BrokenExecutor())
            self._drop_executor(report)
        return report

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def _end(self, future: Future[JobOutcome], report: Ended) -> None:
        running = self._running.pop(future)
        if self._scheduler is None:
            self._free.append(running.device)
        try:
            outcome = future.result()
        except executors.WorkerDiedError as error:
            (report.late if self._is_late(running) else report.lost).append(running.job)
            report.one_by_one, report.why = True, error_line(error)
        except Exception as error:  # e.g. an outcome that can't be pickled
            report.finished.append((running.job, JobOutcome.failure(running.job, error)))
        else:
            if outcome.late:
                report.late.append(running.job)
            else:
                report.finished.append((running.job, outcome))

    def _drop_executor(self, report: Ended) -> None:
        """The workers are gone, with all running jobs."""
        late = [running.job for running in self._running.values() if self._is_late(running)]
        others = [running.job for running in self._running.values() if not self._is_late(running)]
        report.late += late
        # Jobs can't end a scheduler.
        (report.stopped if late or isinstance(self._executor, executors.Cluster) else report.lost).extend(others)
        if self._executor is not None:
            with contextlib.suppress(Exception):
                engines.stop(self._executor)
        self._executor, self._free, self._running = None, list(self._slots), {}

    def _is_late(self, running: _Running) -> bool:
        """Whether a job whose worker ended had taken too long: workers end themselves then."""
        limit = self._place.time_limit
        return limit is not None and time.monotonic() - running.since >= limit

    def _executor_started(self) -> Executor:
        if self._executor is None:
            self._executor = engines.start(self._name, len(self._slots), self._scheduler)
            with contextlib.suppress(BrokenExecutor):  # the first job will report it
                self._starting = [
                    self._executor.submit(get_ready, self._attacks) for _ in self._slots if self._name != "serial"
                ]
        return self._executor
