"""Finds and ends the processes that a plugin leaves running, however often they forked, detached or lost their parent.

On Linux an orphan's new parent is the nearest ancestor that asked for it (PR_SET_CHILD_SUBREAPER); so whatever descends
from such a process stays below it. Elsewhere only a process's group can be ended, and `can_adopt` says so.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

ENDING = 10.0  # seconds in which killed processes have to be gone
PROC = Path("/proc")
_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 4, 36  # linux/prctl.h


def can_adopt() -> bool:
    """Make this process the parent of all orphans among its descendants; False where there is no such thing."""
    return PROC.joinpath("self/stat").exists() and _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def close_to_others() -> None:
    """Deny other processes of the same user this one's memory and files; those of the superuser keep their access."""
    _prctl(_PR_SET_DUMPABLE, 0)


def open_to_others() -> None:
    """Undo `close_to_others`, in a fork."""
    _prctl(_PR_SET_DUMPABLE, 1)


def descendants(of: int, but: Collection[int] = ()) -> list[int]:
    """Processes that run below `of`, parents first, without those in `but` and their descendants."""
    children: dict[int, list[int]] = defaultdict(list)
    states: dict[int, str] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # it has just ended
                # "pid (name) state parent ...", where a name may hold anything.
                state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
                children[int(parent)].append(int(entry.name))
                states[int(entry.name)] = state
    found, left = [], [of]
    while left:
        for child in children[left.pop(0)]:
            if child not in but:
                left.append(child)
                if states[child] not in "ZX":
                    found.append(child)
    return found


def end(of: int, but: Collection[int] = ()) -> None:
    """Kill what runs below a process, and what that forks meanwhile."""
    _until(lambda: not _killed(descendants(of, but)))


def settled(of: int, but: Collection[int], seconds: float) -> list[int]:
    """What still runs below a process after some seconds; returns at once when nothing does."""
    _until(lambda: not descendants(of, but), seconds)
    return descendants(of, but)


def end_children() -> None:
    """Kill all children of this process, which adopts, with what descends from them, and wait for them."""
    with suppress(ChildProcessError):  # it has none, as nearly always
        while True:
            child, _ = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                end(os.getpid())
                os.waitpid(-1, 0)


def end_marked(mark: str) -> None:
    """Kill every process of this user whose environment holds `mark`."""

    def marked() -> list[int]:
        found = []
        for entry in PROC.iterdir() if PROC.joinpath("self/stat").exists() else ():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                with suppress(OSError):
                    if mark.encode() in (entry / "environ").read_bytes():
                        found.append(int(entry.name))
        return found

    _until(lambda: not _killed(marked()))


def _killed(pids: list[int]) -> list[int]:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return pids


def _until(done: Callable[[], bool], seconds: float = ENDING) -> None:
    last = time.monotonic() + seconds
    while not done() and time.monotonic() < last:
        time.sleep(0.02)


def _prctl(option: int, value: int) -> bool:
    try:
        return ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0  # type: ignore[no-any-return]
    except (OSError, AttributeError):  # another system
        return False
