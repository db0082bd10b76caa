"""A comparison with a paper as tables: verdicts, checks, reported numbers beside measured ones, and runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unlearnbench.claims.checks import in_percent
from unlearnbench.claims.comparison import Comparison
from unlearnbench.claims.findings import Finding
from unlearnbench.claims.printed import ABSENT
from unlearnbench.claims.reported import ComparedTable, Entry
from unlearnbench.claims.verdicts import NOT_RUN, Judged, Judgement
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.report.text_tables import NOTHING, Table, format_interval
from unlearnbench.system.escaping import plain


def verdicts(comparison: Comparison) -> Table:
    """One row per claim."""
    rows = [
        ("claim", judgement.claim.id, judgement.verdict, _where(judgement), _seeds(judgement))
        for judgement in comparison.judgements
    ]
    rows += [
        ("target", judgement.claim.id, judgement.verdict, _where(judgement), _seeds(judgement))
        for judgement in comparison.targets
    ]
    headers = ("what", "id", "verdict", "where", "n")
    notes = ["n: fewest and most seeds behind its checks"]
    every = (*comparison.judgements, *comparison.targets)
    mixed = [judgement.claim.id for judgement in every if any(each.note for each in judgement.datasets)]
    if mixed:
        notes.append(f"numbers of several versions of a plugin's code, as the notes to them say: {', '.join(mixed)}")
    return _table("Verdicts", headers, rows, notes)


def runs(comparison: Comparison) -> Table:
    """Where each experiment was run, on each dataset."""
    rows = [
        (run.experiment, run.dataset, str(run.cells), str(run.without_result), _listed(run.seeds),
         _listed(run.images), _listed(run.batches), _listed(run.devices), _listed(run.commits),
         _listed(run.versions), run.first if run.first == run.last else f"{run.first} to {run.last}")
        for run in comparison.runs
    ]  # fmt: skip
    headers = ("experiment", "dataset", "cells", "without result", "seeds", "images", "minibatch", "devices",
               "commits", "versions", "dates")  # fmt: skip
    return _table("What was run where", headers, rows)


def compared_table(compared: ComparedTable) -> Table:
    """A table or figure of the paper on one dataset, reported beside measured."""
    rows = [
        (entry.column.label, entry.row.label, number(entry.reported, entry.metric), measured(entry),
         str(entry.n) if entry.n else NOTHING, number(entry.difference, entry.metric, " points"))
        for entry in sorted(compared.entries, key=lambda entry: compared.published.columns.index(entry.column))
    ]  # fmt: skip
    title = f"{compared.published.title} / {compared.dataset}{_in_part(compared.part)}"
    headers = ("quantity", compared.published.x or "row", "reported", "measured", "n", "difference")
    return _table(title, headers, rows, compared.notes)


def all_checks(comparison: Comparison) -> Iterable[Table]:
    """One table per claim, with its words and how it was tested."""
    for judgement in (*comparison.judgements, *comparison.targets):
        claim = judgement.claim
        yield checks_table(judgement, f"{claim.id}: {judgement.verdict}", [f'"{claim.words}" ({claim.place})',
                      *filter(None, (claim.tested, claim.paper_protocol and f"Paper: {claim.paper_protocol}",
                                     claim.untestable, claim.comment))])  # fmt: skip


def checks_table(judgement: Judgement, title: str, notes: Sequence[str] = ()) -> Table:
    """The checks of a claim, one per row."""
    rows: list[tuple[str, ...]] = []
    for each in judgement.datasets:
        rows += _printed(each)
        if all(finding.holds is None for finding in (*each.findings, *each.papers)):
            rows.append(_all(each.dataset, "own", f"not run ({each.reason})" if each.reason else NOT_RUN))
            continue
        rows += [_check(each, finding, "own") for finding in each.findings]
        rows += [_check(each, finding, "paper's") for finding in each.papers]
    headers = ("dataset", "quantity", "protocol", "value", "n", "asked", "holds", "values")
    return _table(
        title, headers, rows, [*notes, *(f"{each.dataset}: {each.note}" for each in judgement.datasets if each.note)]
    )


def _printed(judged: Judged) -> list[tuple[str, ...]]:
    """The checks on the paper's own numbers; one row if its tables hold none of them."""
    if judged.reported and all(finding.reason == ABSENT for finding in judged.reported):
        return [_all(judged.dataset, "reported", ABSENT)]
    return [_check(judged, finding, "reported") for finding in judged.reported]


