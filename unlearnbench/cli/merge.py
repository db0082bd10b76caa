"""The verb `merge`: joins the records of several people or machines in one result folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unlearnbench.cli import options
from unlearnbench.cli.exit_codes import FAILED, OK
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import complain, emit, emit_json, one_line

if TYPE_CHECKING:
    from unlearnbench.submissions.merge import Conflict, Merged
    from unlearnbench.submissions.reading import Submitted

SHOWN = 20  # lines of one kind; --format json shows all


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Result folders, e.g. results/quickstart.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The result folder to create: new or empty.")],
    keep: Annotated[
        Literal["first", "none"] | None,
        typer.Option(
            "--keep", help="If records contradict each other, keep the one from the DIR named first, or none."
        ),
    ] = None,
    output: options.Output = "text",
) -> int:
    """Join the records of several result folders.

    Every file is checked first. Records of a cell that agree become one. If they contradict each other, even because
    they come from different code or data, nothing is written and the exit code is 1, unless --keep decides.
    Exit code 2: a file or folder breaks a rule, and nothing is written.
    """
    from unlearnbench.submissions import merge as merging
    from unlearnbench.submissions import merged_folder
    from unlearnbench.submissions.reading import read_folder

    merged_folder.check_target(out, folders)
    read = [read_folder(folder) for folder in folders]
    for each in read:
        if each.left_out:
            shown = ", ".join(each.left_out[:3]) + (", ..." if len(each.left_out) > 3 else "")
            complain(f"left out of {each.path / 'records'}, not records: {shown}")
    if not any(each.cells for each in read):
        raise InputError(str(folders[0]), "holds no records, and neither does any other given folder")
    merged = merging.merge([each.cells for each in read], keep)
    unsettled = keep is None and bool(merged.conflicts)
    if not unsettled:
        merged_folder.write(merged, out)
    if output == "json":
        emit_json({**merging.as_json(merged), "out": None if unsettled else str(out)})
    else:
        _show(merged)
        emit("merge: " + " ".join(f"{name}={count}" for name, count in merged.counts.items()))
    if unsettled:
        complain("nothing is written: records contradict each other; --keep first or --keep none decides")
    return FAILED if unsettled else OK


def _show(merged: Merged) -> None:
    _list(line for each in merged.conflicts for line in _conflict(each))
    _list(f"superseded by a result: {each.what}: {each.status} in {each.folder}" for each in merged.superseded)
    _list(
        f"kept apart: {each.cell.what}: {_origin(each.cell)};"
        f" {'a result' if each.cell.is_failure else 'another record'} under another key counts: {_origin(each.counts)}"
        for each in merged.apart
    )


def _conflict(conflict: Conflict) -> Iterable[str]:
    from unlearnbench.submissions.agreement import largest

    what = largest(conflict.differences)
    assert what is not None
    more = len(conflict.differences) - 1
    shown = f"{what.what} is {_value(what.left)} or {_value(what.right)}" + (f" and {more} more" if more else "")
    keys = ", ".join(key[:12] for key in conflict.keys)
    why = ", computed from other code, data or versions" if len(conflict.keys) > 1 else ""
    yield f"conflict: {conflict.cells[0].what} ({keys}{why}): {shown}"
    for cell in conflict.cells:
        yield f"  {'kept' if cell is conflict.kept else 'one of them'}: {_origin(cell)}"


def _origin(cell: Submitted) -> str:
    origin = cell.origin
    versions = " ".join(f"{name} {origin['versions'].get(name, '?')}" for name in ("unlearnbench", "torch"))
    dirty = " with changes" if origin["git_dirty"] else ""
    commit = f"git {(origin['git_sha'] or 'unknown')[:12]}{dirty}"
    return f"{origin['folder']} ({commit}, {origin['device']}, {versions}, {origin['started_at']})"


def _value(value: object) -> str:
    return "missing" if value is None else f"{value:.17g}" if isinstance(value, float) else str(value)


def _list(lines: Iterable[str]) -> None:
    every = list(lines)
    for line in every[:SHOWN]:
        emit(("  " if line.startswith("  ") else "") + one_line(line))
    if len(every) > SHOWN:
        emit(f"... and {len(every) - SHOWN} more lines like these; --format json has them all")
