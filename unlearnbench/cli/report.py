"""The verb `report`: prints a run's leaderboard, built from its records. Writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from unlearnbench.cli.exit_codes import OK
from unlearnbench.system.errors import records_of
from unlearnbench.system.printing import emit


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A result folder, e.g. results/quickstart.")],
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="Show this metric instead of each table's main ones. Repeats."),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="COLUMN[:asc|desc]", help="Order within each table [rank; the best first]."),
    ] = None,
    output: Annotated[
        Literal["text", "json", "csv", "markdown", "latex", "html", "leaks"],
        typer.Option("--format", help="How the leaderboard is written to stdout."),
    ] = "text",
) -> int:
    """Print a run's leaderboard, built from its records."""
    records = records_of(folder)
    from unlearnbench.leaderboard import build
    from unlearnbench.report import export

    frame = build.of(records)
    if output == "text":
        from rich.console import Console

        from unlearnbench.report import terminal

        Console(highlight=False).print(terminal.render(frame, metric or None, sort))
    else:
        emit(export.export(frame, output, metric, sort).rstrip("\n"))
    return OK
