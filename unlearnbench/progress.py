"""Progress on stderr: a live bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from unlearnbench.printing import one_line

PLAIN_EVERY = 10.0  # seconds between plain lines


class Progress:
    """Tasks done of `total`, with the time that is left by the rate so far."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.failed = total, 0, 0
        self._started = self._said = time.monotonic()
        self._bar = _bar(total) if sys.stderr.isatty() and total else None

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

    def advance(self, what: str, failed: int = 0) -> None:
        """One task finished, `what` names it; or `failed` did: one, and those that waited for it."""
        self.done += failed or 1
        self.failed += failed
        if self._bar is not None:
            from rich.markup import escape

            self._bar.update(self._bar.task_ids[0], completed=self.done, description=escape(one_line(what)))
        elif time.monotonic() - self._said >= PLAIN_EVERY:
            self._say(what)

    def grow(self, more: int) -> None:
        """More tasks than was thought."""
        self.total += more
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], total=self.total)

    def note(self, text: str) -> None:
        """A line that stays."""
        if self._bar is not None:
            from rich.markup import escape

            self._bar.console.print(escape(one_line(text)), highlight=False, soft_wrap=True)
        else:
            print(one_line(text), file=sys.stderr, flush=True)  # noqa: T201 (stderr is what this module is for)

    def _say(self, what: str = "") -> None:
        self._said = time.monotonic()
        passed = self._said - self._started
        left = passed / self.done * (self.total - self.done) if self.done else None
        parts = [f"tasks {self.done}/{self.total}", f"{passed:.0f} s"]
        if left is not None and self.done < self.total:
            parts.append(f"about {left:.0f} s left")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if what:
            parts.append(one_line(what))
        print(", ".join(parts), file=sys.stderr, flush=True)  # noqa: T201


def _bar(total: int):  # type: ignore[no-untyped-def] # rich is imported only where a terminal wants it
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        TextColumn("{task.description}"), console=Console(stderr=True), transient=True,
    )  # fmt: skip
    bar.add_task("", total=total)
    return bar
