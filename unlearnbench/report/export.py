"""A leaderboard in other formats: tables for people, or every column for programs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from unlearnbench.metrics.catalog import METRICS
from unlearnbench.report import leaks, markdown, terminal
from unlearnbench.report.tables import check_metrics, sort_order, tables
from unlearnbench.report.text_tables import Table
from unlearnbench.system import escaping
from unlearnbench.system.errors import InputError, suggest
from unlearnbench.system.printing import WIDTH

if TYPE_CHECKING:
    import pandas as pd


def export(frame: pd.DataFrame, format: str, metrics: Sequence[str] | None = None, sort: str | None = None) -> str:
    """The leaderboard as text.

    Args:
        frame: a leaderboard as `leaderboard.read` gives it.
        format: markdown, latex (booktabs), html or table (the terminal's) show chosen columns; csv and json show all;
            leaks is one page of what leaks, relative to retraining, as Markdown.
        metrics: metrics to show instead of those that matter for each table, or instead of all; not for leaks.
        sort: the order of rows within each table, as ``COLUMN[:asc|desc]``; not for leaks.

    Raises:
        InputError: the format is unknown, or a metric or column is missing.
    """
    if format not in _FORMATS:
        raise InputError("format", f"unknown format '{format}'{suggest(format, _FORMATS)}")
    if format == "leaks" and (metrics or sort is not None):
        raise InputError("format", "leaks has metrics and an order of its own; leave --metric and --sort out")
    return _FORMATS[format](frame, metrics or None, sort)


def _columns(frame: pd.DataFrame, metrics: Sequence[str] | None, sort: str | None) -> pd.DataFrame:
    """All rows in the chosen order, with the columns of the chosen metrics."""
    check_metrics(frame, metrics)
    if sort is not None:
        column, ascending = sort_order(frame, sort)
        frame = frame.sort_values(column, ascending=ascending, na_position="last", kind="stable")
    if metrics is None:
        return frame
    others = [name for name in METRICS if name in frame and name not in metrics]
    ends = ("", "_low", "_high", "_n", "_gap_retrain", "_gap_retrain_low", "_gap_retrain_high", "_gap_trivial")
    return frame.drop(columns=[f"{name}{end}" for name in others for end in ends if f"{name}{end}" in frame])


def _csv(frame: pd.DataFrame, metrics: Sequence[str] | None, sort: str | None) -> str:
    frame = _columns(frame, metrics, sort)
    guarded = frame.copy()
    for column in frame.columns.difference(frame.select_dtypes("number").columns):
        # As objects: pandas 2 also maps missing values of a boolean column.
        guarded[column] = guarded[column].astype(object).map(escaping.csv, na_action="ignore")
    return str(guarded.to_csv(index=False, lineterminator="\n"))


def _json(frame: pd.DataFrame, metrics: Sequence[str] | None, sort: str | None) -> str:
    frame = _columns(frame, metrics, sort)
    rows = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"


def _latex(frame: pd.DataFrame, metrics: Sequence[str] | None, sort: str | None) -> str:
    return "\n".join(_latex_table(table) for table in tables(frame, metrics, sort))


def _latex_table(table: Table) -> str:
    import pandas as pd

    cells = pd.DataFrame(table.rows, columns=table.headers).map(escaping.latex).rename(columns=escaping.latex)
    aligned = "".join("l" if number == table.name else "r" for number in range(len(table.headers)))
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escaping.latex(table.title)}}}"]
    lines.append(cells.to_latex(index=False, escape=False, column_format=aligned).rstrip())
    lines += [rf"\par\footnotesize {escaping.latex(line)}" for line in (*table.legend, *table.notes)]
    return "\n".join([*lines, r"\end{table}", ""])


def _html(frame: pd.DataFrame, metrics: Sequence[str] | None, sort: str | None) -> str:
    body = html_tables(tables(frame, metrics, sort))
    return f'<!doctype html>\n<meta charset="utf-8">\n<title>Leaderboard</title>\n{body}\n'


def html_tables(shown: Sequence[Table]) -> str:
    """Tables as a part of an HTML page, with every text escaped."""
    return "\n".join(map(_html_table, shown)) or "<p>No results.</p>"


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{escaping.html(header)}</th>" for header in table.headers)
    rows = ["<tr>" + "".join(f"<td>{escaping.html(text)}</td>" for text in row) + "</tr>" for row in table.rows]
    lines = [f"<li>{escaping.html(line)}</li>" for line in (*table.legend, *table.notes)]
    return "\n".join(
        [
            f"<table>\n<caption>{escaping.html(table.title)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>",
            *rows,
            "</tbody>\n</table>\n<ul>",
            *lines,
            "</ul>",
        ]
    )


def _leaks(frame: pd.DataFrame, metrics: Sequence[str] | None, sort: str | None) -> str:
    assert metrics is None
    assert sort is None
    return leaks.render(frame)


def _terminal(frame: pd.DataFrame, metrics: Sequence[str] | None, sort: str | None) -> str:
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=WIDTH, color_system=None).print(terminal.render(frame, metrics, sort))
    return text.getvalue()


_FORMATS: dict[str, Callable[[pd.DataFrame, Sequence[str] | None, str | None], str]] = {
    "markdown": markdown.render,
    "csv": _csv,
    "latex": _latex,
    "html": _html,
    "json": _json,
    "table": _terminal,
    "leaks": _leaks,
}

FORMATS = tuple(_FORMATS)
