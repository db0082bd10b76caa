"""Unlearnbench and the ordinary way measured in turn, and the rows of the table that come of it."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Literal, Self

Unit = Literal["ms", "s", "per second", "GB", "%"]


@dataclass(frozen=True)
class Row:
    """One line of the table. A ratio over 1 is good: faster than the ordinary way, or under a bar.

    Attributes:
        against: what `other` is: how the ordinary way was measured, or "bar".
        low, high: the smallest and largest ratio of neighbouring measurements; None where there was one only.
    """

    what: str
    unit: Unit
    value: float
    against: str
    other: float
    ratio: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Side:
    """A job, and how many units of work one call of it does."""

    call: Callable[[], Any]
    units: float


class Worker:
    """A process of its own: neither side finds the other's heap, imports or settings.

    Called with a function and its arguments, it returns the function's result.

    Args:
        settle: called there first.
    """

    def __init__(self, settle: Callable[[], None] | None = None) -> None:
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), settle)

    def __call__(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return self._pool.submit(function, *arguments, **named).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def compare(
    benchmark: Any, product: Side, plain: Side, rounds: int, warmup: int = 1
) -> tuple[list[float], list[float]]:
    """Plain, product, plain, product, ...: what disturbs the machine hits both. The first `warmup` pairs don't count.

    Returns:
        Seconds per unit of work of product and plain, one for each round.
    """
    others: list[float] = []

    def before_each_round() -> None:
        others.append(seconds(plain.call) / plain.units)

    benchmark.pedantic(product.call, setup=before_each_round, rounds=rounds, warmup_rounds=warmup)
    return [spent / product.units for spent in benchmark.stats.stats.data], others[warmup:]


def timed_row(what: str, unit: Unit, times: list[float], others: list[float], against: str) -> Row:
    """Medians, and their ratio, of seconds per unit of work."""
    value, other = median(times), median(others)
    pairs = [second / first for first, second in zip(times, others, strict=True)]
    low, high = (min(pairs), max(pairs)) if len(pairs) > 1 else (None, None)
    return Row(what, unit, in_unit(value, unit), against, in_unit(other, unit), other / value, low, high)


def single_row(what: str, unit: Unit, value: float, other: float, against: str = "bar") -> Row:
    """One value held against another, or against a bar that it must stay under."""
    return Row(what, unit, in_unit(value, unit), against, in_unit(other, unit), other / value)


def keep(benchmark: Any, *rows: Row) -> None:
    """Rows go into the benchmark's JSON."""
    benchmark.extra_info["rows"] = [asdict(row) for row in rows]


def in_unit(value: float, unit: Unit) -> float:
    """Seconds, bytes or shares as the table shows them."""
    return {"ms": 1e3 * value, "per second": 1 / value, "GB": value / 1e9, "%": 100 * value}.get(unit, value)


def peak_bytes() -> int:
    """The most memory that this process ever had resident."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says includes the parent's memory at the time of the fork
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
