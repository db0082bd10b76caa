"""The workers of a run and the devices they have leased; hides what an engine does when a worker dies."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from unlearnbench import engine
from unlearnbench.printing import error_line
from unlearnbench.schedule import Job
from unlearnbench.worker import Outcome, Place, carry_out, get_ready


@dataclass
class Report:
    """What ended: jobs with an outcome, and jobs without one, because a worker died and `why`."""

    finished: list[tuple[Job, Outcome]] = field(default_factory=list)
    lost: list[Job] = field(default_factory=list)
    why: str = ""


class Crew:
    """Workers, started when there is work.

    Args:
        slots: devices, one for each job at a time.
        place: where jobs are carried out, but for the device.
    """

    def __init__(self, name: engine.EngineName, slots: Sequence[str], place: Place) -> None:
        self._name, self._slots, self._place = name, list(slots), place
        self._free = list(slots)
        self._executor: Executor | None = None
        self._running: dict[Future[Outcome], tuple[Job, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            engine.stop(self._executor)

    def call(self) -> None:
        """Start the workers before there is work, for importing torch takes each of them seconds."""
        if self._name != "serial":
            self._executor = engine.start(self._name, len(self._slots))
            for _ in self._slots:
                self._executor.submit(get_ready)

    @property
    def is_idle(self) -> bool:
        """Whether no job is under way."""
        return not self._running

    @property
    def has_room(self) -> bool:
        """Whether another job can start."""
        # The serial engine has carried a job out when it returns: its result comes before the next job.
        return bool(self._free) and (self.is_idle or self._name != "serial")

    def submit(self, job: Job) -> None:
        """Start a job on a free device."""
        device = self._free.pop()
        try:
            self._executor = self._executor or engine.start(self._name, len(self._slots))
            future: Future[Outcome] = self._executor.submit(carry_out, job, replace(self._place, device=device))
        except BrokenProcessPool as error:  # a worker died while it had nothing to do
            future = Future()
            future.set_exception(error)
        self._running[future] = job, device

    def wait(self) -> Report:
        """Wait until a job ends, at least."""
        report = Report()
        for future in wait(self._running, return_when=FIRST_COMPLETED).done:
            job, device = self._running.pop(future)
            self._free.append(device)
            try:
                report.finished.append((job, future.result()))
            except BrokenProcessPool as error:
                report.lost.append(job)
                report.why = error_line(error)
            except Exception as error:  # e.g. an outcome that can't be sent
                report.finished.append((job, Outcome.failure(job, error)))
        if report.lost:
            # The pool is gone with everything in it.
            report.lost += [job for job, _ in self._running.values()]
            if self._executor is not None:
                with contextlib.suppress(Exception):
                    engine.stop(self._executor)
            self._executor, self._free, self._running = None, list(self._slots), {}
        return report
