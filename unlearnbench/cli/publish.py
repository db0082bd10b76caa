"""The verb `publish`: builds a static site of result folders."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from unlearnbench.cli import options
from unlearnbench.cli.exit_codes import OK
from unlearnbench.suite.packaged import claims_file
from unlearnbench.system.printing import complain, emit, one_line


def publish(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Result folders, e.g. results/zoo results/attacks.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="SITE", help="The site's folder: new, empty, or an earlier site.")
    ],
    title: Annotated[
        str, typer.Option("--title", metavar="TEXT", help="The site's name, shown on every page.")
    ] = "unlearnbench",
    claims: Annotated[
        list[Path] | None,
        typer.Option(
            "--claims",
            metavar="FILE",
            parser=claims_file,
            help="Claims about a folder's suite [suites/<DIR>.claims.yaml]. Repeats.",
        ),
    ] = None,
    plugins: options.Plugins = None,
) -> int:
    """Build a static site of results.

    Pages for experiments, methods and attacks, with tables, figures and provenance. They need no server and load
    nothing from other hosts.
    """
    from unlearnbench.site import publishing

    started = time.monotonic()
    made = publishing.publish(
        folders, out, title=title, claims=claims or (), plugin_folders=plugins or (), progress=complain
    )
    counts = f"pages={made.pages} figures={made.figures} pictures={made.pictures}"
    complain(f"done in {time.monotonic() - started:.0f} s")
    emit(f"{one_line(str(out / 'index.html'))}: {counts}")
    return OK
