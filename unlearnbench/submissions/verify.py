"""Computes recorded cells again, from their records alone and with an empty store, and compares the results."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from unlearnbench.registry.registry import Registry
from unlearnbench.submissions import agreement, recipes
from unlearnbench.submissions.agreement import RecordDifference
from unlearnbench.submissions.reading import Submitted, read_cell
from unlearnbench.submissions.sampling import estimate
from unlearnbench.suite import plan
from unlearnbench.suite.plan import Cell
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import one_line

if TYPE_CHECKING:
    from unlearnbench.running.options import EngineName, Summary

VerifyVerdict = Literal["equal", "within tolerance", "differs", "failed here", "can't be verified", "not tried"]


@dataclass(frozen=True)
class VerifyOptions:
    """Where the data are, what computes, and for how long.

    Attributes:
        below: the folder for the temporary store; None: the system's folder for temporary files.
        most_seconds: when to stop; None: when everything is done.
        suite_seed: for records that do not state theirs.
    """

    data_root: Path
    plugin_dirs: tuple[Path, ...] = ()
    below: Path | None = None
    engine: EngineName = "serial"
    jobs: int = 1
    device: str = "auto"
    most_seconds: float | None = None
    suite_seed: int | None = None


@dataclass(frozen=True)
class Checked:
    """What became of a recorded cell.

    Attributes:
        reason: why there is nothing to compare; None if there is.
        same_kind: whether the machines and packages were of one kind, so that equal means equal bits.
    """

    record: Submitted
    verdict: VerifyVerdict
    reason: str | None = None
    differences: list[RecordDifference] = field(default_factory=list)
    again: Submitted | None = None
    same_kind: bool | None = None


def verify(records: Sequence[Submitted], registry: Registry, how: VerifyOptions) -> Iterator[Checked]:
    """Compute cells again and yield each verdict as soon as it is known.

    Cells that cannot be verified come first. The others are computed all at once or, if the time is limited, the
    shortest first, in rounds of as many as there are workers. Artifacts are shared, and deleted at the end.

    Raises:
        InputError: a device is missing, or a folder cannot be written.
    """
    end = time.monotonic() + how.most_seconds if how.most_seconds is not None else None
    cells: list[tuple[Submitted, Cell]] = []
    for record in records:
        try:
            cells.append((record, recipes.rebuild(record, registry, how.data_root, how.suite_seed)))
        except recipes.UnverifiableError as error:
            yield Checked(record, "can't be verified", str(error))
    try:
        folder = tempfile.TemporaryDirectory(prefix="unlearnbench-verify-", dir=how.below, ignore_cleanup_errors=True)
    except OSError as error:
        raise InputError(str(how.below), f"can't be written: {error.strerror}") from error
    with folder as place:
        size = max(len(cells), 1)
        if end is not None:  # round by round, as long as there is time
            size = how.jobs
            cells.sort(key=lambda pair: estimate(pair[0]))
        for start in range(0, len(cells), size):
            some = cells[start : start + size]
            left = end - time.monotonic() if end is not None else None
            if left is not None:
                late = [record for record, _ in some if estimate(record) > left]
                yield from (Checked(record, "not tried", "no time left for it") for record in late)
                some = [(record, cell) for record, cell in some if record not in late]
            if some:
                yield from _round(some, Path(place), str(start), how, left)


def _round(
    some: list[tuple[Submitted, Cell]], place: Path, name: str, how: VerifyOptions, seconds: float | None
) -> Iterator[Checked]:
    """Compute some cells in a results folder of their own, so that no record of an earlier round is in the way."""
    from unlearnbench.running import runner
    from unlearnbench.running.options import RunOptions

    results = place / "results" / name
    options = RunOptions(
        data_root=how.data_root, results=results, cache=place / "store", engine=how.engine, jobs=how.jobs,
        device=how.device, plugin_dirs=how.plugin_dirs, time_limit=seconds,
    )  # fmt: skip
    try:
        planned = plan.build([cell.setting for _, cell in some], how.data_root)  # with the packages of this machine
        summary = runner.run(planned, options)
    except InputError as error:  # data that cannot be loaded, or a scenario that does not fit them
        if len(some) > 1:
            for index, one in enumerate(some):
                yield from _round([one], place, f"{name}.{index}", how, seconds)
            return
        yield Checked(some[0][0], "can't be verified", one_line(str(error)))
        return
    if summary.interrupted:
        raise KeyboardInterrupt
    for (record, _), cell in zip(some, planned.cells, strict=True):
        yield _checked(record, cell, results, summary)


def _checked(record: Submitted, cell: Cell, results: Path, summary: Summary) -> Checked:
    again = results / "records" / f"{cell.key}.parquet"
    if not again.is_file():
        failure = results / "records" / f"{cell.key}.failed.parquet"
        if failure.is_file():
            failed = read_cell(failure, results)
            verdict: VerifyVerdict = "not tried" if failed.status == "timeout" else "failed here"
            return Checked(record, verdict, one_line(failed.common["error"] or failed.status))
        keys = {each.key for each in summary.plan.cells}
        reason = "no record of it" if cell.key in keys else "this machine has not the memory for as many models at once"
        return Checked(record, "can't be verified", reason)
    found = read_cell(again, results)
    apart = agreement.differences(record, found)
    close: VerifyVerdict = "equal" if not apart else "within tolerance"
    verdict = close if all(each.is_small for each in apart) else "differs"
    return Checked(record, verdict, None, apart, found, agreement.same_kind(record, found))
