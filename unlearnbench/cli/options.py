"""Arguments and options shared by several verbs, and their resolution."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unlearnbench.cli import completion
from unlearnbench.suite.packaged import suite_file
from unlearnbench.system.errors import InputError
from unlearnbench.system.roots import root

if TYPE_CHECKING:
    from unlearnbench.running.options import EngineName

FILTER = "NAME[param=value,...]"

SuitePath = Annotated[
    Path,
    typer.Argument(
        metavar="SUITE",
        parser=suite_file,
        autocompletion=completion.suites,
        help="A suite file, or the name of an included one: quickstart.",
    ),
]
Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Data folder [UNLEARNBENCH_DATA, else the user cache].")
]
Plugins = Annotated[
    list[Path] | None, typer.Option("--plugins", metavar="DIR", help="A folder of your own plugins. Repeats.")
]
Output = Annotated[Literal["text", "json"], typer.Option("--format", help="How results are written to stdout.")]
Cache = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="Store of trained models [UNLEARNBENCH_CACHE, else the user cache]."),
]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, metavar="N", help="Worker processes [all cores].")]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, or GPUs as cuda:0,cuda:1.")]


def data_root(option: Path | None) -> Path:
    """--data, else UNLEARNBENCH_DATA, else the user cache directory; absolute."""
    return _folder(option, "UNLEARNBENCH_DATA", "data")


def cache_root(option: Path | None) -> Path:
    """--cache, else UNLEARNBENCH_CACHE, else the user cache directory; absolute."""
    return _folder(option, "UNLEARNBENCH_CACHE", "artifacts")


def engine_and_jobs(
    engine: EngineName | None, jobs: int | None, scheduler: str | None = None
) -> tuple[EngineName, int]:
    """The engine's name and its number of workers: by default one per core."""
    if scheduler is not None:
        if engine != "dask":
            raise InputError("--scheduler", "is for --engine dask")
        if not re.fullmatch(r"(tcp|tls|wss?)://.+:[0-9]{1,5}", scheduler):
            raise InputError("--scheduler", f"'{scheduler}' is not an address like tcp://host:8786")
        if jobs is not None:
            raise InputError("--jobs", "a cluster has the workers that were started for it; leave it out")
    if engine == "serial":
        if jobs is not None and jobs > 1:
            raise InputError("--jobs", "the serial engine runs one job at a time; use --engine loky")
        return "serial", 1
    workers = jobs or _cores()
    if engine == "dask":
        return "dask", workers
    return ("loky" if engine == "loky" or workers > 1 else "serial"), workers


def _cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _folder(option: Path | None, variable: str, name: str) -> Path:
    if option is not None:
        return root(option)
    if os.environ.get(variable):
        return root(Path(os.environ[variable]))
    import platformdirs

    return root(platformdirs.user_cache_path("unlearnbench") / name)
