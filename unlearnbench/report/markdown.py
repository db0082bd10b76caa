"""Leaderboard tables as Markdown (GitHub's)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unlearnbench.report.tables import with_results
from unlearnbench.report.text_tables import Table
from unlearnbench.system.escaping import markdown, markdown_block

if TYPE_CHECKING:
    import pandas as pd


def render(frame: pd.DataFrame, metrics: Sequence[str] | None = None, sort: str | None = None) -> str:
    """The leaderboard as Markdown text; arguments and errors as in `tables.tables`."""
    return "\n".join(map(draw, with_results(frame, metrics, sort))) or "No results.\n"


def draw(table: Table) -> str:
    """One table as Markdown text."""
    lines = [f"### {markdown(table.title)}", "", _row(table.headers)]
    lines.append(
        _row([":---" if number == table.name else "---:" for number in range(len(table.headers))], escaped=True)
    )
    lines += [_row(row) for row in table.rows]
    lines += ["", *(f"- {markdown_block(line)}" for line in table.legend)]
    lines += [f"- **Note** {markdown(line)}" for line in table.notes]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str], escaped: bool = False) -> str:
    return f"| {' | '.join(cells if escaped else map(markdown, cells))} |"
