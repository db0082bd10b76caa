"""Signal handlers, blocked signals, and the timers that send signals."""

from __future__ import annotations

import importlib
import signal
import time
from dataclasses import dataclass
from typing import Any

from unlearnbench.system.process_state.shared_state import Change, SharedState, named

_SIGNALS = sorted(int(number) for number in signal.valid_signals())
# As numbers and functions: the module `signal` takes 20 times as long, for names.
_C: Any = importlib.import_module("_signal")


def _name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)


# --- handlers --------------------------------------------------------------------------------------------------------


def _handlers() -> tuple[Any, ...]:
    return tuple(map(_C.getsignal, _SIGNALS))


def _set_handlers(handlers: tuple[Any, ...]) -> None:
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        if handler is not None and _C.getsignal(number) is not handler:
            signal.signal(number, handler)


# --- which are held back ---------------------------------------------------------------------------------------------


def _blocked() -> frozenset[int]:
    return frozenset(_C.pthread_sigmask(signal.SIG_BLOCK, ()))


def _block(numbers: frozenset[int]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, numbers)


def _blocked_changes(before: frozenset[int], after: frozenset[int]) -> list[Change]:
    def listed(numbers: frozenset[int]) -> str:
        return ", ".join(map(_name, sorted(numbers))) or "none"

    return [Change("signal.pthread_sigmask", listed(before), listed(after))]


# --- timers ----------------------------------------------------------------------------------------------------------

_TIMERS = ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")
_NUMBERS = tuple(getattr(signal, name) for name in _TIMERS)
_EXACT = 0.01  # seconds


@dataclass(frozen=True, eq=False)
class Timers:
    """What `signal.setitimer` has set: for each, the seconds left and those between two signals.

    The harness's own time limit is one of them, and runs on while a plugin computes.

    Attributes:
        since, until: when the first of them, that of `signal.alarm`, was read. It runs by the clock; the others run by
            the process's computing time, and for those only whether they run is compared.
    """

    left: tuple[tuple[float, float], ...]
    since: float
    until: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timers) and not self.changed(other)

    __hash__ = None  # type: ignore[assignment]

    def changed(self, after: Timers) -> list[int]:
        """The timers that were set since."""
        return [index for index in range(len(_TIMERS)) if not self._is_same(after, index)]

    def _is_same(self, after: Timers, index: int) -> bool:
        (left, every), (left_after, every_after) = self.left[index], after.left[index]
        if index > 0 or not left or every:
            return bool(left) == bool(left_after) and every == every_after
        if not left_after:  # it went off
            return self.since + left <= after.until
        return (
            self.since + left <= after.until + left_after + _EXACT
            and after.since + left_after <= self.until + left + _EXACT
        )


def _timers() -> Timers:
    since = time.monotonic()
    first = _C.getitimer(signal.ITIMER_REAL)
    until = time.monotonic()
    return Timers((first, *map(_C.getitimer, _NUMBERS[1:])), since, until)


def _set_timers(to: Timers) -> None:
    for index in to.changed(_timers()):
        left, every = to.left[index]
        if index == 0 and left:
            left = max(to.since + left - time.monotonic(), 1e-6)
        signal.setitimer(_NUMBERS[index], left, every)


def _timers_changes(before: Timers, after: Timers) -> list[Change]:
    def shown(timers: Timers, index: int) -> str:
        left, every = timers.left[index]
        return "off" if not left else f"{left:.3g} s" + (f", then every {every:.3g} s" if every else "")

    return [
        Change(f"signal.setitimer({_TIMERS[index]})", shown(before, index), shown(after, index))
        for index in before.changed(after)
    ]


STATES = (
    SharedState(
        "signal.signal", _handlers, _set_handlers, named([f"the handler of {_name(each)}" for each in _SIGNALS])
    ),
    # Before signals are unblocked: one that a timer sends may be among them.
    SharedState("signal.setitimer", _timers, _set_timers, _timers_changes),
    SharedState("signal.pthread_sigmask", _blocked, _block, _blocked_changes),
)
