"""What attacks are shown to find: one finding for each attack on each method and each metric that judges the attack.

A method is shown to leak if the attack's score is beyond the trivial attacker's and beyond its score on retraining,
both clipped at the trivial attacker's: the larger of both p-values, adjusted by Holm over all of the method's tests in
its setting, is below 0.05 (docs/protocol.md#shown-leaks).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unlearnbench.leaderboard.contenders import SCENE_COLUMNS
from unlearnbench.metrics.catalog import METRICS, Metric
from unlearnbench.metrics.intervals import holm
from unlearnbench.report import wording
from unlearnbench.report.rows import LeaderboardRow, missing, value
from unlearnbench.report.text_tables import format_column
from unlearnbench.system.errors import InputError

NULLS = ("original", "seed_noise")
"""Methods that erase nothing: an attack on updates that is shown to find something there is broken, or its data are."""

ALPHA = 0.05


@dataclass(frozen=True)
class AttackFinding:
    """One attack on one method, by one metric.

    Attributes:
        access: the attack with its tier of shadows and what it observes.
        score: its score, with the interval.
        difference: to the same attack on retraining, with the interval; empty without retraining.
        p: the p-value, adjusted for the method's tests; None where nothing can be tested.
        compared: whether the test is also against retraining.
        forgot: the verdict on forgetting, in words.
    """

    access: str
    metric: Metric
    method: str
    score: str
    difference: str
    p: float | None
    compared: bool
    forgot: str

    @property
    def beyond(self) -> bool:
        """Whether the attack is shown to beat its baselines."""
        return self.p is not None and self.p < ALPHA

    @property
    def leaks(self) -> bool:
        """Whether a leak beyond that of retraining is shown."""
        return self.beyond and self.compared


def scene_of(row: LeaderboardRow) -> tuple[str, ...]:
    """What compared methods share: the setting, without the attack."""
    return tuple(str(row.get(name)) for name in SCENE_COLUMNS)


def access_of(row: LeaderboardRow) -> str:
    """An attack with its tier and what it observes, in words."""
    parts = [str(row["attack_id"])]
    parts += [str(row[key]).replace("_", " ") for key in ("tier", "observation") if not missing(row.get(key))]
    return ", ".join(parts)


def metrics_of(row: LeaderboardRow) -> list[str]:
    """The metrics that judge a row's attack: those that show leaks, and `mse` if it has none of them."""
    measured = {metric.name: metric for metric in METRICS.values() if metric.leak and not missing(row.get(metric.name))}
    chosen = [name for name, metric in measured.items() if metric.superseded_by not in measured]
    return chosen or [name for name in ("mse",) if not missing(row.get(name))]


def findings(rows: Sequence[LeaderboardRow]) -> list[tuple[LeaderboardRow, list[AttackFinding]]]:
    """The findings of each attacked row of a leaderboard, in the order of the rows.

    Raises:
        InputError: a method that erases nothing is shown to leak under an attack on updates.
    """
    attacked = [row for row in rows if not missing(row["attack"])]
    tests: dict[tuple[Any, ...], list[tuple[int, str, float]]] = defaultdict(list)
    for number, row in enumerate(attacked):
        for metric in metrics_of(row):
            if (p := _p(row, metric)) is not None:
                tests[*scene_of(row), row["method_id"], row["method_params"]].append((number, metric, p))
    adjusted: dict[tuple[int, str], float] = {}
    nulls = sum(_is_null(attacked[own[0][0]]) for own in tests.values())
    for own in tests.values():
        # A finding on a null ends the report, so among many settings it must not happen by chance.
        times = nulls if _is_null(attacked[own[0][0]]) else 1
        for (number, metric, _), p in zip(own, holm([p for *_, p in own]), strict=True):
            adjusted[number, metric] = min(1.0, times * float(p))
    found = [
        (row, [_finding(row, METRICS[name], adjusted.get((number, name))) for name in metrics_of(row)])
        for number, row in enumerate(attacked)
    ]
    _refuse_broken(found)
    return found


def _p(row: LeaderboardRow, metric: str) -> float | None:
    """The larger of both p-values; None without either baseline."""
    known = [value(row, f"{metric}_p_{bar}") for bar in ("trivial", "retrain")]
    there = [float(p) for p in known if p is not None]
    return max(there) if there and row["method_id"] != "retrain" else None


def _finding(row: LeaderboardRow, metric: Metric, p: float | None) -> AttackFinding:
    name = metric.name
    score = format_column(row, name, metric.unit)
    difference = ""
    if value(row, f"{name}_gap_retrain") is not None:
        shown = format_column(row, f"{name}_gap_retrain")
        difference = shown if shown.startswith("-") else f"+{shown}"
    compared = value(row, f"{name}_p_retrain") is not None
    forgot = wording.forgetting(row)
    return AttackFinding(access_of(row), metric, row["method_id"], score, difference, p, compared, forgot)


def _is_null(row: LeaderboardRow) -> bool:
    """Whether nothing was unlearned and the attack works on what unlearning changed."""
    return row["method"] in NULLS and row.get("tier") in ("same", "disjoint", "no_shadows")


def _refuse_broken(found: Sequence[tuple[LeaderboardRow, Sequence[AttackFinding]]]) -> None:
    for row, own in found:
        for finding in own:
            if _is_null(row) and finding.leaks:
                raise InputError(
                    f"{row['experiment']}, {finding.access}",
                    f"'{row['method_id']}', which erases nothing, is shown to leak by {finding.metric.name}"
                    f" ({finding.score}, p {finding.p:.2g}): the attack, or the images that it compares, give it away;"
                    " no finding of this setting can be trusted",
                )
