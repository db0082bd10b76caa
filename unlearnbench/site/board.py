"""One table of the site: its columns and lines, and what a reader can filter it by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from unlearnbench.site.cells import TableCell

DIMENSIONS = {
    "dataset": "Dataset", "method": "Method", "attack": "Attack", "tier": "Tier", "observes": "Observes",
    "beta": "β", "edr": "Erased",
}  # fmt: skip
"""What tables can be filtered by, with labels."""


@dataclass(frozen=True)
class BoardColumn:
    """One column, below its `group` if it has one; a column `of` a method is hidden when another method is chosen."""

    key: str
    label: str
    about: str = ""
    group: str = ""
    numeric: bool = True
    better: str = ""
    of: str = ""


@dataclass(frozen=True)
class Line:
    """One row: a cell for each column, and its value for each dimension.

    Attributes:
        every: whether it stays visible whatever is chosen for a dimension without a value here.
    """

    cells: tuple[TableCell, ...]
    filters: Mapping[str, str] = field(default_factory=dict)
    reference: bool = False
    every: bool = False


@dataclass(frozen=True)
class Board:
    """One table.

    Attributes:
        shared: what is the same in all rows, in words.
        legend: what the columns mean.
        notes: what a reader must know to read the table, shown below it.
    """

    id: str
    title: str
    columns: tuple[BoardColumn, ...]
    lines: tuple[Line, ...]
    shared: tuple[tuple[str, str], ...] = ()
    legend: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The heads above neighbouring columns, each with the number of columns that it spans."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if column.group and found and found[-1][0] == column.group:
                found[-1] = column.group, found[-1][1] + 1
            else:
                found.append((column.group, 1))
        return found


def choices(lines: Iterable[Line]) -> dict[str, list[str]]:
    """The dimensions in which lines differ, each with its values: numbers by size, texts in order of appearance."""
    found: dict[str, dict[str, None]] = {name: {} for name in DIMENSIONS}
    for line in lines:
        for name, value in line.filters.items():
            found[name][value] = None
    numeric = {"beta", "edr"}
    return {
        name: sorted(values, key=_size) if name in numeric else list(values)
        for name, values in found.items()
        if len(values) > 1
    }


def _size(text: str) -> tuple[int, float, str]:
    head = text.split(" ")[0]
    try:
        return (0 if "%" in text or " " not in text else 1), float(head), text
    except ValueError:
        return 2, 0.0, text
