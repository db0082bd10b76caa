"""Leaderboard rows to the site's tables: which columns, which rows, and what a reader can filter by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unlearnbench.leaderboard.contenders import TABLE_COLUMNS
from unlearnbench.metrics.catalog import METRICS, Metric, shown_in
from unlearnbench.report import tables
from unlearnbench.report.findings import findings
from unlearnbench.settings.protocols import measured_under, titled
from unlearnbench.site import cells, standing
from unlearnbench.site.cells import Cell, Row
from unlearnbench.site.naming import slug, split_id
from unlearnbench.site.settings import setting_of
from unlearnbench.system.escaping import plain

if TYPE_CHECKING:
    import pandas as pd

DIMENSIONS = {
    "dataset": "Dataset", "method": "Method", "attack": "Attack", "tier": "Tier", "observes": "Observes",
    "beta": "β", "edr": "Erased",
}  # fmt: skip
"""What tables are filtered by, and its label."""


@dataclass(frozen=True)
class Column:
    """One column; those of one `group` stand under it, and what is `of` one method hides when another is chosen."""

    key: str
    label: str
    about: str = ""
    group: str = ""
    numeric: bool = True
    better: str = ""
    of: str = ""


@dataclass(frozen=True)
class Line:
    """One row: a cell for each column, and its value of each dimension.

    Attributes:
        every: whether it stays whatever is chosen of a dimension that it has no value of.
    """

    cells: tuple[Cell, ...]
    filters: Mapping[str, str] = field(default_factory=dict)
    reference: bool = False
    every: bool = False


@dataclass(frozen=True)
class Board:
    """One table.

    Attributes:
        shared: what is the same in all rows, in words.
        legend: what its columns mean.
        notes: what a reader must know to read it, below it.
    """

    id: str
    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    shared: tuple[tuple[str, str], ...] = ()
    legend: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Heads of neighbouring columns, each with how many it spans."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if column.group and found and found[-1][0] == column.group:
                found[-1] = column.group, found[-1][1] + 1
            else:
                found.append((column.group, 1))
        return found


def rows_of(board: pd.DataFrame, source: str, part: str) -> list[dict[str, Any]]:
    """A leaderboard's rows with None for null, and what the site adds: where a row is from, its setting, its findings,
    and how many of its table have a place or can't be told from the best.

    Raises:
        InputError: a method that erases nothing is shown to leak.
    """
    rows = tables.rows_of(board)
    shown = {id(row): own for row, own in findings(rows)}
    table = [tuple(row[key] for key in TABLE_COLUMNS) for row in rows]
    near = Counter(key for key, row in zip(table, rows, strict=True) if row["near_best"])
    of = Counter(key for key, row in zip(table, rows, strict=True) if row["rank"] is not None)
    for key, row in zip(table, rows, strict=True):
        setting = setting_of(row["scenario"])
        row |= {"source": source, "part": part, "beta": setting.beta, "edr": setting.ratio, "erased": setting.erased}
        row |= {"beta_text": setting.beta_text, "near": near[key], "of": of[key], "table": (part, *key)}
        row["findings"] = shown.get(id(row), [])
    places = {key: place for place, key in enumerate(dict.fromkeys(table))}
    order = sorted(range(len(rows)), key=lambda number: (places[table[number]], *_standing(rows[number])))
    return [rows[number] for number in order]


def _standing(row: Row) -> tuple[bool, float, bool, bool, float]:
    """Sorts a table by place; without one contenders before references, the best mean of what is ranked by first."""
    rank, metric = row["rank"], METRICS.get(row["rank_metric"] or "")
    value = None if metric is None else row.get(metric.name)
    sign = -1.0 if metric is not None and metric.better == "higher" else 1.0
    reference = row["reference"] is True
    return rank is None, float(rank or 0), reference, value is None, sign * float(value or 0)


def filters_of(row: Row) -> dict[str, str]:
    """A row's value of each dimension."""
    values = {
        "dataset": row["dataset_id"], "method": row["method"], "attack": row["attack_id"], "tier": row["tier"],
        "observes": row["observation"], "beta": row["beta_text"], "edr": row["erased"],
    }  # fmt: skip
    return {name: plain(value) for name, value in values.items() if value}


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


def boards(rows: Sequence[Row], across: bool = False) -> list[Board]:
    """The tables of some rows: one for each attack, and one of what was measured without; for each protocol.

    Args:
        rows: as `rows_of` gives them.
        across: whether they are of several experiments, which are then named.
    """
    groups: dict[tuple[int, str | None], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["protocol_version"], row["attack"]), []).append(row)
    order = sorted(groups, key=lambda key: (-key[0], key[1] is None, -len(groups[key])))
    return [_board(attack, groups[protocol, attack], across, protocol) for protocol, attack in order]


def _board(attack: str | None, rows: Sequence[Row], across: bool, protocol: int) -> Board:
    identity, shared = _identity(rows, across)
    metrics = _metrics(rows, attack is not None)
    judged = _judged(rows)
    columns = [column for column, _ in (*identity, *judged)]
    makers: list[Callable[[Row], Cell]] = [make for _, make in (*identity, *judged)]
    for metric in metrics:
        for column, make in _metric_columns(metric):
            columns.append(column)
            makers.append(make)
    columns.append(Column("seeds", "seeds", "seeds with results"))
    makers.append(cells.seeds)
    lines = [
        Line(tuple(make(row) for make in makers), filters_of(row), row["reference"] is True) for row in rows
    ]  # fmt: skip
    title = "Without an adversary: utility, forgetting and cost" if attack is None else f"Under {plain(attack)}"
    return Board(
        f"board-{slug(attack) if attack else 'utility'}{of_protocol(protocol)}",
        titled(title, protocol),
        tuple(columns),
        tuple(lines),
        tuple(shared),
        (
            *(f"{column.label}: {column.about}" for column in columns if column.key in standing.ABOUT),
            *(f"{metric.name}: {metric.description} ({metric.direction})" for metric in metrics),
        ),
        tuple(standing.powers(rows)),
    )


