"""Standard streams that are closed, full or broken stop no work; the exit code says that output was lost.

A missing stream is dangerous as well: the next file that is opened gets its number, and what libraries print ends up
in that file.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, Literal, TextIO

from unlearnbench.system.errors import unwritable
from unlearnbench.system.printing import complain

if TYPE_CHECKING:
    from typing_extensions import Buffer

NOBODY_READS = 141  # 128 + SIGPIPE, which shells report of a program whose reader is gone
NOT_SHOWN = 2


class _Patient(io.FileIO):
    """A stream that raises nothing: after the first error it drops whatever is written to it."""

    lost: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        try:
            while self.lost is None:
                written = super().write(data)
                if written is not None:
                    return written
                select.select([], [self], [])  # somebody else made it non-blocking
        except OSError as error:
            self.lost = error
        return memoryview(data).nbytes


def settle() -> None:
    """Put the null device in the place of missing streams, and keep stdout and stderr from raising."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(null, True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 (a number is not a path, and it stays open)
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = _patient(1, sys.stdout)
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = _patient(2, sys.stderr)


def reopen(stream: io.TextIOWrapper, number: int, mode: Literal["r", "w"]) -> None:
    """Open a closed text stream again in place, for everybody who holds it.

    Raises:
        TypeError: it is not a text stream over a file.
    """
    if not isinstance(stream, io.TextIOWrapper):
        raise TypeError(f"a {type(stream).__name__} that is closed can't be opened again")
    below = io.BufferedReader(io.FileIO(number, "r", closefd=False)) if mode == "r" else _buffer(number)
    io.TextIOWrapper.__init__(stream, below, encoding=stream.encoding, errors=stream.errors,
                              line_buffering=stream.line_buffering, write_through=stream.write_through)  # fmt: skip


def outcome(code: int) -> int:
    """The exit code of a program that is about to end: `code`, or a worse one if not all results could be shown."""
    with contextlib.suppress(OSError, ValueError):  # a caller's own stream
        sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if code >= NOT_SHOWN or not isinstance(raw, _Patient) or raw.lost is None:
        return code
    if raw.lost.errno == errno.EPIPE:
        return NOBODY_READS
    complain(f"error: {unwritable(raw.lost, 'stdout')}")
    return NOT_SHOWN


def _patient(number: int, stream: TextIO | None) -> TextIO:
    lines = number == 2 or (stream is not None and stream.isatty())
    encoding = "utf-8" if stream is None else stream.encoding
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.flush()
    return io.TextIOWrapper(
        _buffer(number),
        encoding=encoding, errors="backslashreplace", line_buffering=lines,  # a plugin's text never fails to print
    )  # fmt: skip


def _buffer(number: int) -> io.BufferedWriter:
    return io.BufferedWriter(_Patient(number, "w", closefd=False))
