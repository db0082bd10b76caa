"""The result in words: one row per method and setting.

Did it forget, at what cost in accuracy, and what does the strongest attack find beyond retraining?
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unlearnbench.leaderboard.verdicts import Accuracy, Forgetting
from unlearnbench.report import wording
from unlearnbench.report.findings import AttackFinding, access_of, findings, scene_of
from unlearnbench.report.rows import LeaderboardRow, rows_of
from unlearnbench.report.text_tables import NOTHING, Table, format_column
from unlearnbench.settings.protocols import measured_under
from unlearnbench.system.escaping import plain

if TYPE_CHECKING:
    import pandas as pd

HEADERS = ("method", "forgot", "acc. - retrain", "strongest leak - retrain", "verdict")

_FORGOT = (
    "forgot: what is left of the original's memory, beside retrained models; seeds within the margin of seeds judged"
)
_STAMPED = "forgot: accuracy on the stamped images under the stop rule's threshold; seeds under it of seeds judged"
_ACCURACY = "acc. - retrain: test accuracy minus retraining's; below the floor: by more than the declared margin"
_LEAK = (
    "strongest leak - retrain: the attacker's advantage (share of all there is to gain beyond looking at nothing) minus"
    " that on retraining, and by which attack: the largest of the accesses that all methods have",
    "leaks: beyond the trivial attacker and beyond retraining under some access, p < 0.05 adjusted for the method's"
    " tests",
)


def results(frame: pd.DataFrame) -> list[Table]:
    """`summaries` of a leaderboard as `leaderboard.read` gives it."""
    return summaries(rows_of(frame))


def summaries(rows: Sequence[LeaderboardRow]) -> list[Table]:
    """One table for each setting among a leaderboard's rows (null as None), in the order of the rows.

    Raises:
        InputError: a method that erases nothing is shown to leak.
    """
    scenes: dict[tuple[str, ...], list[LeaderboardRow]] = defaultdict(list)
    for row in rows:
        scenes[scene_of(row)].append(row)
    found = {id(row): own for row, own in findings(rows)}
    several = len({row["suite"] for row in rows}) > 1
    return [_summary(own, found, several) for own in scenes.values()]


def dataset_of(row: LeaderboardRow) -> str:
    """A dataset with its parameters."""
    return str(row.get("dataset_id") or row["dataset"])


def methods_of(rows: Sequence[LeaderboardRow]) -> list[str]:
    """The methods in order of appearance, references last."""
    references = {row["method_id"]: row.get("reference") is True for row in rows}
    return sorted(references, key=lambda name: references[name])


def title_of(row: LeaderboardRow, with_suite: bool) -> str:
    """The setting, without an attack."""
    names = [row["suite"]] if with_suite else []
    names += [wording.in_words(row["experiment"]), dataset_of(row), wording.in_words(row["scenario_id"])]
    names += filter(None, [protocol_of(row)])
    return " / ".join(map(plain, names))


def protocol_of(row: LeaderboardRow) -> str:
    """``measured under protocol 1``; empty for the current protocol."""
    version = row.get("protocol_version")
    return "" if version is None else measured_under(int(version))


def _summary(rows: Sequence[LeaderboardRow], found: Mapping[int, Sequence[AttackFinding]], with_suite: bool) -> Table:
    attacked = [row for row in rows if row["attack"] is not None]
    common, missing = _common(attacked)
    lines, notes = [], list(missing)
    for method in _ordered(rows):
        own = [row for row in rows if row["method_id"] == method]
        under = [row for row in own if row["attack"] is not None]
        worst = strongest([row for row in under if access_of(row) in common])
        leaks = any(finding.leaks for row in under for finding in found.get(id(row), ()))
        first = _measured(own)
        broken = any(row["status"] not in ("ok", "partial", "skipped") for row in under)
        lines.append(_line(first, worst, leaks if under else None, broken))
        if note := wording.margins(first):
            notes.append(f"{plain(method)}: {note}")
        said = dict.fromkeys(str(row["note"]) for row in own if row["note"] and row["status"] == "ok")
        notes += [plain(f"{method}: {text}") for text in said]
    headers, legend = list(HEADERS), [_STAMPED if _is_stamped(rows[0]) else _FORGOT, _ACCURACY]
    if attacked:
        legend += _LEAK
    else:
        headers.remove(HEADERS[3])
        lines = [(*line[:3], *line[4:]) for line in lines]
    legend += _power(rows)
    return Table(
        f"Result: {title_of(rows[0], with_suite)}", tuple(headers), tuple(lines), tuple(legend), tuple(notes), 0
    )


def _is_stamped(row: LeaderboardRow) -> bool:
    """Whether the erased images are stamped with a backdoor's trigger."""
    scenario = json.loads(row["scenario"])
    return isinstance(scenario, dict) and bool(scenario.get("backdoor"))


