"""A comparison with a paper, for a terminal, as Markdown, and as a report with figures."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from unlearnbench.claims.comparison import Comparison
from unlearnbench.claims.findings import Finding
from unlearnbench.claims.reported import ComparedTable, Entry
from unlearnbench.claims.verdicts import VERDICTS, Judgement
from unlearnbench.report import drawing, paper_tables
from unlearnbench.report.markdown import draw
from unlearnbench.report.text_tables import Table
from unlearnbench.system import escaping
from unlearnbench.system.errors import InputError
from unlearnbench.system.parquet_files import write_atomically

REPORT = "REPORT.md"
_WRITTEN = "Written by `unlearnbench compare`"

_HOW = """Numbers are means over seeds with their 95 % interval (three seeds or more, n is shown). A check is about
the interval of a difference (or ratio) of the same seed's values. Every claim has one verdict:

- `reproduced`: every check holds on every dataset that was measured, with its whole interval.
- `only under the paper's protocol`: it holds as the paper measured it, and not by the measurement that is described.
- `contradicted`: by our measurement, and by the paper's own where that is another: a whole interval lies on the other
  side, or a condition is not met.
- `contradicted by its own table`: the paper's printed numbers fail the check, so what was measured does not decide.
- `open`: neither shown nor contradicted: an interval reaches to both sides, and more seeds may decide.
- `not run`: a measurement that would decide is missing, for the reason given, or nothing could decide.

What was measured on a part of a dataset's images is marked, has a verdict of its own, and decides no claim.
"""


def text(comparison: Comparison) -> str:
    """Tables and verdicts for a terminal: one line per row, however wide."""
    return "\n".join(map(paper_tables.aligned, _tables(comparison)))


def markdown(comparison: Comparison) -> str:
    """The same as Markdown."""
    return "\n".join(map(draw, _tables(comparison)))


def _tables(comparison: Comparison) -> list[Table]:
    return [
        *map(paper_tables.compared_table, comparison.tables),
        *paper_tables.all_checks(comparison),
        paper_tables.runs(comparison),
        paper_tables.verdicts(comparison),
    ]


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write or replace REPORT.md and its figures; the same records give the same bytes.

    Returns:
        The files written.

    Raises:
        InputError: a file has one of these names and was not written by an earlier call.
        OSError: the folder cannot be written.
    """
    from unlearnbench.report import paper_figures

    own = _earlier(folder)

    drawn: dict[tuple[str, str], tuple[str, str]] = {}
    written: dict[Path, bytes] = {}
    for each in comparison.tables:
        name = f"{each.published.id}_{each.dataset}"
        if (figure := drawing.attempt(name, paper_figures.draw, each)) is None:
            continue
        drawn[each.published.id, each.dataset] = name, figure.alt
        for ending, content in (("svg", figure.svg), ("png", figure.png)):
            path = folder / f"{name}.{ending}"
            if f"]({name}.svg)" not in own and os.path.lexists(path):
                raise _not_ours(path)
            written[path] = content
    for path, content in written.items():
        write_atomically(path, content)
    path = folder / REPORT
    write_atomically(path, _report(comparison, drawn).encode())
    return [path, *written]


def _earlier(folder: Path) -> str:
    """The report that an earlier call wrote, which names its figures; empty if there is none."""
    path = folder / REPORT
    if not os.path.lexists(path):
        return ""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if not any(line.startswith(_WRITTEN) for line in text.splitlines()):
        raise _not_ours(path)
    return text


def _not_ours(path: Path) -> InputError:
    return InputError(
        str(path), "exists and is not part of an earlier report; move it away, or give --report another folder"
    )


