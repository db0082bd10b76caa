"""Arguments and options shared by several verbs, and their resolution."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from unlearnbench.cli import completion
from unlearnbench.suite.packaged import suite_file

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
