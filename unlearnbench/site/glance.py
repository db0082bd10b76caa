"""At a glance: one table of what leaks, accesses down and methods across, as `report --format leaks` has it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from unlearnbench.ranking import REFERENCES
from unlearnbench.report import leaks
from unlearnbench.report.leaks import Finding
from unlearnbench.report.tables import plain
from unlearnbench.site import cells
from unlearnbench.site.boards import Board, Column, Line, filters_of, short
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
    """For each method's id, contenders first; those that leak under fewer accesses stand before the others."""
    seen: dict[str, set[str]] = defaultdict(set)
    leaking: dict[str, set[str]] = defaultdict(set)
    links: dict[str, str] = {}
    for row in rows:
        for finding in leaks.findings(row):
            # An access counts once in each setting.
            access = f"{row['part']} {row['experiment']} {row['dataset']} {row['scenario_id']} {finding.access}"
            links[finding.method] = f"methods/{slug(row['method'])}.html"
            seen[finding.method].add(access)
            if finding.leaks:
                leaking[finding.method].add(access)
    made = [Tally(plain(name), links[name], len(leaking[name]), len(seen[name]), _is_reference(name)) for name in seen]
    return sorted(made, key=lambda tally: (tally.reference, tally.leaking / tally.accesses, tally.method))


_SETTING = (("dataset", "dataset"), ("tier", "tier"), ("observation", "observes"), ("n_shadows", "shadows"),
            ("beta_text", "β"), ("erased", "erased"))  # fmt: skip


def board(rows: Sequence[Row]) -> Board | None:
    """The table of an experiment; None if nothing was attacked."""
    found: dict[tuple[Any, ...], dict[str, Finding]] = defaultdict(dict)
    first: dict[tuple[Any, ...], Row] = {}
    for row in sorted(rows, key=lambda row: -1.0 if row["beta"] is None else row["beta"]):
        for finding in leaks.findings(row) if row["attack"] is not None else ():
            key = (row["attack_id"], *(row[name] for name, _ in _SETTING), row["scenario_id"], finding.metric.name)
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
    return Board("glance", "What leaks, at a glance", tuple(columns), tuple(lines), legend=_LEGEND)


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
