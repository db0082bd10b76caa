"""From leaderboard rows to the site's tables: which columns they have, and how these are filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unlearnbench.metrics.catalog import Metric, shown_in
from unlearnbench.report.wording import in_words
from unlearnbench.settings.protocols import measured_under, titled
from unlearnbench.site import cells, standing
from unlearnbench.site.board import Board, BoardColumn, Line
from unlearnbench.site.cells import TableCell
from unlearnbench.site.naming import slug, split_id
from unlearnbench.site.rows import BoardRow, filters_of
from unlearnbench.system.escaping import plain


def boards(rows: Sequence[BoardRow], across: bool = False) -> list[Board]:
    """The tables of some rows: for each protocol one per attack, and one for what was measured without an attack.

    Args:
        rows: as `site_rows` returns them.
        across: whether the rows come from several experiments, which are then named.
    """
    groups: dict[tuple[int, str | None], list[BoardRow]] = {}
    for row in rows:
        groups.setdefault((row["protocol_version"], row["attack"]), []).append(row)
    order = sorted(groups, key=lambda key: (-key[0], key[1] is None, -len(groups[key])))
    return [_board(attack, groups[protocol, attack], across, protocol) for protocol, attack in order]


def _board(attack: str | None, rows: Sequence[BoardRow], across: bool, protocol: int) -> Board:
    identity, shared = _identity(rows, across)
    metrics = _metrics(rows, attack is not None)
    judged = _judged(rows)
    columns = [column for column, _ in (*identity, *judged)]
    makers: list[Callable[[BoardRow], TableCell]] = [make for _, make in (*identity, *judged)]
    for metric in metrics:
        for column, make in _metric_columns(metric):
            columns.append(column)
            makers.append(make)
    columns.append(BoardColumn("seeds", "seeds", "seeds with results"))
    makers.append(cells.seeds)
    lines = [
        Line(tuple(make(row) for make in makers), filters_of(row), row["reference"] is True) for row in rows
    ]  # fmt: skip
    title = (
        "Without an adversary: utility, forgetting and cost" if attack is None else f"Under {plain(in_words(attack))}"
    )
    return Board(
        f"board-{slug(attack) if attack else 'utility'}{of_protocol(protocol)}",
        titled(title, protocol),
        tuple(columns),
        tuple(lines),
        tuple(shared),
        (
            *(f"{column.label}: {column.about}" for column in columns if column.key in standing.MEANINGS),
            *(f"{metric.name}: {metric.description} ({metric.direction})" for metric in metrics),
        ),
        tuple(standing.powers(rows)),
    )


def of_protocol(version: int) -> str:
    """The suffix of ids and file names for another protocol than the current one."""
    return f"-protocol-{version}" if measured_under(version) else ""


Maker = tuple[BoardColumn, Callable[[BoardRow], TableCell]]


def _identity(rows: Sequence[BoardRow], across: bool) -> tuple[list[Maker], list[tuple[str, str]]]:
    """Columns that identify a row, and what all rows share, which is named once and needs no column."""
    optional: list[tuple[str, str, Callable[[BoardRow], str]]] = [
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
        (BoardColumn("rank", "#", standing.MEANINGS["rank"]), standing.place),
        (BoardColumn("method", "method", numeric=False), _method),
    ]
    if across:
        makers.append((BoardColumn("experiment", "experiment", numeric=False), _experiment))
    shared = []
    for key, label, text in optional:
        values = {text(row) for row in rows}
        if len(values) > 1 and not (
            key == "scenario" and _are_distinguished(rows, [text for k, _, text in optional[:-1]])
        ):
            makers.append((BoardColumn(key, label, numeric=key in ("n_shadows", "beta", "edr")), _maker(key, text)))
        elif values != {""} and len(values) == 1 and key != "attack":
            shared.append((label, plain(next(iter(values)))))
    return makers, shared


def _judged(rows: Sequence[BoardRow]) -> list[Maker]:
    """The columns of verdicts, which stand before all scores."""
    found: list[Maker] = [
        (BoardColumn("forgot", "forgot", standing.MEANINGS["forgot"], numeric=False), standing.forgot),
        (BoardColumn("kept", "accuracy kept", standing.MEANINGS["kept"], numeric=False), standing.kept),
    ]
    if any(row["beside_retrain"] is not None for row in rows):
        found.append((BoardColumn("beside", "vs retrain", standing.MEANINGS["beside"], numeric=False), standing.beside))
    return found


def _are_distinguished(rows: Sequence[BoardRow], texts: Sequence[Callable[[BoardRow], str]]) -> bool:
    """Whether the other columns distinguish the scenarios of one experiment already."""
    places: dict[tuple[str, ...], set[str]] = {}
    for row in rows:
        key = (row["part"], row["experiment"], row["dataset_params"], *(text(row) for text in texts))
        places.setdefault(key, set()).add(row["scenario_id"])
    return all(len(scenarios) == 1 for scenarios in places.values())


def _maker(key: str, text: Callable[[BoardRow], str]) -> Callable[[BoardRow], TableCell]:
    def make(row: BoardRow) -> TableCell:
        shown = text(row)
        number = {"n_shadows": row["n_shadows"], "beta": row["beta"], "edr": row["edr"]}.get(key)
        return TableCell(plain(shown), plain(shown) if number is None else float(number))

    return make


def _settings(attack_id: str | None) -> str:
    return "" if attack_id is None else split_id(attack_id)[1] or "default"


def _method(row: BoardRow) -> TableCell:
    return cells.named(row["method_id"], f"methods/{slug(row['method'])}.html")


def _experiment(row: BoardRow) -> TableCell:
    return cells.named(f"{row['source']}: {row['experiment']}", experiment_path(row["part"], row["experiment"]))


def experiment_path(part: str, experiment: str) -> str:
    """The path of an experiment's page."""
    return f"experiments/{part}/{slug(experiment)}.html"


def _metrics(rows: Sequence[BoardRow], attacked: bool) -> list[Metric]:
    wanted = [*shown_in("attacked", "pages"), *shown_in("beside")] if attacked else shown_in("unattacked")
    return [metric for metric in wanted if any(row.get(metric.name) is not None for row in rows)]


def _metric_columns(metric: Metric) -> list[Maker]:
    label = metric.heading
    better = {"higher": "↑", "lower": "↓"}.get(metric.better, "")
    good = {"privacy": "more private", "utility": "more useful", "cost": "cheaper"}.get(metric.good, "")
    about = metric.description + (f"; {metric.better} is {good}" if better else "")
    if metric.good != "privacy":
        return [(BoardColumn(metric.name, label, about, better=better), lambda row: cells.measured(row, metric))]
    return [
        (BoardColumn(metric.name, "mean", about, label, better=better), lambda row: cells.measured(row, metric)),
        (
            BoardColumn(f"{metric.name}_gap_retrain", "\u2212 retrain", "minus the same attack on retraining", label),
            lambda row: cells.to_retraining(row, metric),
        ),
        (
            BoardColumn(
                f"{metric.name}_gap_trivial", "\u2212 trivial", "minus the attacker who looks at no output", label
            ),
            lambda row: cells.to_trivial(row, metric),
        ),
    ]
