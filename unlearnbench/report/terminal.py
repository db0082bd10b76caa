"""Leaderboard tables for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from unlearnbench.report.tables import with_results
from unlearnbench.report.text_tables import Table
from unlearnbench.system.printing import WIDTH

if TYPE_CHECKING:
    import pandas as pd

_NAME_WIDTH = 24  # a longer method id continues on the next line
_GAP = 2


def render(frame: pd.DataFrame, metrics: Sequence[str] | None = None, sort: str | None = None) -> RenderableType:
    """The leaderboard as rich renderables; arguments and errors as in `tables.tables`.

    A table that is too wide continues below, with rank and method repeated. Text from records is never read as markup.
    """
    found = with_results(frame, metrics, sort)
    if not found:
        return Text("No results.")
    parts: list[RenderableType] = []
    for table in found:
        parts.append(Text(table.title, style="bold"))
        parts += [_drawn(table, columns) for columns in blocks(table)]
        parts += [Text(line, style="dim") for line in table.legend]
        parts += [Text(f"! {line}", style="yellow") for line in table.notes]
        parts.append(Text(""))
    return Group(*parts[:-1])


def blocks(table: Table, width: int = WIDTH) -> list[list[int]]:
    """Column numbers in pieces that fit the width; those up to the method's name are in every piece."""
    widths = [
        max(cell_len(text) for text in (header, *(row[number] for row in table.rows)))
        for number, header in enumerate(table.headers)
    ]
    widths[table.name] = min(widths[table.name], _NAME_WIDTH)
    fixed = list(range(table.name + 1))
    start = sum(widths[number] + _GAP for number in fixed)
    pieces, used = [list(fixed)], start
    for number in range(len(fixed), len(widths)):
        if used + widths[number] > width and len(pieces[-1]) > len(fixed):
            pieces.append(list(fixed))
            used = start
        pieces[-1].append(number)
        used += widths[number] + _GAP
    return pieces


def _drawn(table: Table, columns: list[int]) -> RichTable:
    # One space of padding and one of the box between columns: _GAP.
    drawn = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for number in columns:
        drawn.add_column(
            Text(table.headers[number]),
            justify="left" if number == table.name else "right",
            max_width=_NAME_WIDTH if number == table.name else None,
            overflow="fold",
            no_wrap=number != table.name,
        )
    for row in table.rows:
        drawn.add_row(*(Text(row[number]) for number in columns))
    return drawn
