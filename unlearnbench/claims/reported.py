"""A paper's own numbers, as data, with what was measured beside each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from unlearnbench.claims.intervals import interval
from unlearnbench.claims.measured import MeasuredValues
from unlearnbench.claims.model import Identifier, ValueSelection, place_in
from unlearnbench.claims.values import Code, in_one, versions
from unlearnbench.settings.scenario import Strict
from unlearnbench.settings.validation import check
from unlearnbench.system import yaml_reading


class Row(Strict):
    """One line of a table, or one place on a figure's x axis."""

    label: str
    x: float | None = None
    of: ValueSelection = ValueSelection()


class Column(Strict):
    """One quantity in every row; without numbers if the paper does not report it."""

    label: str
    panel: str = Field("", description="what the y axis shows, where it is drawn; empty: not drawn")
    series: str = Field("", description="the name of the line")
    of: ValueSelection = ValueSelection()
    reported: dict[str, list[float | None]] = Field(
        {}, description="by dataset, one number per row, in the metric's unit"
    )
    trivial: dict[str, float] = Field(
        {}, description="by dataset, the score of an attacker who looks at no output, computed by us on this scale"
    )


class Published(Strict):
    """A table or a figure of the paper."""

    id: Identifier
    title: str
    x: str | None = Field(None, description="what the x axis shows; null: not drawn")
    ticks: bool = Field(False, description="whether the x axis shows the rows' labels instead of their x")
    of: ValueSelection = ValueSelection()
    datasets: list[Identifier] = Field(min_length=1)
    rows: list[Row] = Field(min_length=1)
    columns: list[Column] = Field(min_length=1)
    undecided: str | None = Field(None, description="why its numbers do not decide any check")
    notes: list[str] = Field([], description="slips of the paper, and how its numbers are to be read")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for column in self.columns:
            for dataset, numbers in column.reported.items():
                if dataset not in self.datasets:
                    raise ValueError(f"column '{column.label}' reports on '{dataset}', which is not in datasets")
                if len(numbers) != len(self.rows):
                    raise ValueError(f"column '{column.label}' has {len(numbers)} numbers for {len(self.rows)} rows")
            for row in self.rows:
                whole = self.selection(row, column)
                missing = [name for name in ("experiment", "method", "metric") if getattr(whole, name) is None]
                if missing:
                    raise ValueError(f"column '{column.label}' names no {missing[0]}")
        if self.x is not None and any(row.x is None for row in self.rows):
            raise ValueError("every row of what is drawn needs its x")
        return self

    def selection(self, row: Row, column: Column) -> ValueSelection:
        """What was measured in a row and a column."""
        return column.of.over(row.of.over(self.of))


class Reported(Strict):
    """A file of a paper's numbers."""

    paper: str
    source: str
    published: list[Published] = Field(min_length=1)


@dataclass(frozen=True)
class Entry:
    """One number of the paper beside the measured one."""

    row: Row
    column: Column
    metric: str
    reported: float | None
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = ""
    part: str = ""  # of the data that it was measured on; empty for all of it
    codes: frozenset[Code] = frozenset()

    @property
    def difference(self) -> float | None:
        """Measured minus reported; None for a part of the data, which is not what the paper measured."""
        return None if self.mean is None or self.reported is None or self.part else self.mean - self.reported


@dataclass(frozen=True)
class ComparedTable:
    """A table or figure on one dataset, reported and measured."""

    published: Published
    dataset: str
    entries: Sequence[Entry]

    @property
    def part(self) -> str:
        """The part of the data that was measured; empty for all of it."""
        return in_one(entry.part for entry in self.entries)

    @property
    def notes(self) -> list[str]:
        """The notes on the paper's slips, and a note if the measured numbers come from several versions of a plugin."""
        several = versions(code for entry in self.entries for code in entry.codes)
        return [*self.published.notes, *([f"Its numbers come from {several}."] if several else [])]


def load(claims: Path, name: str) -> Reported:
    """The file of reported numbers that lies beside a claims file. Raises InputError, which names the wrong key."""
    path = claims.with_name(name)
    return check(Reported, yaml_reading.read(path), place_in(path))


def compared_tables(reported: Reported, measured: MeasuredValues) -> list[ComparedTable]:
    """All tables and figures, each once per dataset."""
    return [
        ComparedTable(each, dataset, _entries(each, dataset, measured))
        for each in reported.published
        for dataset in each.datasets
    ]


def _entries(published: Published, dataset: str, measured: MeasuredValues) -> list[Entry]:
    entries = []
    for number, row in enumerate(published.rows):
        for column in published.columns:
            numbers = column.reported.get(dataset)
            stated = numbers[number] if numbers else None
            entries.append(_entry(row, column, published.selection(row, column), stated, measured, dataset))
    return entries


def _entry(
    row: Row, column: Column, selection: ValueSelection, stated: float | None, measured: MeasuredValues, dataset: str
) -> Entry:
    metric = str(selection.metric)
    values = measured.values(selection, dataset)
    if values.reason or len(values.devices) > 1:
        return Entry(row, column, metric, stated, reason=values.reason or "times of several kinds of machines")
    seeds = list(values.by_seed.values())
    return Entry(row, column, metric, stated, *interval(seeds, "value", metric), len(seeds), part=values.part,
                 codes=values.codes)  # fmt: skip
