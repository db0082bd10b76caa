"""Signals that ask the program to end, by its user (Ctrl-C), an administrator or a terminal that was closed.

All raise a KeyboardInterrupt. A signal that was ignored when the program started, as under `nohup`, stays ignored.
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
TWICE = 1.0  # seconds; `timeout` and closing terminals send their signal twice and mean it once
MESSAGE = "interrupted; run the same command to go on"


@dataclass
class Ending:
    """What has asked the program to end.

    Attributes:
        number: the signal that came first.
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
        """Raises KeyboardInterrupt, at once or as soon as nothing is held any more."""
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
    """Inside, signals that ask the program to end raise KeyboardInterrupt."""
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
    """Finish the block before a signal that asks the program to end takes effect."""
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
    """Processes that are started inside never receive SIGHUP: resource trackers ignore only the other two signals."""
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Let the parent decide when this process ends: signals reach whole process groups, and SLURM's a whole job.

    Other signals than Ctrl-C get an empty handler: programs that this process starts would inherit an ignored one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _nothing)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass
