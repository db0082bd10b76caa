"""Protects every plugin from what another one does to their process.

The state that a process shares is read before each call of plugin code and put back afterwards, and a plugin that
changed it fails: a method that sets the precision of matrix products would otherwise change the numbers of all cells
computed after it. What a plugin sets inside a with-block is restored when the call ends, and passes.

The guard finds mistakes, and tricks by code that does not know of it. Code in the same process can always disable it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from unlearnbench.system.process_state import (
    global_random,
    python_settings,
    signals,
    standard_streams,
    torch_settings,
    torch_thread,
)
from unlearnbench.system.process_state.definitions import Definitions
from unlearnbench.system.process_state.shared_state import SPOILT, Change, ProcessStateError, SharedState, shown, spoil

__all__ = ["ProcessStateError", "Snapshot", "guarded", "recorded"]

# The position of the shared random streams is put back without a failure: `check` has rules of its own for it, and what
# a plugin seeds or draws then affects nobody.
RANDOM = SharedState("the global random state", global_random.state, global_random.restore, lambda _before, _after: [])
STATES = (  # modes of torch before all that computes with it
    *torch_settings.STATES, *torch_thread.STATES, *python_settings.STATES, *standard_streams.STATES,
    *signals.STATES,
)  # fmt: skip

GRACE = 1.0  # seconds that threads have to end
# Pools that libraries keep for their next call.
POOLS = ("joblib", "loky", "tqdm", "torch", "multiprocessing", "distributed", "tornado", "asyncio", "dask")
POOL_NAMES = ("asyncio_", "Dask-", "IO loop", "TCP-Executor", "Profile", "AsyncProcess", "ThreadPoolExecutor-",
              "Dummy-")  # fmt: skip


class Snapshot:
    """The current state that the process shares.

    Args:
        random: whether to include the shared random streams.
        states: what to look at instead of everything, threads included.
    """

    def __init__(self, random: bool = False, states: Sequence[SharedState] | None = None) -> None:
        self._states = (*(STATES if states is None else states), *((RANDOM,) if random else ()))
        self._values: list[Any] = [state.read() for state in self._states]
        self._threads = set(threading.enumerate()) if states is None else None

    def settle(self) -> list[Change]:
        """Put back what has changed since, and return the changes.

        Raises:
            ProcessStateError: something can't be put back; nothing may be computed in this process any more.
        """
        found = self._left_threads()
        for state, before in zip(self._states, self._values, strict=True):
            after = state.read()
            if before == after:  # in this order: some values know which additions are allowed
                continue
            changes = state.changes(before, after)
            _put_back(state, before, changes)
            found += changes
        return found

    def _left_threads(self) -> list[Change]:
        if self._threads is None:
            return []
        started = [thread for thread in threading.enumerate() if thread not in self._threads and not _is_pool(thread)]
        until = time.monotonic() + GRACE
        for thread in started:
            thread.join(max(0.0, until - time.monotonic()))
        left = [thread for thread in started if thread.is_alive()]
        return [Change(f"the number of threads, by '{shown(thread.name)}' that still runs", "ended", "running")
                for thread in left]  # fmt: skip


def _put_back(state: SharedState, value: Any, changes: list[Change]) -> None:
    try:
        state.write(value)
        if value == state.read():
            return
        why = "it has no effect"
    except Exception as error:
        why = shown(error)
    what = ", ".join(map(str, changes)) or state.name
    spoil(f"{what} can't be put back ({why})")


def _is_pool(thread: threading.Thread) -> bool:
    """Whether a thread is a library's, waiting for its next call."""
    target = getattr(thread, "_target", None)
    modules = {type(thread).__module__, getattr(target, "__module__", None) or ""}
    return thread.name.startswith(POOL_NAMES) or any(name.partition(".")[0] in POOLS for name in modules)


@contextmanager
def guarded(
    who: str, definitions: Definitions | None = None, random: bool = False, before: Snapshot | None = None
) -> Iterator[None]:
    """Run a plugin's code inside. Its changes to the process are put back, whether it raises or not.

    Args:
        who: the plugin, e.g. ``method crfu``.
        definitions: names to check as well, where code of several plugins runs or a plugin is imported.
        random: whether to put back the shared random streams, too.
        before: the state before, if it is known.

    Raises:
        ProcessStateError: it changed something. Its own exception takes precedence, unless the change may be its cause.
    """
    if SPOILT:
        raise ProcessStateError(SPOILT[0])
    before = before or Snapshot(random)
    try:
        yield
    except BaseException as error:
        if changes := _settle(before, definitions):
            # Where names are checked the harness's own code runs, too, and may have used what they now stand for.
            if definitions is not None and isinstance(error, Exception):
                raise ProcessStateError(f"{who} {_summary(changes)}") from error
            error.add_note(f"({who} also {_summary(changes)})")
        raise
    if changes := _settle(before, definitions):
        raise ProcessStateError(f"{who} {_summary(changes)}")


@contextmanager
def recorded(found: list[Change], definitions: Definitions) -> Iterator[None]:
    """As `guarded`, for `check`: adds to `found` and raises no error itself. The random streams are left alone."""
    before = Snapshot()
    try:
        yield
    finally:
        found += _settle(before, definitions)


def _settle(before: Snapshot, definitions: Definitions | None) -> list[Change]:
    # Names first: the functions that read states may be among them.
    return [*(definitions.settle() if definitions else []), *before.settle()]


def _summary(changes: list[Change]) -> str:
    listed = " and ".join(map(str, changes[:2])) + (f" and {len(changes) - 2} more" if len(changes) > 2 else "")
    return f"changed {listed}; set it inside a with-block"
