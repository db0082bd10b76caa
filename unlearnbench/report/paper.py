"""A comparison with a paper as tables, for a terminal and as Markdown, and the whole as a report with figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from unlearnbench.claims.checks import Finding, in_percent
from unlearnbench.claims.comparison import Comparison
from unlearnbench.claims.reported import Beside, Entry
from unlearnbench.claims.verdicts import NOT_RUN, Judged, Judgement
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.parquet_files import write_atomically
from unlearnbench.report.markdown import draw, escape
from unlearnbench.report.tables import NOTHING, Table, format_interval, plain

REPORT = "REPORT.md"

_HOW = """Numbers are means over seeds with Student's 95 % interval (three seeds or more, n is shown). A claim is
`reproduced` where it holds on every dataset that was measured: the whole interval of a difference (or ratio) of the
same seed's values lies on the claimed side. `reproduced only under the paper's own protocol`: it holds as the paper
measured it, and not by the measurement that is described. `not run`: nothing to judge by, for the reason given.
What was measured on a part of a dataset's images is marked, has a verdict of its own, and decides no claim.
"""


def text(comparison: Comparison) -> str:
    """Tables and verdicts for a terminal: one line a row, however wide."""
    tables = [*map(beside_table, comparison.tables), *_all_checks(comparison), runs(comparison), verdicts(comparison)]
    return "\n".join(map(_aligned, tables))


def markdown(comparison: Comparison) -> str:
    """The same as Markdown."""
    tables = [*map(beside_table, comparison.tables), *_all_checks(comparison), runs(comparison), verdicts(comparison)]
    return "\n".join(map(draw, tables))


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write or replace REPORT.md and its figures; the same records give the same bytes.

    Returns:
        The files written.
    """
    from unlearnbench.report import paper_figures

    drawn: dict[tuple[str, str], tuple[str, str]] = {}
    written = []
    for each in comparison.tables:
        if (figure := paper_figures.draw(each)) is None:
            continue
        name = f"{each.published.id}_{each.dataset}"
        drawn[each.published.id, each.dataset] = name, figure.alt
        for ending, content in (("svg", figure.svg), ("png", figure.png)):
            written.append(folder / f"{name}.{ending}")
            write_atomically(written[-1], content)
    path = folder / REPORT
    write_atomically(path, _report(comparison, drawn).encode())
    return [path, *written]


# --- the report ------------------------------------------------------------------------------------------------------


def _report(comparison: Comparison, drawn: dict[tuple[str, str], tuple[str, str]]) -> str:
    parts = [
        "# The paper, claim by claim\n",
        f"{escape(comparison.paper)}. {escape(comparison.source)}.\n" if comparison.source else "",
        "Written by `unlearnbench compare`, from the records beside it and from nothing else.\n",
        _HOW,
        "## Verdicts\n",
        _untitled(verdicts(comparison)),
        "## Misses in numbers\n",
        _misses(comparison),
        "## Tables and figures\n",
        *(_drawn(each, drawn.get((each.published.id, each.dataset))) for each in comparison.tables),
        "## Claims\n",
        *map(_claim, comparison.judgements),
        "## Numbers to reach\n",
        *map(_claim, comparison.targets),
        "## What was run where\n",
        _untitled(runs(comparison)),
    ]
    return "\n".join(part for part in parts if part)


def _untitled(table: Table) -> str:
    """A table under a heading that is there already."""
    return draw(table).split("\n", 2)[2]


def _drawn(beside: Beside, figure: tuple[str, str] | None) -> str:
    table = draw(beside_table(beside))
    if figure is None:
        return table
    name, alt = figure
    return f"{table}\n![{escape(alt)}]({name}.svg)\n"


def _claim(judgement: Judgement) -> str:
    claim = judgement.claim
    lines = [f"### {escape(claim.id)}: {judgement.verdict}\n", f"> {escape(claim.words)} ({escape(claim.place)})\n"]
    said = {
        "Tested": claim.tested,
        "The paper's own protocol": claim.paper_protocol,
        "Not testable": claim.untestable or "",
        "Comment": claim.comment,
    }
    lines += [f"{name}: {escape(words)}\n" for name, words in said.items() if words]
    if judgement.datasets:
        lines.append(_untitled(checks_table(judgement, "Checks")))
    return "\n".join(lines)


def _misses(comparison: Comparison) -> str:
    lines = []
    for judgement in (*comparison.judgements, *comparison.targets):
        for each in judgement.datasets:
            if each.part:
                continue
            failing = [finding for finding in each.findings if finding.holds is False]
            lines += [f"{judgement.claim.id}, {each.dataset}: {_sentence(finding)}" for finding in failing]
    for beside in comparison.tables:
        lines += _outside(beside)
    head = "On whole datasets: checks that do not hold, and reported numbers outside the measured interval.\n\n"
    return head + "\n".join(f"- {escape(line)}" for line in lines) + "\n" if lines else "None.\n"


def _outside(beside: Beside) -> list[str]:
    """Reported numbers outside the measured interval: of a table each, of a figure's many points how many."""
    outside = [entry for entry in beside.entries if _is_outside(entry)]
    where = f"{beside.published.id}, {beside.dataset}"
    if beside.published.x is not None and not beside.published.ticks:
        both = [entry for entry in beside.entries if entry.reported is not None and entry.low is not None]
        return [f"{where}: {len(outside)} of the paper's {len(both)} points"] if outside else []
    return [
        f"{where}: {entry.column.label}, {entry.row.label}: measured {_measured(entry)}, reported"
        f" {_number(entry.reported, entry.metric)} ({_number(entry.difference, entry.metric, ' points')})"
        for entry in outside
    ]


def _is_outside(entry: Entry) -> bool:
    if entry.reported is None or entry.low is None or entry.high is None or entry.part:
        return False
    return not entry.low <= entry.reported <= entry.high


def _sentence(finding: Finding) -> str:
    reason = f"; {finding.reason}" if finding.reason else ""
    return f"{finding.what} is {_quantity(finding)} (n {finding.n}), asked: {finding.asked}{reason}"


# --- tables ----------------------------------------------------------------------------------------------------------


def verdicts(comparison: Comparison) -> Table:
    """One line a claim."""
    rows = [
        ("claim", judgement.claim.id, judgement.verdict, _where(judgement), _seeds(judgement))
        for judgement in comparison.judgements
    ]
    rows += [
        ("target", judgement.claim.id, judgement.verdict, _where(judgement), _seeds(judgement))
        for judgement in comparison.targets
    ]
    headers = ("what", "id", "verdict", "where", "n")
    return _table("Verdicts", headers, rows, ["n: fewest and most seeds behind its checks"])


def runs(comparison: Comparison) -> Table:
    """Where every experiment was run on every dataset."""
    rows = [
        (run.experiment, run.dataset, str(run.cells), str(run.without_result), _listed(run.seeds),
         _listed(run.images), _listed(run.batches), _listed(run.devices), _listed(run.commits),
         _listed(run.versions), run.first if run.first == run.last else f"{run.first} to {run.last}")
        for run in comparison.runs
    ]  # fmt: skip
    headers = ("experiment", "dataset", "cells", "without result", "seeds", "images", "minibatch", "devices",
               "commits", "versions", "dates")  # fmt: skip
    return _table("What was run where", headers, rows)


def beside_table(beside: Beside) -> Table:
    """A table or figure of the paper on one dataset, reported beside measured."""
    rows = [
        (entry.column.label, entry.row.label, _number(entry.reported, entry.metric), _measured(entry),
         str(entry.n) if entry.n else NOTHING, _number(entry.difference, entry.metric, " points"))
        for entry in sorted(beside.entries, key=lambda entry: beside.published.columns.index(entry.column))
    ]  # fmt: skip
    title = f"{beside.published.title} / {beside.dataset}{_in_part(beside.part)}"
    headers = ("quantity", beside.published.x or "row", "reported", "measured", "n", "difference")
    return _table(title, headers, rows, beside.published.notes)


def _all_checks(comparison: Comparison) -> Iterable[Table]:
    for judgement in (*comparison.judgements, *comparison.targets):
        claim = judgement.claim
        yield checks_table(judgement, f"{claim.id}: {judgement.verdict}", [f'"{claim.words}" ({claim.place})',
                      *filter(None, (claim.tested, claim.paper_protocol and f"Paper: {claim.paper_protocol}",
                                     claim.untestable, claim.comment))])  # fmt: skip


def checks_table(judgement: Judgement, title: str, notes: Sequence[str] = ()) -> Table:
    """The checks of a claim, one a line."""
    rows = []
    for each in judgement.datasets:
        rows += [_check(each, finding, "") for finding in each.findings]
        rows += [_check(each, finding, "paper's") for finding in each.papers]
    headers = ("dataset", "quantity", "protocol", "measured", "n", "asked", "holds", "values")
    return _table(title, headers, rows, notes)


def _check(judged: Judged, finding: Finding, protocol: str) -> tuple[str, ...]:
    holds = {True: "yes", False: "no", None: "not run"}[finding.holds]
    points = ", ".join(
        f"{name}: {_scaled(mean, low, high, finding.metric)}" for name, mean, low, high in finding.points
    )
    reason = f" ({finding.reason})" if finding.reason else ""
    dataset = f"{judged.dataset}{_in_part(judged.part)}"
    return (dataset, finding.what, protocol or "own", _quantity(finding), str(finding.n), finding.asked,
            holds + reason, points or NOTHING)  # fmt: skip


def _table(title: str, headers: Sequence[str], rows: Iterable[Sequence[str]], notes: Sequence[str] = ()) -> Table:
    safe = tuple(tuple(plain(cell) for cell in row) for row in rows)
    return Table(plain(title), tuple(map(plain, headers)), safe, tuple(map(plain, notes)), ())


def _aligned(table: Table) -> str:
    lines = [table.headers, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.headers))]
    drawn = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([table.title, *drawn, *(f"  {line}" for line in table.legend), ""])


# --- cells -----------------------------------------------------------------------------------------------------------


def _where(judgement: Judgement) -> str:
    """The verdicts of the datasets, where they differ, and why some were not run."""
    if judgement.claim.untestable is not None:
        return "not testable"
    groups: dict[str, list[str]] = {}
    for each in judgement.datasets:
        verdict = f"not run, {each.reason}" if each.verdict == NOT_RUN else each.verdict
        groups.setdefault(f"not run as a whole{_in_part(each.part)}: {verdict}" if each.part else verdict, []).append(
            each.dataset
        )
    return "; ".join(f"{', '.join(datasets)}: {verdict}" for verdict, datasets in groups.items())


def _in_part(part: str) -> str:
    return f", {part}" if part else ""


def _seeds(judgement: Judgement) -> str:
    judged = [each for each in judgement.datasets if each.verdict != NOT_RUN and not each.part]
    counts = [finding.n for each in judged for finding in each.findings if finding.n]
    return _listed(sorted({min(counts), max(counts)})) if counts else NOTHING


def _quantity(finding: Finding) -> str:
    if finding.mean is None:
        return NOTHING
    metric = "" if finding.form == "ratio" else finding.metric
    return _scaled(finding.mean, finding.low, finding.high, metric, " points" if finding.form == "difference" else " %")


def _measured(entry: Entry) -> str:
    if entry.mean is None:
        return f"not run: {entry.reason}"
    return _scaled(entry.mean, entry.low, entry.high, entry.metric)


def _scaled(mean: float, low: float | None, high: float | None, metric: str, percent: str = " %") -> str:
    """A number with its interval, in the way that people write the metric."""
    if not in_percent(metric):
        return format_interval(mean, low, high, METRICS[metric].unit if metric in METRICS else "")
    return format_interval(100 * mean, low and 100 * low, high and 100 * high) + percent


def _number(value: float | None, metric: str, percent: str = " %") -> str:
    return NOTHING if value is None else _scaled(value, None, None, metric, percent)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values)) or NOTHING
