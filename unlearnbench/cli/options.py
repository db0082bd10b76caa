"""The command line's arguments and options, each declared once, and what they resolve to."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unlearnbench.system.errors import InputError
from unlearnbench.system.roots import root

if TYPE_CHECKING:
    from unlearnbench.run.engines import EngineName as Workers


class Format(StrEnum):
    """How results are written to stdout."""

    text = "text"
    json = "json"


class ReportFormat(StrEnum):
    """How a leaderboard is written to stdout."""

    text = "text"
    json = "json"
    csv = "csv"
    markdown = "markdown"
    latex = "latex"
    html = "html"
    leaks = "leaks"


class Engine(StrEnum):
    """What runs the cells: this process, several on this machine, or Dask's workers on any machines."""

    serial = "serial"
    loky = "loky"
    dask = "dask"


class PluginKind(StrEnum):
    """Where methods, attacks and datasets share a name, which of them is meant."""

    method = "method"
    attack = "attack"
    dataset = "dataset"


FILTER = "NAME[param=value,...]"

SuiteFile = Annotated[Path, typer.Argument(metavar="SUITE", help="A suite file, e.g. suites/quickstart.yaml.")]
Experiments = Annotated[
    list[str] | None, typer.Option("--experiment", "-e", metavar="NAME", help="Only this experiment. Repeats.")
]
Methods = Annotated[
    list[str] | None,
    typer.Option("--method", "-m", metavar=FILTER, help="Only this method, original and retrain. Repeats."),
]
Attacks = Annotated[list[str] | None, typer.Option("--attack", "-a", metavar=FILTER, help="Only this attack. Repeats.")]
Datasets = Annotated[
    list[str] | None, typer.Option("--dataset", "-d", metavar=FILTER, help="Only this dataset. Repeats.")
]
Seeds = Annotated[
    int | None,
    typer.Option("--seeds", min=1, max=1_000, metavar="N", help="Repetitions 0 to N-1 instead of the suite's."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a scenario key, e.g. beta=0 or stop.steps=5. Repeats."),
]
Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Data folder [UNLEARNBENCH_DATA, else the user cache].")
]
Plugins = Annotated[
    list[Path] | None, typer.Option("--plugins", metavar="DIR", help="A folder of your own plugins. Repeats.")
]
Kind = Annotated[PluginKind | None, typer.Option("--kind", help="Which, where plugins of two kinds share the name.")]
Long = Annotated[bool, typer.Option("--long", help="With papers, access and all parameters.")]
Output = Annotated[Format, typer.Option("--format", help="How results are written to stdout.")]
ReportOutput = Annotated[ReportFormat, typer.Option("--format", help="How the leaderboard is written to stdout.")]
Results = Annotated[Path | None, typer.Option("--results", metavar="DIR", help="Result folder [results/<suite name>].")]
Cache = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="Store of trained models [UNLEARNBENCH_CACHE, else the user cache]."),
]
EngineName = Annotated[Engine | None, typer.Option("--engine", help="What runs the cells [loky if --jobs is over 1].")]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, metavar="N", help="Worker processes [all cores].")]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, or GPUs as cuda:0,cuda:1.")]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="URL", help="Use a Dask cluster, e.g. tcp://host:8786; with --engine dask."),
]
PerDevice = Annotated[
    int, typer.Option("--cells-per-device", min=1, max=64, metavar="N", help="Cells at a time on each GPU.")
]
TimeLimit = Annotated[
    float | None,
    typer.Option("--time-limit", min=0.1, metavar="SECONDS", help="End what takes longer; its cells fail."),
]
Force = Annotated[bool, typer.Option("--force", help="Compute again what is already there.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try failed cells again.")]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first cell that fails.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show what goes into the run's log.")]


def data_root(option: Path | None) -> Path:
    """--data, else UNLEARNBENCH_DATA, else the user cache directory; absolute."""
    return _folder(option, "UNLEARNBENCH_DATA", "data")


def cache_root(option: Path | None) -> Path:
    """--cache, else UNLEARNBENCH_CACHE, else the user cache directory; absolute."""
    return _folder(option, "UNLEARNBENCH_CACHE", "artifacts")


def engine_and_jobs(engine: Engine | None, jobs: int | None, scheduler: str | None = None) -> tuple[Workers, int]:
    """The engine's name and its number of workers: all cores unless told otherwise."""
    if scheduler is not None:
        if engine is not Engine.dask:
            raise InputError("--scheduler", "is for --engine dask")
        if not re.fullmatch(r"(tcp|tls|wss?)://.+:[0-9]{1,5}", scheduler):
            raise InputError("--scheduler", f"'{scheduler}' is no address like tcp://host:8786")
        if jobs is not None:
            raise InputError("--jobs", "a cluster has the workers that were started for it; leave it out")
    if engine is Engine.serial:
        if jobs is not None and jobs > 1:
            raise InputError("--jobs", "the serial engine runs one job at a time; use --engine loky")
        return "serial", 1
    workers = jobs or _cores()
    if engine is Engine.dask:
        return "dask", workers
    return ("loky" if engine is Engine.loky or workers > 1 else "serial"), workers


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usage_line(error: Any) -> str:
    """A usage error of the option parser in this program's form."""
    place = error.ctx.command_path if getattr(error, "ctx", None) else "unlearnbench"
    if getattr(error, "possibilities", None) and hasattr(error, "option_name"):  # click has it for commands too
        return f"{place}: no such option {error.option_name}; did you mean '{error.possibilities[0]}'?"
    what = error.format_message().rstrip(".")
    for theirs, ours in {". Did you mean": "; did you mean", "Value error, ": "", "Input should": "must"}.items():
        what = what.replace(theirs, ours)
    return f"{place}: {what[:1].lower()}{what[1:]}"


def _folder(option: Path | None, variable: str, name: str) -> Path:
    if option is not None:
        return root(option)
    if os.environ.get(variable):
        return root(Path(os.environ[variable]))
    import platformdirs

    return root(platformdirs.user_cache_path("unlearnbench") / name)
