"""Starts a process that holds the plugin, and ensures that nothing of it outlives the examination."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from unlearnbench.conformance import subject_process
from unlearnbench.conformance.channel import Channel, LostError
from unlearnbench.system import descendants
from unlearnbench.system.printing import one_line

ENDING = 5.0  # seconds for an interpreter to end by itself, including what libraries do then
LINGERING = 2.0  # more seconds for processes of libraries that end with their parent (joblib's resource tracker)
SHOWN_LINES = 200  # of a plugin's output, on stderr


class Host:
    """A process that holds the plugin.

    Args:
        wait: waits for its end, at most for the given seconds.
        stream: what it answers on.
        output: what it prints.

    Attributes:
        left: processes that were still running when it had ended.
        forged: whether something other than an answer was written into the channel.
    """

    def __init__(self, pid: int, wait: Callable[[float], object], stream: socket.socket, output: int) -> None:
        self.pid, self._wait, self._output = pid, wait, output
        self.channel = Channel(stream)
        self.left, self.forged = 0, False

    def show(self) -> None:
        """Show from now on what the process prints."""
        threading.Thread(target=_relay, args=(self._output,), daemon=True).start()

    def end(self, others: Collection[int]) -> None:
        """Let the process end, count what it leaves running, and kill that.

        Args:
            others: processes of the examiner that are to stay.
        """
        with suppress(LostError):
            self.channel.restart(ENDING)
            self.channel.ask({"ask": "end"})
        self._wait(ENDING)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._wait(ENDING)
        self.left = len(descendants.settled(os.getpid(), others, LINGERING))
        self.kill(others)

    def kill(self, others: Collection[int]) -> None:
        """End the process and whatever descends from it, at once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        descendants.end(os.getpid(), others)
        self._wait(ENDING)
        self.forged = not self.channel.silent
        self.channel.close()


def fresh(folder: Path) -> Host:
    """A process with a new interpreter, which shares nothing with this one.

    Args:
        folder: holds `scratch`, in which it may write, and `empty`, its working folder.
    """
    ours, theirs = socket.socketpair()
    output, write = os.pipe()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "unlearnbench.conformance.subject_process", str(theirs.fileno()),
             str(folder), str(os.getpid())],
            stdin=subprocess.DEVNULL, stdout=write, stderr=write, start_new_session=True, pass_fds=[theirs.fileno()],
        )  # fmt: skip
    os.close(write)

    def wait(seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)

    return Host(process.pid, wait, ours, output)


def forked(folder: Path) -> Host:
    """A fork of this process: libraries are imported, and their first-use work is done.

    This process must have no threads, and hold nothing that a plugin must not see. Arguments as for `fresh`.
    """
    ours, theirs = socket.socketpair()
    output, write = os.pipe()
    arguments = (theirs, write, folder, os.getpid())
    process = multiprocessing.get_context("fork").Process(target=subject_process.serve_fork, args=arguments)
    process.start()
    theirs.close()
    os.close(write)
    assert process.pid is not None
    return Host(process.pid, process.join, ours, output)


def _relay(output: int) -> None:
    """Show what a plugin prints, marked as such so that it can't look like a report, up to a limit."""
    lines = 0
    with open(output, "rb") as stream:
        while line := stream.readline(1 << 16):
            lines += 1
            if lines <= SHOWN_LINES:
                sys.stderr.write(f"plugin: {one_line(line.decode(errors='replace'))}\n")
            elif lines == SHOWN_LINES + 1:
                sys.stderr.write(f"plugin: (more than {SHOWN_LINES} lines; the rest is left out)\n")
            sys.stderr.flush()
