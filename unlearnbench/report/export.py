"""A leaderboard in other formats: the tables for people, or every column for programs."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from unlearnbench.errors import InputError, suggest
from unlearnbench.report import leaks, markdown, terminal
from unlearnbench.report.tables import Table, plain, tables

if TYPE_CHECKING:
    import pandas as pd

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after a line break it would start an optional argument
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "\u2013": "--",
}
_FORMULA = re.compile(r"^[=+\-@\t\r]")


def export(frame: pd.DataFrame, format: str) -> str:
    """The leaderboard as text.

    Args:
        frame: a leaderboard as `leaderboard.read` gives it.
        format: markdown, latex (booktabs), html or table (the terminal's): the chosen columns; csv or json: all;
            leaks: one page of what leaks, relative to retraining, as Markdown.

    Raises:
        InputError: an unknown format.
    """
    if format not in _FORMATS:
        raise InputError("format", f"unknown format '{format}'{suggest(format, _FORMATS)}")
    return _FORMATS[format](frame)


def latex_escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in plain(text))


def _csv(frame: pd.DataFrame) -> str:
    guarded = frame.copy()
    for column in guarded.columns:
        if column in frame.select_dtypes("number"):
            continue
        guarded[column] = guarded[column].map(_guarded, na_action="ignore")
    return str(guarded.to_csv(index=False, lineterminator="\n"))


def _guarded(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    text = plain(text)
    return f"'{text}" if _FORMULA.match(text) else text


def _json(frame: pd.DataFrame) -> str:
    rows = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"


def _latex(frame: pd.DataFrame) -> str:
    return "\n".join(_latex_table(table) for table in tables(frame))


def _latex_table(table: Table) -> str:
    columns = "".join("l" if number == 1 else "r" for number in range(len(table.headers)))
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{latex_escape(table.title)}}}"]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _latex_row(table.headers), r"\midrule"]
    lines += [_latex_row(row) for row in table.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {latex_escape(line)}" for line in (*table.legend, *table.notes)]
    return "\n".join([*lines, r"\end{table}", ""])


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(latex_escape, cells)) + r" \\"


def _html(frame: pd.DataFrame) -> str:
    body = "\n".join(_html_table(table) for table in tables(frame)) or "<p>No results.</p>"
    return f'<!doctype html>\n<meta charset="utf-8">\n<title>Leaderboard</title>\n{body}\n'


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(header)}</th>" for header in table.headers)
    rows = ["<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in table.rows]
    lines = [f"<li>{html.escape(line)}</li>" for line in (*table.legend, *table.notes)]
    return "\n".join(
        [
            f"<table>\n<caption>{html.escape(table.title)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>",
            *rows,
            "</tbody>\n</table>\n<ul>",
            *lines,
            "</ul>",
        ]
    )


def _terminal(frame: pd.DataFrame) -> str:
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=terminal.WIDTH, color_system=None).print(terminal.render(frame))
    return text.getvalue()


_FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "markdown": markdown.render,
    "csv": _csv,
    "latex": _latex,
    "html": _html,
    "json": _json,
    "table": _terminal,
    "leaks": leaks.render,
}

FORMATS = tuple(_FORMATS)
