"""The pages of the site: each page's path, template and values, made from the results folders alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unlearnbench.claims.comparison import Comparison
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.report import paper_tables, summary
from unlearnbench.report.text_tables import Table
from unlearnbench.settings.protocols import titled
from unlearnbench.site import boards, leak_table, measuring
from unlearnbench.site.board import Board, choices
from unlearnbench.site.boards import experiment_path
from unlearnbench.site.cells import state_of
from unlearnbench.site.figures import DrawnPicture, Figure
from unlearnbench.site.naming import slug
from unlearnbench.site.plugins import About
from unlearnbench.site.results_folders import ResultsFolder
from unlearnbench.site.rows import BoardRow, site_rows
from unlearnbench.system.escaping import plain

_IN_FULL = 6  # settings whose results the overview shows; it links to the others


@dataclass(frozen=True)
class Page:
    """One page of the site."""

    path: str
    template: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class ExperimentResults:
    """One experiment of a results folder.

    Attributes:
        name: its name in the suite.
        folder: the results folder's name.
        part: the same in file names.
        rows: its leaderboard rows, as `site_rows` returns them.
    """

    name: str
    folder: str
    part: str
    rows: Sequence[BoardRow]
    figures: Sequence[Figure] = ()
    pictures: Sequence[DrawnPicture] = ()
    curves: Sequence[DrawnPicture] = ()

    @property
    def path(self) -> str:
        """The path of its page."""
        return experiment_path(self.part, self.name)

    def values(self, name: str) -> list[str]:
        """The distinct values of a column, in order of appearance."""
        return list(dict.fromkeys(plain(row[name]) for row in self.rows if row[name] not in (None, "")))

    @property
    def betas(self) -> list[str]:
        """The values of beta in ascending order."""
        return sorted(self.values("beta_text"), key=float)

    @property
    def methods(self) -> list[str]:
        """The names of the methods, references last."""
        references = references_of(self.rows)
        return sorted(self.values("method"), key=lambda name: name in references)

    @property
    def results(self) -> list[tuple[str, Table]]:
        """The results in words: a table for each setting, one row per method, with its id on the page."""
        return [(f"result-{number}", table) for number, table in enumerate(summary.summaries(self.rows), start=1)]

    @property
    def notes(self) -> list[str]:
        """What is missing, or missing in some seeds, and why."""
        found = []
        for row in self.rows:
            state = state_of(row) or (f"{row['failed_seeds']} seeds failed" if row["failed_seeds"] else "")
            if state or row["note"]:
                under = f" under {row['attack_id']}" if row["attack_id"] else ""
                note = "" if state_of(row) else f"; {row['note']}" if row["note"] else ""
                found.append(plain(f"{row['method_id']}{under} on {_place(row)}: {state}{note}"))
        return list(dict.fromkeys(found))


def _place(row: BoardRow) -> str:
    """The dataset of a row, with the protocol if it is not the current one."""
    return titled(row["dataset_id"], row["protocol_version"])


@dataclass(frozen=True)
class Content:
    """Everything that the pages are made from."""

    title: str
    sources: Sequence[ResultsFolder]
    experiments: Sequence[ExperimentResults]
    plugins: Mapping[tuple[str, str], About] = field(default_factory=dict)
    claims: Mapping[str, Sequence[Figure]] = field(default_factory=dict)

    @property
    def rows(self) -> list[BoardRow]:
        """The rows of all experiments."""
        return [row for experiment in self.experiments for row in experiment.rows]

    def names(self, kind: str) -> list[str]:
        """The methods or attacks with results, references last."""
        found = dict.fromkeys(row[kind] for row in self.rows if row[kind] is not None)
        references = references_of(self.rows) if kind == "method" else frozenset()
        return sorted(found, key=lambda name: (plain(name) in references, name))


def references_of(rows: Sequence[BoardRow]) -> frozenset[str]:
    """The names of the methods that others are compared with."""
    return frozenset(plain(row["method"]) for row in rows if row["reference"] is True)


def experiments_of(source: ResultsFolder) -> list[ExperimentResults]:
    """The experiments of a results folder, in the order of its leaderboard."""
    groups: dict[str, list[BoardRow]] = {}
    for row in site_rows(source.board, source.name, source.slug):
        groups.setdefault(row["experiment"], []).append(row)
    return [ExperimentResults(name, plain(source.name), source.slug, rows) for name, rows in groups.items()]


def pages(content: Content) -> list[Page]:
    """All pages, the overview first."""
    origins = {source.slug: measuring.origin(source) for source in content.sources}
    shared = {"title": content.title, "content": content, "origins": origins}
    made = [Page("index.html", "overview.html", {**shared, **_overview(content)})]
    for experiment in content.experiments:
        found = boards.boards(experiment.rows)
        every: list[Board] = [*leak_table.boards(experiment.rows), *found]
        values = {"experiment": experiment, "boards": every}
        made.append(Page(experiment.path, "experiment.html", {**shared, **values, "choices": _choices(every)}))
    for kind in ("method", "attack"):
        for name in content.names(kind):
            rows = [row for row in content.rows if row[kind] == name]
            found = boards.boards(rows, across=True)
            values = {"kind": kind, "name": plain(name), "about": content.plugins.get((kind, name)), "boards": found}
            values |= {"tallies": leak_table.tallies(row for row in rows if row["attack"] is not None)}
            values |= {"figures": _figures(content, rows, kind)}
            path = f"{kind}s/{slug(name)}.html"
            made.append(Page(path, "plugin.html", {**shared, **values, "choices": _choices(found)}))
    for source in content.sources:
        if source.comparison is not None:
            values = {"source": source, "figures": content.claims.get(source.slug, ()), **_claims(source.comparison)}
            made.append(Page(f"claims/{source.slug}.html", "claims.html", {**shared, **values}))
    used = {name for row in content.rows for name in METRICS if row.get(name) is not None}
    values = {"metrics": [metric for metric in METRICS.values() if metric.name in used]}
    made.append(Page("measured.html", "measured.html", {**shared, **values}))
    return made


def _overview(content: Content) -> dict[str, Any]:
    attacked = [row for row in content.rows if row["attack"] is not None]
    drawn = [each for each in content.experiments if each.figures]
    # The largest experiment is featured, if possible one with attacks.
    featured = max(drawn, key=lambda each: (any(row["attack"] for row in each.rows), len(each.rows)), default=None)
    datasets = list(dict.fromkeys(row["dataset_id"] for row in content.rows))
    # Experiments with attacks come first: they are what the benchmark is about.
    order = sorted(content.experiments, key=lambda each: not any(row["attack"] for row in each.rows))
    results = [(each, id, table) for each in order for id, table in each.results]
    shown = {"results": results[:_IN_FULL], "more_results": results[_IN_FULL:]}
    return {"featured": featured, "tallies": leak_table.tallies(attacked), "datasets": datasets, **shown}


def _claims(comparison: Comparison) -> dict[str, Any]:
    every = (*comparison.judgements, *comparison.targets)
    return {
        "verdicts": paper_tables.verdicts(comparison),
        "judged": [(each, paper_tables.checks_table(each, each.claim.id) if each.datasets else None) for each in every],
        "tables": [paper_tables.compared_table(each) for each in comparison.tables],
    }


def _choices(every: Sequence[Board]) -> dict[str, list[str]]:
    return choices(line for board in every for line in board.lines)


def _figures(content: Content, rows: Sequence[BoardRow], kind: str) -> list[Figure]:
    """The figures of an attack's page: those of its experiments that show its rates."""
    if kind != "attack":
        return []
    places = {(row["part"], row["experiment"]) for row in rows}
    names = {slug(row["attack"]) for row in rows}
    return [
        figure
        for experiment in content.experiments
        if (experiment.part, experiment.name) in places
        for figure in experiment.figures
        if any(figure.name.endswith(f"rates-{name}") for name in names)
    ]
