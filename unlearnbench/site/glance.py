"""At a glance: one table of what leaks, accesses down and methods across, as `report --format leaks` has it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from unlearnbench.protocols import titled
from unlearnbench.ranking import REFERENCES
from unlearnbench.report import leaks
from unlearnbench.report.leaks import Finding
from unlearnbench.report.tables import plain
from unlearnbench.site import cells
from unlearnbench.site.boards import Board, Column, Line, filters_of, of_protocol, short
from unlearnbench.site.cells import MINUS, Cell, Row
from unlearnbench.site.naming import slug, split_id

_LEGEND = (
    "Each cell: the attack's mean score over seeds; in brackets the difference to the same attack on retraining.",
    "▲ marks a leak: the 95 % interval excludes what retraining gives (or, without retraining, what an attacker gets"
    " who looks at no output). By chance one cell in forty that does not leak is marked.",
    "† the erasures did not reach the forgetting criterion in every seed: nothing is hidden by not forgetting.",
)


@dataclass(frozen=True)
class Tally:
    """Under how many accesses a method was shown to leak."""

    method: str
    link: str
    leaking: int
    accesses: int
    reference: bool


def tallies(rows: Iterable[Row]) -> list[Tally]:
    """For each method's id and protocol, contenders first; those that leak under fewer accesses stand before the
    others."""
    seen: dict[tuple[int, str], set[tuple[str, ...]]] = defaultdict(set)
    leaking: dict[tuple[int, str], set[tuple[str, ...]]] = defaultdict(set)
    links: dict[str, str] = {}
    for row in rows:
        for finding in leaks.findings(row):
            # An access counts once in each setting.
            access = (
                *(row[name] for name in ("part", "suite", "experiment", "dataset_id", "scenario_id")),
                finding.access,
            )
            links[finding.method] = f"methods/{slug(row['method'])}.html"
            seen[row["protocol_version"], finding.method].add(access)
            if finding.leaks:
                leaking[row["protocol_version"], finding.method].add(access)
    order = sorted(seen, key=lambda key: (-key[0], _is_reference(key[1]), len(leaking[key]) / len(seen[key]), key[1]))
    return [
        Tally(plain(titled(name, version)), links[name], len(leaking[key]), len(seen[key]), _is_reference(name))
        for key in order
        for version, name in [key]
    ]


_SETTING = (
    ("suite", "suite"), ("dataset_id", "dataset"), ("tier", "tier"), ("observation", "observes"),
    ("n_shadows", "shadows"), ("beta_text", "β"), ("erased", "erased"),
)  # fmt: skip


def boards(rows: Sequence[Row]) -> list[Board]:
    """The table of an experiment, for each protocol that it was measured under; none if nothing was attacked."""
    versions = sorted({row["protocol_version"] for row in rows}, reverse=True)
    made = (_board([row for row in rows if row["protocol_version"] == version], version) for version in versions)
    return [board for board in made if board is not None]


def _board(rows: Sequence[Row], protocol: int) -> Board | None:
    found: dict[tuple[Any, ...], dict[str, Finding]] = defaultdict(dict)
    first: dict[tuple[Any, ...], Row] = {}
    for row in sorted(rows, key=lambda row: -1.0 if row["beta"] is None else row["beta"]):
        for finding in leaks.findings(row) if row["attack"] is not None else ():
            same = ("attack_params", "dataset_params", "scenario", "scenario_id")
            key = (row["attack_id"], *(row[name] for name in (*dict(_SETTING), *same)), finding.metric.name)
            while finding.method in found[key]:  # of other parameters, that are this version's defaults
                key = (*key, row["method_params"])
            found[key][finding.method] = finding
            first.setdefault(key, row)
    if not found:
        return None
    methods = sorted(dict.fromkeys(name for each in found.values() for name in each), key=_is_reference)
    differing = [pair for pair in _SETTING if len({row[pair[0]] for row in first.values()}) > 1]
    columns = [Column("access", "attack", numeric=False)]
    columns += [Column(name, label, numeric=False) for name, label in differing]
    columns += [Column("metric", "metric", numeric=False)]
    columns += [Column(f"method-{slug(name)}", plain(name), of=plain(split_id(name)[0])) for name in methods]
    lines = []
    for key, each in found.items():
        row, metric = first[key], next(iter(each.values())).metric
        identity = [cells.named(row["attack_id"], f"attacks/{slug(row['attack'])}.html")]
        identity += [cells.named(_words(row[name])) for name, _ in differing]
        identity.append(Cell(short(metric), short(metric), (metric.description, metric.direction)))
        filters = {name: value for name, value in filters_of(row).items() if name != "method"}
        lines.append(Line((*identity, *(_cell(each.get(name)) for name in methods)), filters))
    title = titled("What leaks, at a glance", protocol)
    return Board(f"glance{of_protocol(protocol)}", title, tuple(columns), tuple(lines), legend=_LEGEND)


def _words(value: Any) -> str:
    return "" if value is None else str(int(value)) if isinstance(value, float) else str(value).replace("_", " ")


def _cell(finding: Finding | None) -> Cell:
    if finding is None:
        return cells.empty("not measured under this access")
    score = cells.minus(finding.score)
    details = [f"{finding.metric.description}: {score}"]
    text = _brief(score)
    if finding.difference:
        gap = cells.minus(finding.difference)
        details.append(f"minus the same attack on retraining: {gap}")
        text = f"{text} ({_brief(gap)})"
    if finding.leaks:
        details.append("the interval shows a leak")
    if not finding.forgot:
        details.append("did not forget in every seed")
    text = f"{'▲ ' if finding.leaks else ''}{text}{'' if finding.forgot else ' †'}"
    value = float(finding.score.split(" ")[0])
    return Cell(text, value, tuple(details), "leak" if finding.leaks else "")


def _brief(interval: str) -> str:
    """An interval's middle, with three decimals at most."""
    number = interval.split(" ")[0]
    decimals = number.partition(".")[2]
    if len(decimals) <= 3 or "e" in decimals:
        return number
    sign = "+" if number.startswith("+") else ""
    return f"{sign}{float(number.replace(MINUS, '-')):.3f}".replace("-", MINUS)


def _is_reference(method_id: str) -> bool:
    return split_id(method_id)[0] in REFERENCES
