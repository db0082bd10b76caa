"""From results folders to a site: read, draw, render, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnbench.report import export
from unlearnbench.site import galleries, pages, plots, plugins, rendering, results_folders, writing
from unlearnbench.site.board import DIMENSIONS

if TYPE_CHECKING:
    from unlearnbench.site.results_folders import ResultsFolder


@dataclass(frozen=True)
class SiteCounts:
    """How much was written."""

    pages: int
    figures: int
    pictures: int


def publish(
    folders: Sequence[Path],
    site: Path,
    *,
    title: str = "unlearnbench",
    claims: Sequence[Path] = (),
    plugin_folders: Sequence[Path] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> SiteCounts:
    """Build a static site from results folders; it appears at `site` when it is complete.

    Files of an earlier site are removed if they are in its manifest and unchanged; anything else in the folder stays.

    Args:
        folders: results folders as `run` writes them.
        site: a new or empty folder, or an earlier site.
        title: the title of all pages.
        claims: files of claims about the folders' suites; by default suites/<folder's name>.claims.yaml.
        plugin_folders: folders with plugins from outside the package, so that their pages describe them.
        progress: called with what is being done.

    Raises:
        InputError: a folder does not hold results, a record is damaged, claims are about none of the folders, or `site`
            is not a site or holds something else where a file of the site belongs.
    """
    with writing.building(site, folders) as out:
        progress("reading records")
        found = results_folders.read(folders, out, claims)
        for source in found:
            _exports(source, out)
        progress("drawing figures")
        content = _content(found, title, plugin_folders)
        progress("writing pages")
        made = pages.pages(content)
        for page in made:
            values = {**page.values, "labels": DIMENSIONS}
            writing.write(out, page.path, rendering.render(page.template, page.path, values))
        for name, text in rendering.static().items():
            writing.write(out, name, text)
        figures = [figure for each in content.experiments for figure in each.figures]
        figures += [figure for each in content.claims.values() for figure in each]
        for figure in figures:
            for name, drawn in figure.files.items():
                writing.write(out, name, drawn)
        pictures = [picture for each in content.experiments for picture in (*each.pictures, *each.curves)]
        for picture in pictures:
            writing.write(out, picture.path, picture.content)
    return SiteCounts(len(made), len(figures), len(pictures))


def _content(found: Sequence[ResultsFolder], title: str, plugin_folders: Sequence[Path]) -> pages.Content:
    experiments = []
    for source in found:
        for experiment in pages.experiments_of(source):
            experiments.append(
                replace(
                    experiment,
                    figures=plots.of_experiment(experiment, source.records),
                    pictures=galleries.galleries(experiment.rows, source.folder, source.slug),
                    curves=galleries.roc_curves(experiment.rows, source.folder, source.slug),
                )
            )
    bare = pages.Content(title, found, experiments)
    wanted = [(kind, name) for kind in ("method", "attack") for name in bare.names(kind)]
    claims = {source.slug: plots.of_claims(source) for source in found if source.comparison is not None}
    return replace(bare, plugins=plugins.about(wanted, plugin_folders), claims=claims)


def _exports(source: ResultsFolder, out: Path) -> None:
    """Write the leaderboard for download; Parquet and Markdown are written already."""
    folder = f"data/{source.slug}"
    writing.write(out, f"{folder}/leaderboard.csv", export.export(source.board, "csv").encode())
    writing.write(out, f"{folder}/leaderboard.tex", export.export(source.board, "latex").encode())
