"""How far the settings that an attack has inferred are from those that were used."""

from __future__ import annotations

from collections.abc import Mapping

from unlearnbench.settings.scenario import Scenario
from unlearnbench.stages.scoring import Score


def errors(scores: Mapping[str, Score], scenario: Scenario, steps: float | None) -> dict[str, Score]:
    """The relative error of each inferred setting; null where it was 0 or had no part in training.

    Args:
        scores: of the attack.
        steps: of one erasure; None: not counted.
    """
    used = {
        "stolen_beta": scenario.beta if scenario.training.optimiser == "adam" else None,
        "stolen_l2": scenario.training.l2,
        "stolen_steps": steps,
    }
    return {
        f"{name}_error": Score(abs(found - truth) / truth if truth else None, None, None, scores[name].n)
        for name, truth in used.items()
        if name in scores and (found := scores[name].value) is not None
    }
