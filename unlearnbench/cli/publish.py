"""The verb `publish`: results folders to a static site."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from unlearnbench.system.printing import complain, emit, one_line

Folders = Annotated[
    list[Path], typer.Argument(metavar="DIR...", help="Result folders, e.g. results/zoo results/attacks.")
]
Out = Annotated[Path, typer.Option("--out", metavar="SITE", help="The site's folder: new, empty, or published before.")]
Title = Annotated[str, typer.Option("--title", metavar="TEXT", help="The site's name, on every page.")]
ClaimsFiles = Annotated[
    list[Path] | None,
    typer.Option("--claims", metavar="FILE", help="Claims about a folder's suite [suites/<DIR>.claims.yaml]. Repeats."),
]


def publish(
    folders: list[Path], out: Path, title: str, claims: list[Path] | None, plugin_folders: list[Path] | None
) -> int:
    """Build the site, say what was written, and return the exit code."""
    from unlearnbench.site import publishing

    started = time.monotonic()
    made = publishing.publish(
        folders, out, title=title, claims=claims or (), plugin_folders=plugin_folders or (), progress=complain
    )
    counts = f"pages={made.pages} figures={made.figures} pictures={made.pictures}"
    complain(f"done in {time.monotonic() - started:.0f} s")
    emit(f"{one_line(str(out / 'index.html'))}: {counts}")
    return 0
