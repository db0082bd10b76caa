"""One page: what leaks, under which access, for which method, relative to retraining.

Every attacked leaderboard row becomes one cell of a table with accesses as rows and methods as columns. What counts is
not how well an attack does, but how much better it does than against retraining.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from unlearnbench.leaderboard.verdicts import Forgetting
from unlearnbench.report import summary
from unlearnbench.report.findings import AttackFinding, findings, scene_of
from unlearnbench.report.markdown import draw
from unlearnbench.report.rows import LeaderboardRow, rows_of
from unlearnbench.report.text_tables import NOTHING, format_column
from unlearnbench.report.wording import in_words
from unlearnbench.settings.scenario import Level
from unlearnbench.system.escaping import markdown, markdown_block

if TYPE_CHECKING:
    import pandas as pd

_LEAD = """# What leaks

Each row is an attack under one access (the tier of its shadows, what it observes), each column a method. A cell has
the attack's mean score over seeds, and in brackets the difference to the same attack on `retrain`, with as many
shadows, seed by seed.

- **Bold**: shown to leak: the score is beyond that of an attacker who looks at nothing, and beyond the same attack's on
  retraining (neither counts below the score of looking at nothing), in tests over seeds that are adjusted for all of
  the method's tests in the setting (Holm, 5 %).
- *Italic*: shown to be beyond an attacker who looks at nothing; there is no retraining to compare with.
- Plain: not shown to leak, which is not the same as shown not to leak; with fewer than three seeds nothing is shown.
- †: not judged to have forgotten (the summary has the verdict): nothing is hidden by not forgetting.

Scores are on held-out erasures: attacks were fitted and chosen on others.
"""


def render(frame: pd.DataFrame) -> str:
    """The page as Markdown.

    Args:
        frame: a leaderboard as `leaderboard.read` gives it.

    Raises:
        InputError: a method that erases nothing is shown to leak.
    """
    rows = rows_of(frame)
    scenes: dict[tuple[str, ...], list[tuple[LeaderboardRow, list[AttackFinding]]]] = defaultdict(list)
    for row, own in findings(rows):
        if own:
            scenes[scene_of(row)].append((row, own))
    if not scenes:
        unmeasured = _unmeasured(rows)
        return "\n".join([_LEAD, *(unmeasured or ["No attack has been run.\n"])])
    several = len({key[0] for key in scenes}) > 1
    sections = [_section(found, several) for found in scenes.values()]
    used = dict.fromkeys(finding.metric for found in scenes.values() for _, own in found for finding in own)
    legend = [
        f"- {markdown_block(metric.name)}: {markdown(metric.description)} ({metric.direction})" for metric in used
    ]
    made = summary.summaries(rows)
    summaries = [draw(replace(table, legend=())) for table in made]
    legend += [f"- {markdown_block(line)}" for line in dict.fromkeys(line for table in made for line in table.legend)]
    parts = [_LEAD, "## Summary\n", *summaries, "\n".join(legend) + "\n", *sections, *_unmeasured(rows)]
    return "\n".join(parts)


def _section(found: Sequence[tuple[LeaderboardRow, list[AttackFinding]]], several: bool) -> str:
    row = found[0][0]
    suite = f"{row['suite']}: " if several else ""
    measured_on = ", ".join(filter(None, (summary.dataset_of(row), summary.protocol_of(row))))
    title = f"## {markdown(suite + in_words(row['experiment']))} on {markdown(measured_on)}"
    parts = [title, markdown_block(in_words(row["scenario_id"])), _strongest(found), _table(found)]
    return "\n\n".join(filter(None, parts))


def _strongest(found: Sequence[tuple[LeaderboardRow, list[AttackFinding]]]) -> str:
    """For each thing that is observed, what the strongest of all attacks gains beyond retraining; a further attack can
    only raise it, and is one more test that p-values are adjusted for."""
    observed: dict[str, dict[str, list[tuple[LeaderboardRow, list[AttackFinding]]]]] = {}
    for row, own in found:
        if row.get("advantage_gap_retrain") is not None and row.get("reference") is not True:
            of_level = observed.setdefault(str(row.get("observation")), defaultdict(list))
            of_level[row["method_id"]].append((row, own))
    methods = summary.methods_of([row for each in observed.values() for own in each.values() for row, _ in own])
    if not methods:
        return ""
    lines = ["Largest advantage over retraining at each observation level, and by which attack:\n",
             "| observed | " + " | ".join(map(markdown, methods)) + " |",
             "| :--- | " + " | ".join(["---:"] * len(methods)) + " |"]  # fmt: skip
    for level in sorted(observed, key=_level):
        cells = [_largest(observed[level].get(method, [])) for method in methods]
        lines.append(f"| {markdown(in_words(level))} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _level(name: str) -> int:
    levels = get_args(Level)
    return levels.index(name) if name in levels else len(levels)


def _largest(own: Sequence[tuple[LeaderboardRow, list[AttackFinding]]]) -> str:
    row = summary.strongest([row for row, _ in own])
    if row is None:
        return NOTHING
    text = f"{format_column(row, 'advantage_gap_retrain')} {markdown(str(row['attack']))}"
    leaks = any(finding.leaks for _, each in own for finding in each)
    return f"**{text}**" if leaks else text


def _table(found: Sequence[tuple[LeaderboardRow, list[AttackFinding]]]) -> str:
    methods = summary.methods_of([row for row, _ in found])
    cells: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    for row, own in found:
        for finding in own:
            # Attacks with other parameters have other ids; attacks of one id may differ in the number of shadows.
            shadows = "" if row.get("n_shadows") is None else str(int(row["n_shadows"]))
            cells[finding.access, shadows, finding.metric.name][finding.method] = _text(finding)
    lines = ["| attack, tier, observation | shadows | metric | " + " | ".join(map(markdown, methods)) + " |",
             "| :--- | ---: | :--- | " + " | ".join(["---:"] * len(methods)) + " |"]  # fmt: skip
    for (access, shadows, metric), each in cells.items():
        shown = " | ".join(each.get(method, NOTHING) for method in methods)
        lines.append(f"| {markdown(access)} | {shadows} | {markdown(metric)} | {shown} |")
    return "\n".join(lines) + "\n"


def _text(finding: AttackFinding) -> str:
    text = f"{finding.score} ({finding.difference})" if finding.difference else finding.score
    strength = "**" if finding.leaks else "*" if finding.beyond else ""
    forgot = finding.forgot.startswith(Forgetting.FORGOTTEN.value)
    return f"{strength}{text}{strength}{'' if forgot else ' †'}"


def _unmeasured(rows: Sequence[LeaderboardRow]) -> list[str]:
    """What failed or was skipped, with the reason: a gap in a table must not pass for safety."""
    lines = []
    for row in rows:
        if row["attack"] is not None and row["status"] != "ok":
            note = f": {row['note']}" if row["note"] else ""
            where = f"{row['experiment']} on {summary.dataset_of(row)}"
            lines.append(f"{row['method_id']} under {row['attack_id']} in {where}, {row['status']}{note}")
    return (
        [
            "## Not measured, or not in every seed",
            "",
            *(f"- {markdown_block(line)}" for line in dict.fromkeys(lines)),
            "",
        ]
        if lines
        else []
    )
