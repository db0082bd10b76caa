"""At a glance: one table of what leaks, with accesses as rows and methods as columns, as in `report --format leaks`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from unlearnbench.leaderboard.verdicts import Accuracy
from unlearnbench.report import wording
from unlearnbench.report.findings import AttackFinding, scene_of
from unlearnbench.report.summary import methods_of
from unlearnbench.settings.protocols import titled
from unlearnbench.site import cells, standing
from unlearnbench.site.board import Board, BoardColumn, Line
from unlearnbench.site.boards import of_protocol
from unlearnbench.site.cells import MINUS, TableCell
from unlearnbench.site.naming import slug, split_id
from unlearnbench.site.rows import BoardRow, filters_of
from unlearnbench.system.escaping import plain

_LEGEND = (
    "Each cell: the attack's mean score over seeds; in brackets the difference to the same attack on retraining.",
    "▲ shown to leak: beyond an attacker who looks at no output and beyond the same attack on retraining, p < 0.05"
    " adjusted for all tests of the method in its setting (Holm): a method that leaks nowhere is marked anywhere in one"
    " setting of twenty at most.",
    "△ shown to be beyond an attacker who looks at no output; there is no retraining to compare with.",
    "† not judged to have forgotten: nothing is hidden by not forgetting. The lines above the attacks have the verdicts"
    " in each setting: seeds within the margin of seeds judged, and accuracy beside retraining.",
)


@dataclass(frozen=True)
class Tally:
    """In how many accesses a method was shown to leak, and in how many settings it forgot and kept accuracy."""

    method: str
    link: str
    leaking: int
    accesses: int
    forgot: int
    kept: int
    settings: int
    reference: bool


def tallies(rows: Iterable[BoardRow]) -> list[Tally]:
    """One tally per method id: contenders first, and those that leak under fewer accesses before the others."""
    seen: dict[tuple[int, str], dict[tuple[str, ...], list[bool]]] = defaultdict(lambda: defaultdict(list))
    first: dict[tuple[int, str], BoardRow] = {}
    scenes: dict[tuple[int, str], dict[tuple[str, ...], BoardRow]] = defaultdict(dict)
    for row in rows:
        for finding in row["findings"]:
            # An access counts once per setting.
            scene = (row["part"], *scene_of(row))
            name = row["protocol_version"], row["method_id"]
            seen[name][*scene, finding.access].append(finding.leaks)
            scenes[name].setdefault(scene, row)
            first.setdefault(name, row)
    made = {
        name: Tally(
            plain(titled(name[1], name[0])),
            f"methods/{slug(first[name]['method'])}.html",
            sum(any(leaks) for leaks in accesses.values()),
            len(accesses),
            sum(standing.has_forgotten(row) for row in scenes[name].values()),
            sum(row.get("utility") == Accuracy.KEPT.value for row in scenes[name].values()),
            len(scenes[name]),
            first[name]["reference"] is True,
        )
        for name, accesses in seen.items()
    }
    order = sorted(made.items(), key=lambda pair: (
        -pair[0][0], pair[1].reference, pair[1].leaking / pair[1].accesses, pair[1].method))  # fmt: skip
    return [tally for _, tally in order]


_SETTING = (
    ("suite", "suite"), ("dataset_id", "dataset"), ("tier", "tier"), ("observation", "observes"),
    ("n_shadows", "shadows"), ("beta_text", "β"), ("erased", "erased"),
)  # fmt: skip
_OF_SCENES = ("suite", "dataset_id", "beta_text", "erased")  # those that do not depend on the attack
_SAME = ("attack_params", "dataset_params", "scenario", "scenario_id")


def boards(rows: Sequence[BoardRow]) -> list[Board]:
    """The tables of an experiment, one for each protocol that it was measured under; empty if nothing was attacked."""
    versions = sorted({row["protocol_version"] for row in rows}, reverse=True)
    made = (_board([row for row in rows if row["protocol_version"] == version], version) for version in versions)
    return [board for board in made if board is not None]


def _board(rows: Sequence[BoardRow], protocol: int) -> Board | None:
    found: dict[tuple[Any, ...], dict[str, tuple[BoardRow, AttackFinding]]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: -1.0 if row["beta"] is None else row["beta"]):
        for finding in row["findings"]:
            key = (row["attack_id"], *(row[name] for name in (*dict(_SETTING), *_SAME)), finding.metric.name)
            while row["method_id"] in found[key]:  # other parameters, which are the defaults of this version
                key = (*key, row["method_params"])
            found[key][row["method_id"]] = row, finding
    if not found:
        return None
    shown = [row for each in found.values() for row, _ in each.values()]
    methods = methods_of(shown)
    differing = [pair for pair in _SETTING if len({row[pair[0]] for row in shown}) > 1]
    columns = [BoardColumn("access", "attack", numeric=False)]
    columns += [BoardColumn(name, label, numeric=False) for name, label in differing]
    columns += [BoardColumn("metric", "metric", numeric=False)]
    columns += [BoardColumn(f"method-{slug(name)}", plain(name), of=plain(split_id(name)[0])) for name in methods]
    lines = _verdicts(shown, methods, differing)
    for each in found.values():
        row, finding = next(iter(each.values()))
        identity = [cells.named(row["attack_id"], f"attacks/{slug(row['attack'])}.html")]
        identity += [cells.named(_words(row[name])) for name, _ in differing]
        metric = finding.metric
        identity.append(TableCell(metric.heading, metric.heading, (metric.description, metric.direction)))
        filters = {name: value for name, value in filters_of(row).items() if name != "method"}
        lines.append(Line((*identity, *(_cell(each.get(name)) for name in methods)), filters))
    title = titled("What leaks, at a glance", protocol)
    return Board(f"glance{of_protocol(protocol)}", title, tuple(columns), tuple(lines), legend=_LEGEND)


def _verdicts(rows: Sequence[BoardRow], methods: Sequence[str], differing: Sequence[tuple[str, str]]) -> list[Line]:
    """Two lines for each setting: which methods forgot, and which kept accuracy."""
    scenes: dict[tuple[str, ...], dict[str, BoardRow]] = defaultdict(dict)
    for row in rows:
        scenes[scene_of(row)].setdefault(row["method_id"], row)
    lines = []
    for scene in scenes.values():
        row = next(iter(scene.values()))
        own = [cells.named(_words(row[name]) if name in _OF_SCENES else "") for name, _ in differing]
        filters = {name: value for name, value in filters_of(row).items() if name in ("dataset", "beta", "edr")}
        for name, make, about in (
            ("forgot?", standing.forgot, standing.MEANINGS["forgot"]),
            ("accuracy kept?", standing.kept, standing.MEANINGS["kept"]),
        ):
            made = [make(scene[m]) if m in scene else cells.empty("not measured in this setting") for m in methods]
            lines.append(
                Line((cells.named(name), *own, TableCell("verdict", "verdict", (about,)), *made), filters, every=True)
            )
    return lines


def _words(value: Any) -> str:
    return "" if value is None else str(int(value)) if isinstance(value, float) else str(value).replace("_", " ")


def _cell(shown: tuple[BoardRow, AttackFinding] | None) -> TableCell:
    if shown is None:
        return cells.empty("not measured under this access")
    row, finding = shown
    score = cells.minus(finding.score)
    details = [f"{finding.metric.description}: {score}"]
    text = _brief(score)
    if finding.difference:
        gap = cells.minus(finding.difference)
        details.append(f"minus the same attack on retraining: {gap}")
        text = f"{text} ({_brief(gap)})"
    if finding.leaks:
        details.append(f"shown to leak: {cells.p_value(finding.p)}")
    elif finding.beyond:
        details.append(f"shown to be beyond an attacker who looks at no output: {cells.p_value(finding.p)}")
    details += [finding.forgot, f"accuracy: {wording.accuracy(row)}"]
    mark = "▲ " if finding.leaks else "△ " if finding.beyond else ""
    text = f"{mark}{text}{'' if standing.has_forgotten(row) else ' †'}"
    value = float(finding.score.split(" ")[0])
    return TableCell(text, value, tuple(details), "leak" if finding.leaks else "")


def _brief(interval: str) -> str:
    """The centre of an interval, with three decimals at most."""
    number = interval.split(" ")[0]
    decimals = number.partition(".")[2]
    if len(decimals) <= 3 or "e" in decimals:
        return number
    sign = "+" if number.startswith("+") else ""
    return f"{sign}{float(number.replace(MINUS, '-')):.3f}".replace("-", MINUS)
