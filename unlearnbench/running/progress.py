"""Progress on stderr: a live bar on a terminal, plain lines elsewhere. Everything also goes to the run's log."""

from __future__ import annotations

import logging
import sys
import time
from itertools import count
from types import TracebackType
from typing import Any, Self

from unlearnbench.running.log import Reporter, RunLog, detail_of
from unlearnbench.system.printing import complain, one_line

PLAIN_EVERY = 10.0  # seconds between plain lines


class Progress:
    """Finished tasks of `total`, cells by status, and what each worker is doing.

    Args:
        cells: the number of cells to compute.
        cached: the number of cells finished by earlier runs.
        log: the run's log; closed at the end.
        verbose: whether to show everything that is logged.
    """

    def __init__(
        self, total: int, cells: int = 0, cached: int = 0, log: RunLog | None = None, verbose: bool = False
    ) -> None:
        self.total, self.done, self.failed = total, 0, 0
        self.cells, self.cells_done, self.cells_failed, self.cached = cells, 0, 0, cached
        self._log = log or Reporter("unlearnbench.running")
        self._log.addHandler(_Shown(self, logging.INFO if verbose else logging.WARNING))
        self._workers: dict[str, tuple[int, str, float]] = {}  # by the job's key: number, job, since when
        self._started = self._said = time.monotonic()
        self._bar = _bar(self) if sys.stderr.isatty() and total else None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self.total:
            self._say()
        self._log.debug(f"end{f' by {kind.__name__}' if kind else ''}: {', '.join(self._counts())}")
        if isinstance(self._log, RunLog):
            self._log.close()

    # --- events -------------------------------------------------------------------------------------------------------

    def start(self, key: str, what: str) -> None:
        """A worker starts the job with this key; `what` names it."""
        taken = {number for number, _, _ in self._workers.values()}
        number = next(number for number in count(1) if number not in taken)
        self._workers[key] = number, one_line(what, longest=120), time.monotonic()
        self._log.info(f"start {what} (worker {number})")
        self._update()

    def end(self, key: str, how: str = "end") -> None:
        """The job with this key is no longer running."""
        number, what, since = self._workers.pop(key)
        self._log.info(f"{how} {what} (worker {number}, {time.monotonic() - since:.2f} s)")
        self._update()

    def advance(self, what: str, failed: int = 0) -> None:
        """One task, named by `what`, finished; or `failed` tasks failed: one, and those that waited for it."""
        self.done += failed or 1
        self.failed += failed
        self._update()
        if self._bar is None and time.monotonic() - self._said >= PLAIN_EVERY:
            self._say(what)

    def cell(self, failed: bool = False) -> None:
        """A cell was recorded."""
        self.cells_done += not failed
        self.cells_failed += failed
        self._update()

    def grow(self, more: int) -> None:
        """There are more tasks than expected."""
        self.total += more
        self._update()

    def note(self, text: str, detail: str = "") -> None:
        """A lasting line; `detail`, of several lines, goes to the log."""
        self._log.warning(text, extra={"detail": detail})

    # --- display ------------------------------------------------------------------------------------------------------

    def now(self) -> list[str]:
        """What each worker is doing."""
        return [f"{number}: {what}" for number, what, _ in sorted(self._workers.values())]

    def rate(self) -> str:
        """Tasks per minute."""
        passed = time.monotonic() - self._started
        return f"{60 * self.done / passed:.3g} tasks/min" if self.done and passed else ""

    def cell_counts(self) -> str:
        """The numbers of cells that are done, failed, and cached."""
        others = [f"{n} {name}" for name, n in (("failed", self.cells_failed), ("cached", self.cached)) if n]
        return f"cells {self.cells_done}/{self.cells}" + (f" ({', '.join(others)})" if others else "")

    def _counts(self) -> list[str]:
        failed = f" ({self.failed} failed)" if self.failed else ""
        passed = time.monotonic() - self._started
        parts = [f"tasks {self.done}/{self.total}{failed}", self.cell_counts() if self.cells else "", f"{passed:.0f} s"]
        parts.append(self.rate())
        if self.done and self.done < self.total:
            parts.append(f"about {passed / self.done * (self.total - self.done):.0f} s left")
        return [part for part in parts if part]

    def _say(self, what: str = "") -> None:
        self._said = time.monotonic()
        working = f"now {'; '.join(self.now())}" if self._workers else what
        complain(", ".join([*self._counts(), *([working] if working else [])]))

    def show(self, safe: str) -> None:
        """Print a lasting line."""
        if self._bar is not None:
            from rich.text import Text  # not searched for markup or names of emoji

            self._bar.console.print(Text(safe), highlight=False, soft_wrap=True)
        else:
            sys.stderr.write(f"{safe}\n")

    def _update(self) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done, total=self.total)


class _Shown(logging.Handler):
    """Shows what is logged: notes, and with --verbose every event and the details of notes."""

    def __init__(self, progress: Progress, level: int) -> None:
        super().__init__(level)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        details = detail_of(record) if self.level < logging.WARNING else []
        for line in (one_line(record.getMessage()), *details):
            self._progress.show(line)


def _bar(shown: Progress) -> Any:  # rich is imported only on a terminal
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class WithWorkers(Bar):
        """The bar, followed by a line for the cells and one for each worker."""

        def get_renderables(self) -> Any:
            yield from super().get_renderables()
            cells = ", ".join(part for part in (shown.cell_counts(), shown.rate()) if part)
            for line in ([cells] if shown.cells else []) + shown.now():
                yield Text(line, no_wrap=True, overflow="ellipsis")

    bar = WithWorkers(
        BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    bar.add_task("", total=shown.total)
    return bar
