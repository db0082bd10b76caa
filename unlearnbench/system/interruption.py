"""Signals that ask the program to end, by its user (Ctrl-C), an administrator or a terminal that was closed.

All end it alike, by a KeyboardInterrupt. One that was ignored when the program started, as `nohup` does, stays so.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

SIGNALS = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__)
TWICE = 1.0  # seconds: `timeout` and terminals that are closed send their signal twice, and mean one
MESSAGE = "interrupted; run the same command to go on"


@dataclass
class Ending:
    """What has asked the program to end.

    Attributes:
        number: of the signal that came first.
    """

    number: int = signal.SIGINT
    came: float | None = None
    held: int = 0
    waiting: bool = False

    @property
    def code(self) -> int:
        """The exit code: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.number

    def hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (what a signal handler is given)
        """Raises KeyboardInterrupt, at once or when nothing has to be held any more."""
        now = time.monotonic()
        repeated = self.came is not None and now - self.came < TWICE and number == self.number != signal.SIGINT
        if self.came is None:
            self.number, self.came = number, now
        if repeated:
            return
        if self.held:
            self.waiting = True
        else:
            raise KeyboardInterrupt


_ending = Ending()


@contextlib.contextmanager
def listening() -> Iterator[Ending]:
    """Within, signals that ask to end raise KeyboardInterrupt."""
    global _ending
    _ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield _ending
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heard = [number for number in SIGNALS if before[number] in (signal.SIG_DFL, signal.default_int_handler)]
    for number in heard:
        signal.signal(number, _ending.hear)
    try:
        yield _ending
    finally:
        for number in heard:
            signal.signal(number, before[number])


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Finish what is within before a signal that asks to end is heard."""
    ending = _ending
    ending.held += 1
    try:
        yield
    finally:
        ending.held -= 1
        if ending.waiting and not ending.held:
            ending.waiting = False
            raise KeyboardInterrupt


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Processes that are started within never hear SIGHUP. Those that track resources ignore the other two only."""
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Have the parent decide when this process ends: signals reach whole groups of processes, and SLURM's a whole job.

    Programs that it starts are not like that: what is ignored would be ignored by them too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _nothing)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass
