"""The verb `verify`: computes recorded cells again, from their records alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unlearnbench.cli import completion, options
from unlearnbench.cli.exit_codes import FAILED, OK
from unlearnbench.suite.packaged import suite_file
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import complain, emit, emit_json, emit_table, one_line
from unlearnbench.workflow import options as workflow

if TYPE_CHECKING:
    from unlearnbench.submissions.verify import Checked

VERDICTS = ("equal", "within tolerance", "differs", "failed here", "can't be verified", "not tried")
COLUMNS = ("key", "what", "metric", "recorded", "recomputed", "difference", "verdict")


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A result folder, e.g. results/quickstart.")],
    sample: Annotated[int, typer.Option("--sample", min=1, metavar="N", help="The number of cells to compute again.")],
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="S", help="Another seed draws another sample.")] = 0,
    cheapest: Annotated[bool, typer.Option("--cheapest", help="For each kind of cell, pick the fastest.")] = False,
    most_seconds: Annotated[
        float | None, typer.Option("--max-seconds", min=1, metavar="T", help="Leave out cells that would take longer.")
    ] = None,
    suite: Annotated[
        Path | None,
        typer.Option(
            "--suite",
            metavar="SUITE",
            parser=suite_file,
            autocompletion=completion.suites,
            help="The suite whose seed applies to records that do not hold one.",
        ),
    ] = None,
    jobs: options.Jobs = None,
    device: options.Device = "auto",
    data: options.Data = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Parent of the temporary store [the system's]."),
    ] = None,
    plugins: options.Plugins = None,
    output: options.Output = "text",
) -> int:
    """Compute a sample of recorded cells again.

    From their records alone, in a temporary store. On the recorded kind of machine with the recorded packages, values
    must be equal to the last bit; otherwise within a tolerance. Times are not compared. Exit code 0 if all agree, 1 if
    some differ or can't be verified.
    """
    from unlearnbench.registry import registry
    from unlearnbench.submissions import reading, recipes, sampling
    from unlearnbench.submissions import verify as verifying
    from unlearnbench.system import devices

    devices.parse(device)
    engine, workers = workflow.engine_and_jobs(None, jobs)
    suite_seed = recipes.seed_of(suite) if suite is not None else None
    root, folders = workflow.data_root(data), tuple(place.absolute() for place in plugins or ())
    cache = cache.absolute() if cache is not None else None
    if cache is not None and not cache.is_dir():
        raise InputError(str(cache), "not a folder" if cache.exists() else "no such folder")
    cells = [cell for cell in reading.read_folder(folder).cells if sampling.comparable(cell)]
    if not cells:
        raise InputError(str(folder), "holds no results that could be computed again")
    known = registry.discover(plugins or ())
    for place in plugins or ():
        complain(f"plugins taken from {place}, whose code runs here: {', '.join(known.taken(place)) or 'none'}")
    chosen = sampling.sample(cells, sample, seed, cheapest)
    how = verifying.VerifyOptions(root, folders, cache, engine, workers, device, most_seconds, suite_seed)
    checked = list(verifying.verify(chosen, known, how))
    counts = Counter(each.verdict for each in checked)
    if output == "json":
        counted = {verdict: counts[verdict] for verdict in VERDICTS}  # type: ignore[index]
        emit_json({"folder": str(folder), "cells": len(cells), "sample": len(checked), "seed": seed, **counted,
                   "checked": [_plain(each) for each in checked]})  # fmt: skip
    else:
        emit_table(COLUMNS, [_line(each) for each in checked])
        parts = " ".join(f"{verdict.replace(' ', '_')}={counts[verdict]}" for verdict in VERDICTS)  # type: ignore[index]
        emit(f"verify: cells={len(cells)} sample={len(checked)} {parts}")
    agreeing = counts["equal"] + counts["within tolerance"]
    return OK if agreeing and agreeing + counts["not tried"] == len(checked) else FAILED


def _line(checked: Checked) -> list[str]:
    """A cell and the metric that differs most; or why nothing could be compared."""
    from unlearnbench.submissions.agreement import largest

    record, worst = checked.record, largest(checked.differences)
    head = [record.key[:12], record.what]
    if checked.reason is not None:
        return [*head, "", "", "", "", f"{checked.verdict}: {checked.reason}"]
    if worst is None:
        first = next((row for row in record.measured if row["value"] is not None), record.measured[0])
        return [*head, first["metric"], _shown(first["value"]), _shown(first["value"]), "0", checked.verdict]
    by = "" if worst.by is None else f"{worst.by:.3g} of {worst.allowed:.3g}"
    where = " on a machine of the same kind" if checked.verdict == "differs" and checked.same_kind else ""
    return [*head, worst.what, _shown(worst.left), _shown(worst.right), by, checked.verdict + where]


def _plain(checked: Checked) -> dict[str, Any]:
    record, again = checked.record, checked.again
    values = {(row["metric"], row["step"]): row["value"] for row in again.measured} if again is not None else {}
    return {
        "key": record.key,
        "what": record.what,
        "verdict": checked.verdict,
        "reason": checked.reason,
        "same_kind": checked.same_kind,
        "recorded_by": record.origin,
        "recomputed_by": None if again is None else {**again.origin, "folder": None},
        "values": [
            {"metric": row["metric"], "step": row["step"], "recorded": row["value"],
             "recomputed": values.get((row["metric"], row["step"]))}
            for row in record.measured
        ],
        "differences": [
            {"what": each.what, "recorded": each.left, "recomputed": each.right, "difference": each.by,
             "allowed": each.allowed}
            for each in checked.differences
        ],
    }  # fmt: skip


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    return f"{value:.6g}" if isinstance(value, float) else one_line(str(value), 40)
