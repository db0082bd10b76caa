"""One page: what leaks, under which access, for which method, relative to retraining.

Every leaderboard row under attack becomes one cell of a table: accesses down, methods across. What counts is not how
well an attack does but how much better than against retraining; where an experiment has no retraining, how much better
than an attacker who looks at nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unlearnbench.metrics.catalog import METRICS, Metric
from unlearnbench.ranking import REFERENCES
from unlearnbench.report.markdown import escape
from unlearnbench.report.tables import NOTHING, format_interval, missing

if TYPE_CHECKING:
    import pandas as pd

    Row = pd.Series | Mapping[str, Any]

HEADLINES = ("skill_blind_set", "skill_mean", "label_accuracy", "auc", "klom_erased", "epsilon_erased")
"""What an attack is judged by: those of these that it has, and if none then `mse`. For sets the mean image is no bar:
any different images, matched to the true ones, beat it."""

_LEAD = """# What leaks

Each row is an attack under one access (the tier of its shadows, what it observes), each column a method. A cell says
how well the attack did, the mean over seeds, and in brackets the difference to the same attack on `retrain`, with as
many shadows, seed by seed.

- **Bold**: the 95 % interval (Student t over seeds) of that difference excludes 0: the method betrays more than
  retraining would.
- *Italic*: no retraining at this size; the interval of the score lies beyond what an attacker gets who looks at no
  output.
- Plain: not shown to leak, which is not the same as shown not to leak; with fewer than three seeds nothing is shown.
- By chance one cell in forty that does not leak is bold: what matters are rows and columns of them.
- †: the erasures did not reach the scenario's forgetting criterion in every seed; nothing is hidden by not forgetting.

Scores are of held-out erasures: attacks were fitted and chosen on others.
"""


@dataclass(frozen=True)
class Finding:
    """One attack on one method, by one metric.

    Attributes:
        access: the attack with what it observes, and from which shadows.
        score: how well it did, with its interval.
        difference: to the same attack on retraining, with its interval; empty where there is none.
        leaks: whether the interval shows a leak, against retraining or else against the trivial attacker.
        forgot: whether the erasures reached their criterion in every seed.
    """

    access: str
    metric: Metric
    method: str
    score: str
    difference: str
    leaks: bool
    forgot: bool

    @property
    def text(self) -> str:
        """The cell as Markdown."""
        text = f"{self.score} ({self.difference})" if self.difference else self.score
        strength = "" if not self.leaks else "**" if self.difference else "*"
        return f"{strength}{text}{strength}{'' if self.forgot else ' †'}"


def render(frame: pd.DataFrame) -> str:
    """The page as Markdown.

    Args:
        frame: a leaderboard as `leaderboard.read` gives it.
    """
    sections, found = [], []
    attacked = frame[frame["attack"].notna()]
    for (experiment, dataset, scenario), part in attacked.groupby(["experiment", "dataset", "scenario_id"], sort=False):
        found_here = [finding for _, row in part.iterrows() for finding in findings(row)]
        if found_here:
            title = f"## {escape(str(experiment))} on {escape(str(dataset))}"
            sections.append(f"{title}\n\n{escape(str(scenario))}\n\n{_table(found_here)}")
            found += found_here
    if not sections:
        return f"{_LEAD}\nNo attack has been run.\n"
    return "\n".join([_LEAD, _summary(found), *sections, *_unmeasured(attacked)])


def findings(row: Row) -> list[Finding]:
    """What one attacked row of a leaderboard says, by each of the metrics that its attack is judged by."""
    parts = [row["attack_id"], *(row[key] for key in ("tier", "observation") if not missing(row[key]))]
    access = ", ".join(str(part).replace("_", " ") if number else str(part) for number, part in enumerate(parts))
    measured = [name for name in (*HEADLINES, "mse") if name in row and not missing(row[name])]
    chosen = [name for name in measured if name in HEADLINES] or measured
    if "skill_blind_set" in chosen and "skill_mean" in chosen:
        chosen.remove("skill_mean")
    return [_finding(row, access, METRICS[name]) for name in chosen]


def _finding(row: Row, access: str, metric: Metric) -> Finding:
    name = metric.name
    score = format_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], metric.unit)
    gap, low, high = (row.get(f"{name}_gap_retrain{end}") for end in ("", "_low", "_high"))
    forgot = missing(row.get("forgot")) or row["forgot"] == 1
    if not missing(gap):
        shown = format_interval(gap, low, high)
        difference = shown if shown.startswith("-") else f"+{shown}"
        leaks = _worse_than(0.0, low, high, metric)
    else:
        difference, trivial = "", _trivial(row, metric)
        worse = trivial is not None and _worse_than(trivial, row[f"{name}_low"], row[f"{name}_high"], metric)
        leaks = worse and row["method_id"] != "retrain"
    return Finding(access, metric, row["method_id"], score, difference, leaks, bool(forgot))


def _worse_than(bar: float, low: Any, high: Any, metric: Metric) -> bool:
    """Whether an interval lies on the side of `bar` where privacy is lost."""
    if missing(low) or missing(high):
        return False
    return float(low) > bar if metric.better == "lower" else float(high) < bar


def _trivial(row: Row, metric: Metric) -> float | None:
    gap = row.get(f"{metric.name}_gap_trivial")
    return None if missing(gap) else float(row[metric.name] - gap)


def _table(found: Sequence[Finding]) -> str:
    methods = _methods(found)
    cells: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for finding in found:
        cells[finding.access, finding.metric.name][finding.method] = finding.text
    lines = ["| attack, tier, observation | metric | " + " | ".join(map(escape, methods)) + " |",
             "| :--- | :--- | " + " | ".join(["---:"] * len(methods)) + " |"]  # fmt: skip
    for (access, metric), row in cells.items():
        shown = " | ".join(row.get(method, NOTHING) for method in methods)
        lines.append(f"| {escape(access)} | {escape(metric)} | {shown} |")
    return "\n".join(lines) + "\n"


def _methods(found: Sequence[Finding]) -> list[str]:
    """In order of appearance, those first that are no references."""
    names = list(dict.fromkeys(finding.method for finding in found))
    return sorted(names, key=lambda name: name.split("[")[0] in REFERENCES)


def _summary(found: Sequence[Finding]) -> str:
    """Per method: under how many accesses a leak is shown, and which."""
    lines = ["## Summary", "", "| method | shown to leak | under |", "| :--- | ---: | :--- |"]
    for method in _methods(found):
        own = [finding for finding in found if finding.method == method]
        leaking = list(dict.fromkeys(finding.access for finding in own if finding.leaks))
        accesses = len({finding.access for finding in own})
        lines.append(
            f"| {escape(method)} | {len(leaking)} of {accesses} accesses | {escape('; '.join(leaking) or NOTHING)} |"
        )
    used = list(dict.fromkeys(finding.metric for finding in found))
    lines += [
        "",
        *(f"- {escape(metric.name)}: {escape(metric.description)} ({metric.direction})" for metric in used),
        "",
    ]
    return "\n".join(lines)


def _unmeasured(attacked: pd.DataFrame) -> list[str]:
    """What failed or was skipped, with the reason: a gap in a table must not be taken for safety."""
    lines = []
    for _, row in attacked[attacked["status"] != "ok"].iterrows():
        note = "" if missing(row["note"]) else f": {row['note']}"
        lines.append(f"{row['method_id']} under {row['attack_id']} on {row['dataset']}, {row['status']}{note}")
    return (
        ["## Not measured, or not in every seed", "", *(f"- {escape(line)}" for line in dict.fromkeys(lines)), ""]
        if lines
        else []
    )