def _all(dataset: str, protocol: str, why: str) -> tuple[str, ...]:
    return dataset, "all", protocol, NOTHING, NOTHING, NOTHING, why, NOTHING


def _check(judged: Judged, finding: Finding, protocol: str) -> tuple[str, ...]:
    points = ", ".join(
        f"{name}: {_scaled(mean, low, high, finding.metric)}" for name, mean, low, high in finding.points
    )
    holds = finding.answer + (f" ({finding.reason})" if finding.reason else "")
    if protocol == "reported":
        holds = finding.reason if finding.holds is None else holds
        return (judged.dataset, finding.what, protocol, quantity(finding), NOTHING, finding.asked, holds,
                points or NOTHING)  # fmt: skip
    dataset = f"{judged.dataset}{_in_part(judged.part)}"
    return (dataset, finding.what, protocol, quantity(finding), str(finding.n), finding.asked, holds,
            points or NOTHING)  # fmt: skip


def _table(title: str, headers: Sequence[str], rows: Iterable[Sequence[str]], notes: Sequence[str] = ()) -> Table:
    safe = tuple(tuple(plain(cell) for cell in row) for row in rows)
    return Table(plain(title), tuple(map(plain, headers)), safe, tuple(map(plain, notes)), ())


def aligned(table: Table) -> str:
    """A table for a terminal, one line per row, however wide."""
    lines = [table.headers, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.headers))]
    drawn = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([table.title, *drawn, *(f"  {line}" for line in table.legend), ""])


# --- cells -----------------------------------------------------------------------------------------------------------


def _where(judgement: Judgement) -> str:
    """The verdicts on the datasets, and why some were not run."""
    if judgement.claim.untestable is not None:
        return "not testable"
    groups: dict[str, list[str]] = {}
    for each in judgement.datasets:
        verdict = f"{each.verdict}, {each.reason}" if each.verdict == NOT_RUN else each.verdict
        said = verdict if each.decides else f"not run as a whole{_in_part(each.part)}: {verdict}"
        groups.setdefault(said, []).append(each.dataset)
    return "; ".join(f"{', '.join(datasets)}: {verdict}" for verdict, datasets in groups.items())


def _in_part(part: str) -> str:
    return f", {part}" if part else ""


def _seeds(judgement: Judgement) -> str:
    judged = [each for each in judgement.datasets if not each.part]
    counts = [finding.n for each in judged for finding in each.findings if finding.n]
    return _listed(sorted({min(counts), max(counts)})) if counts else NOTHING


def quantity(finding: Finding) -> str:
    """The quantity of a check, with its interval."""
    if finding.mean is None:
        return NOTHING
    if finding.form == "ratio" and finding.low is None:
        return f"{finding.mean:.3g}"
    if finding.form == "ratio":  # not symmetric: its ends may be orders of magnitude apart
        return f"{finding.mean:.3g} [{finding.low:.3g}, {finding.high:.3g}]"
    return _scaled(
        finding.mean, finding.low, finding.high, finding.metric, " points" if finding.form == "difference" else " %"
    )


def measured(entry: Entry) -> str:
    """The measured value with its interval, or why there is none."""
    if entry.mean is None:
        return f"not run: {entry.reason}"
    return _scaled(entry.mean, entry.low, entry.high, entry.metric)


def _scaled(mean: float, low: float | None, high: float | None, metric: str, percent: str = " %") -> str:
    """A number with its interval, in percent where the metric is written so."""
    if not in_percent(metric):
        return format_interval(mean, low, high, METRICS[metric].unit if metric in METRICS else "")
    return format_interval(100 * mean, low and 100 * low, high and 100 * high) + percent


def number(value: float | None, metric: str, percent: str = " %") -> str:
    return NOTHING if value is None else _scaled(value, None, None, metric, percent)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values)) or NOTHING
