"""The facts about a scenario that pages show and that a reader can filter by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class ScenarioFacts:
    """Facts about a scenario.

    Attributes:
        beta: the distortion rate; None if the records do not have it.
        ratio: the erased share of the training images; None if a number of images is erased instead.
        erased: the share or the number, in words.
        every_epochs: epochs between two points of a trajectory; None without a trajectory.
        stamped: whether the erased images are stamped with a backdoor's trigger.
        largest_retraining: training images times epochs up to which models are retrained for verdicts; None if the
            records do not have it.
    """

    beta: float | None = None
    ratio: float | None = None
    erased: str = ""
    every_epochs: int | None = None
    stamped: bool = False
    largest_retraining: int | None = None

    @property
    def beta_text(self) -> str:
        """Beta as text."""
        return "" if self.beta is None else f"{self.beta:g}"


@cache
def facts_of(scenario: str) -> ScenarioFacts:
    """The facts in a record's `scenario` column; values of an unexpected type are left out."""
    found: Any = json.loads(scenario)
    if not isinstance(found, Mapping):
        return ScenarioFacts()
    ratio, count = _number(found.get("erased_ratio")), _number(found.get("erased_count"))
    trajectory = found.get("trajectory")
    every = trajectory.get("every_epochs") if isinstance(trajectory, Mapping) else None
    if ratio is not None:
        erased = f"{100 * ratio:g} %"
    else:
        erased = "" if count is None else f"{count:g} image{'' if count == 1 else 's'}"
    judging = found.get("judging")
    largest = judging.get("largest_retraining") if isinstance(judging, Mapping) else None
    return ScenarioFacts(
        _number(found.get("beta")),
        ratio,
        erased,
        every if isinstance(every, int) else None,
        bool(found.get("backdoor")),
        largest if isinstance(largest, int) else None,
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
