"""What `run` and `tune` share: options that control the computation, and the summary of the cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unlearnbench.cli import exit_codes, options
from unlearnbench.running.options import EngineName, RunOptions, Summary
from unlearnbench.system.printing import emit
from unlearnbench.workflow import options as workflow

if TYPE_CHECKING:
    from unlearnbench.suite.suite import Suite

COUNTS = ("planned", "done", "cached", "failed", "skipped")


@dataclass(frozen=True)
class ComputingOptions:
    """How to compute, and the folders to use, as given."""

    engine: Annotated[
        EngineName | None, typer.Option("--engine", help="What runs the cells [loky if --jobs is over 1].")
    ] = None
    jobs: options.Jobs = None
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler", metavar="URL", help="Use a Dask cluster, e.g. tcp://host:8786; with --engine dask."
        ),
    ] = None
    device: options.Device = "auto"
    cells_per_device: Annotated[
        int, typer.Option("--cells-per-device", min=1, max=64, metavar="N", help="Cells at a time on each GPU.")
    ] = 1
    time_limit: Annotated[
        float | None,
        typer.Option("--time-limit", min=0.1, metavar="SECONDS", help="End jobs that take longer; their cells fail."),
    ] = None
    data: options.Data = None
    results: Annotated[
        Path | None, typer.Option("--results", metavar="DIR", help="Result folder [results/<suite name>].")
    ] = None
    cache: options.Cache = None
    plugins: options.Plugins = None
    force: Annotated[bool, typer.Option("--force", help="Compute again what is already there.")] = False
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed cells again.")] = False
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first cell that fails.")] = False
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what goes into the run's log.")] = False

    def resolve(self) -> RunOptions:
        """The options of the runner. Without --results, `results` is the parent of the suites' result folders.

        Raises:
            InputError: an impossible engine, number of workers, device or time between checkpoints.
        """
        return workflow.resolve(**{field.name: getattr(self, field.name) for field in fields(self)})

    def resolve_for(self, suite: Suite, resolved: RunOptions) -> RunOptions:
        """The same options with the suite's own result folder."""
        return resolved if self.results is not None else replace(resolved, results=resolved.results / suite.name)


def show_counts(counts: Counter[str]) -> None:
    """Print the line that a run ends with."""
    emit("cells: " + " ".join(f"{name}={counts[name]}" for name in COUNTS))


def counts_of(summaries: Iterable[Summary]) -> Counter[str]:
    """The numbers of cells by status, of all rounds."""
    counts: Counter[str] = Counter()
    for summary in summaries:
        counts.update({name: getattr(summary, name) for name in COUNTS})
    return counts


def exit_code(summaries: Sequence[Summary]) -> int:
    """The exit code after these rounds."""
    if any(summary.interrupted for summary in summaries):
        return exit_codes.INTERRUPTED
    if any(summary.lost for summary in summaries):
        return exit_codes.BAD_INPUT
    failed = any(summary.failed or not summary.leaderboard for summary in summaries)
    return exit_codes.FAILED if failed else exit_codes.OK
