"""The verb `report`: a run's leaderboard, made from its records and printed. Nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unlearnbench.cli.options import ReportFormat
from unlearnbench.system.errors import records_of
from unlearnbench.system.printing import emit

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A result folder, e.g. results/quickstart.")]
MetricNames = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="NAME", help="Show this metric instead of what matters for each table. Repeats."),
]
Sort = Annotated[
    str | None,
    typer.Option("--sort", metavar="COLUMN[:asc|desc]", help="Order within each table [rank; the best first]."),
]


def report(folder: Path, metrics: list[str] | None, sort: str | None, output: ReportFormat) -> int:
    """Make the leaderboard, print it, and return the exit code."""
    records = records_of(folder)
    from unlearnbench.leaderboard import build as leaderboard
    from unlearnbench.report import export

    frame = leaderboard.of(records)
    if output is ReportFormat.text:
        from rich.console import Console

        from unlearnbench.report import terminal

        Console(highlight=False).print(terminal.render(frame, metrics or None, sort))
    else:
        emit(export.export(frame, output.value, metrics, sort).rstrip("\n"))
    return 0