def of_protocol(version: int) -> str:
    """What names of page parts and figures end in, where they are of another protocol than the current one."""
    return f"-protocol-{version}" if measured_under(version) else ""


Maker = tuple[Column, Callable[[Row], Cell]]


def _identity(rows: Sequence[Row], across: bool) -> tuple[list[Maker], list[tuple[str, str]]]:
    """Columns that say what a row is; what all rows share is no column, but named once."""
    optional: list[tuple[str, str, Callable[[Row], str]]] = [
        ("dataset", "dataset", lambda row: row["dataset_id"]),
        ("attack", "attack's settings", lambda row: _settings(row["attack_id"])),
        ("tier", "tier", lambda row: (row["tier"] or "").replace("_", " ")),
        ("observes", "observes", lambda row: (row["observation"] or "").replace("_", " ")),
        ("n_shadows", "shadows", lambda row: "" if row["n_shadows"] is None else str(int(row["n_shadows"]))),
        ("beta", "β", lambda row: row["beta_text"]),
        ("edr", "erased", lambda row: row["erased"]),
        ("scenario", "scenario", lambda row: row["scenario_id"]),
    ]
    makers: list[Maker] = [
        (Column("rank", "#", standing.ABOUT["rank"]), standing.place),
        (Column("method", "method", numeric=False), _method),
    ]
    if across:
        makers.append((Column("experiment", "experiment", numeric=False), _experiment))
    shared = []
    for key, label, text in optional:
        values = {text(row) for row in rows}
        if len(values) > 1 and not (key == "scenario" and _told(rows, [text for k, _, text in optional[:-1]])):
            makers.append((Column(key, label, numeric=key in ("n_shadows", "beta", "edr")), _maker(key, text)))
        elif values != {""} and len(values) == 1 and key != "attack":
            shared.append((label, plain(next(iter(values)))))
    return makers, shared


def _judged(rows: Sequence[Row]) -> list[Maker]:
    """Columns of what a method has shown, which stand before all scores."""
    found: list[Maker] = [
        (Column("forgot", "forgot", standing.ABOUT["forgot"], numeric=False), standing.forgot),
        (Column("kept", "accuracy kept", standing.ABOUT["kept"], numeric=False), standing.kept),
    ]
    if any(row["beside_retrain"] is not None for row in rows):
        found.append((Column("beside", "vs retrain", standing.ABOUT["beside"], numeric=False), standing.beside))
    return found


def _told(rows: Sequence[Row], texts: Sequence[Callable[[Row], str]]) -> bool:
    """Whether the other columns tell the scenarios of one experiment apart already."""
    places: dict[tuple[str, ...], set[str]] = {}
    for row in rows:
        key = (row["part"], row["experiment"], row["dataset_params"], *(text(row) for text in texts))
        places.setdefault(key, set()).add(row["scenario_id"])
    return all(len(scenarios) == 1 for scenarios in places.values())


def _maker(key: str, text: Callable[[Row], str]) -> Callable[[Row], Cell]:
    def make(row: Row) -> Cell:
        shown = text(row)
        number = {"n_shadows": row["n_shadows"], "beta": row["beta"], "edr": row["edr"]}.get(key)
        return Cell(plain(shown), plain(shown) if number is None else float(number))

    return make


def _settings(attack_id: str | None) -> str:
    return "" if attack_id is None else split_id(attack_id)[1] or "default"


def _method(row: Row) -> Cell:
    return cells.named(row["method_id"], f"methods/{slug(row['method'])}.html")


def _experiment(row: Row) -> Cell:
    return cells.named(f"{row['source']}: {row['experiment']}", experiment_path(row["part"], row["experiment"]))


def experiment_path(part: str, experiment: str) -> str:
    """Where the page of an experiment is."""
    return f"experiments/{part}/{slug(experiment)}.html"


def _metrics(rows: Sequence[Row], attacked: bool) -> list[Metric]:
    wanted = [*shown_in("attacked", "pages"), *shown_in("beside")] if attacked else shown_in("unattacked")
    return [metric for metric in wanted if any(row.get(metric.name) is not None for row in rows)]


def _metric_columns(metric: Metric) -> list[Maker]:
    label = metric.heading
    better = {"higher": "↑", "lower": "↓"}.get(metric.better, "")
    good = {"privacy": "more private", "utility": "more useful", "cost": "cheaper"}.get(metric.good, "")
    about = metric.description + (f"; {metric.better} is {good}" if better else "")
    if metric.good != "privacy":
        return [(Column(metric.name, label, about, better=better), lambda row: cells.measured(row, metric))]
    return [
        (Column(metric.name, "mean", about, label, better=better), lambda row: cells.measured(row, metric)),
        (
            Column(f"{metric.name}_gap_retrain", "\u2212 retrain", "minus the same attack on retraining", label),
            lambda row: cells.to_retraining(row, metric),
        ),
        (
            Column(f"{metric.name}_gap_trivial", "\u2212 trivial", "minus the attacker who looks at no output", label),
            lambda row: cells.to_trivial(row, metric),
        ),
    ]


def _size(text: str) -> tuple[int, float, str]:
    head = text.split(" ")[0]
    try:
        return (0 if "%" in text or " " not in text else 1), float(head), text
    except ValueError:
        return 2, 0.0, text