def _ordered(rows: Sequence[LeaderboardRow]) -> list[str]:
    """Contenders before references, and contenders that pass before those that do not."""
    names = methods_of(rows)
    first = {name: _measured([row for row in rows if row["method_id"] == name]) for name in names}
    return sorted(names, key=lambda name: (first[name].get("reference") is True, not _passes(first[name])))


def _measured(own: Sequence[LeaderboardRow]) -> LeaderboardRow:
    """A method's first row with results, as a failure under one attack says nothing about the others."""
    return next((row for row in own if row["status"] in ("ok", "partial")), own[0])


def _passes(row: LeaderboardRow) -> bool:
    return row.get("verdict") == Forgetting.FORGOTTEN.value and row.get("utility") == Accuracy.KEPT.value


def _line(row: LeaderboardRow, worst: LeaderboardRow | None, leaks: bool | None, broken: bool) -> tuple[str, ...]:
    apart = format_column(row, "accuracy_to_retrain")
    leak = NOTHING if worst is None else f"{format_column(worst, 'advantage_gap_retrain')} {worst['attack']}"
    cells = row["method_id"], wording.forgetting(row), apart, leak, _verdict(row, worst, leaks, broken)
    return tuple(map(plain, cells))


def strongest(rows: Sequence[LeaderboardRow]) -> LeaderboardRow | None:
    """The access with the largest advantage over retraining."""
    compared = [row for row in rows if row.get("advantage_gap_retrain") is not None]
    return max(compared, key=lambda row: float(row["advantage_gap_retrain"]), default=None)


def _verdict(row: LeaderboardRow, worst: LeaderboardRow | None, leaks: bool | None, broken: bool) -> str:
    """The method in a few words: where it failed, and whether a leak is shown under any access.

    Args:
        worst: the row by which it is compared with others.
        leaks: whether a leak is shown; None if it was not attacked.
        broken: whether an attack has no result.
    """
    if row["status"] not in ("ok", "partial"):
        return str(row["status"])
    words = []
    if row.get("verdict") != Forgetting.FORGOTTEN.value:
        words.append(wording.SHORT.get(str(row["verdict"]), str(row.get("verdict") or Forgetting.NOT_JUDGED.value)))
    utility = row.get("utility")
    if utility == Accuracy.BELOW.value:
        words.append(Accuracy.BELOW.value)
    elif utility in (Accuracy.OPEN.value, Accuracy.NOT_JUDGED.value):
        words.append(f"accuracy {utility}")
    reference = row.get("reference") is True
    if leaks:
        words.append("leaks")
    elif broken and not reference:
        words.append("not all attacks have a result")
    elif worst is not None:
        words.append("no leak shown")
    elif leaks is None and not words and not reference:
        words.append("passes")
    elif leaks is not None and not reference:
        words.append("leak not compared")
    return f"reference{': ' if words else ''}{', '.join(words)}" if reference else ", ".join(words)


def _common(attacked: Sequence[LeaderboardRow]) -> tuple[set[str], list[str]]:
    """Accesses planned for every contender, and a line for each contender that lacks one, or a result."""
    asked, there = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for row in attacked:
        if row.get("reference") is not True:
            asked[row["method_id"]].add(access_of(row))
            there[row["method_id"]] |= {access_of(row)} if row["status"] in ("ok", "partial") else set()
    if not asked:
        return {access_of(row) for row in attacked}, []
    every, common = set.union(*asked.values()), set.intersection(*asked.values())
    notes = []
    for method, own in asked.items():
        if every - own:
            notes.append(
                f"{plain(method)}: not measured under {plain('; '.join(sorted(every - own)))}:"
                " no method is compared there"
            )
        # A failure does not affect the others: a method must not be able to remove an attack by breaking it.
        if own - there[method]:
            notes.append(f"{plain(method)}: no result under {plain('; '.join(sorted(own - there[method])))}")
    return common, notes


def _power(rows: Sequence[LeaderboardRow]) -> list[str]:
    """The power of the tests in the setting's tables."""
    said = {}
    for row in rows:
        if row.get("power") is not None and row.get("rank_metric") is not None:
            where = "" if row["attack"] is None else f" under {plain(access_of(row))}"
            difference = f"a difference of {row['power_for']:g} in {row['rank_metric']}"
            said[where] = f"power{where}: {difference} is detected with probability {row['power']:.2f}"
    return list(said.values())