def _report(comparison: Comparison, drawn: dict[tuple[str, str], tuple[str, str]]) -> str:
    parts = [
        "# The paper, claim by claim\n",
        f"{escaping.markdown_block(comparison.paper)}. {escaping.markdown(comparison.source)}.\n"
        if comparison.source
        else "",
        f"{_WRITTEN}, from the records beside it and from nothing else.\n",
        _HOW,
        "## Verdicts\n",
        _count(comparison),
        _untitled(paper_tables.verdicts(comparison)),
        "## Misses in numbers\n",
        _misses(comparison),
        "## Tables and figures\n",
        *(_drawn(each, drawn.get((each.published.id, each.dataset))) for each in comparison.tables),
        "## Claims\n",
        *map(_claim, comparison.judgements),
        "## Numbers to reach\n",
        *map(_claim, comparison.targets),
        "## What was run where\n",
        _untitled(paper_tables.runs(comparison)),
    ]
    return "\n".join(part for part in parts if part)


def _count(comparison: Comparison) -> str:
    """The number of claims with each verdict."""
    count = Counter(judgement.verdict for judgement in comparison.judgements)
    listed = "; ".join(f"{verdict}: {count[verdict]}" for verdict in VERDICTS)
    return f"{len(comparison.judgements)} claims; {listed}.\n"


def _untitled(table: Table) -> str:
    """A table without its title, below a heading that stands there already."""
    return draw(table).split("\n", 2)[2]


def _drawn(compared: ComparedTable, figure: tuple[str, str] | None) -> str:
    table = draw(paper_tables.compared_table(compared))
    if figure is None:
        return table
    name, alt = figure
    return f"{table}\n![{escaping.markdown(alt)}]({name}.svg)\n"


def _claim(judgement: Judgement) -> str:
    claim = judgement.claim
    lines = [
        f"### {escaping.markdown(claim.id)}: {judgement.verdict}\n",
        f"> {escaping.markdown_block(claim.words)} ({escaping.markdown(claim.place)})\n",
    ]
    said = {
        "Tested": claim.tested,
        "The paper's own protocol": claim.paper_protocol,
        "Not testable": claim.untestable or "",
        "Comment": claim.comment,
    }
    lines += [f"{name}: {escaping.markdown(words)}\n" for name, words in said.items() if words]
    if judgement.datasets:
        lines.append(_untitled(paper_tables.checks_table(judgement, "Checks")))
    return "\n".join(lines)


def _misses(comparison: Comparison) -> str:
    lines = []
    for judgement in (*comparison.judgements, *comparison.targets):
        for each in judgement.datasets:
            where = f"{judgement.claim.id}, {each.dataset}"
            own_table = [finding for finding in each.reported if finding.refuted]
            lines += [f"{where}, the paper's own numbers: {_sentence(finding)}" for finding in own_table]
            failing = [finding for finding in each.findings if finding.holds is False and not each.part]
            lines += [f"{where}: {_sentence(finding)}" for finding in failing]
    for compared in comparison.tables:
        lines += _outside(compared)
    head = "Checks that do not hold, and reported numbers outside the measured interval; on whole datasets.\n\n"
    return head + "\n".join(f"- {escaping.markdown_block(line)}" for line in lines) + "\n" if lines else "None.\n"


def _outside(compared: ComparedTable) -> list[str]:
    """Reported numbers outside the measured interval: each one of a table, the count of a figure's many points."""
    outside = [entry for entry in compared.entries if _is_outside(entry)]
    where = f"{compared.published.id}, {compared.dataset}"
    if compared.published.x is not None and not compared.published.ticks:
        both = [entry for entry in compared.entries if entry.reported is not None and entry.low is not None]
        return [f"{where}: {len(outside)} of the paper's {len(both)} points"] if outside else []
    return [
        f"{where}: {entry.column.label}, {entry.row.label}: measured {paper_tables.measured(entry)},"
        f" reported {paper_tables.number(entry.reported, entry.metric)}"
        f" ({paper_tables.number(entry.difference, entry.metric, ' points')})"
        for entry in outside
    ]


def _is_outside(entry: Entry) -> bool:
    if entry.reported is None or entry.low is None or entry.high is None or entry.part:
        return False
    return not entry.low <= entry.reported <= entry.high


def _sentence(finding: Finding) -> str:
    reason = "".join(f"; {words}" for words in (finding.reason, "open" if finding.answer == "open" else "") if words)
    count = f" (n {finding.n})" if finding.n else ""
    return f"{finding.what} is {paper_tables.quantity(finding)}{count}, asked: {finding.asked}{reason}"
