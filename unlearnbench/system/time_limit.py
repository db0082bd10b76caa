"""The time that a job may take: whatever runs longer is ended, however it hangs."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType


class OverdueError(BaseException):
    """Work took too long. Not an Exception, which plugins catch."""


@contextlib.contextmanager
def limited(seconds: float | None, expendable: bool) -> Iterator[None]:
    """End the work inside if it takes longer than `seconds`.

    Args:
        expendable: whether this process may be ended with its work. If not, the work is interrupted, which needs the
            main thread and code that returns to Python now and then.

    Raises:
        OverdueError: the work was interrupted.
    """
    if seconds is None:
        yield
    elif expendable:
        # A C thread ends the process: it needs neither Python's lock nor anything that a plugin holds.
        with Path(os.devnull).open("w") as nowhere:
            faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()
    elif threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    else:
        yield


def _interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 (what a signal handler is given)
    raise OverdueError
