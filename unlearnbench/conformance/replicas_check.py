"""K erasures together equal K erasures alone: what makes shadow erasures cheap must not change results."""

from __future__ import annotations

import torch

from unlearnbench.conformance.case import Odd
from unlearnbench.conformance.method_case import MethodCase
from unlearnbench.conformance.method_checks import FOR_ONE_MODEL
from unlearnbench.conformance.rulings import Ruling, failed, passed, skipped
from unlearnbench.conformance.small_problem import SEEDS
from unlearnbench.models.stack import Stack
from unlearnbench.settings.scenario import StopRule
from unlearnbench.stages.result_checks import PluginError

STEPS = 20
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4}  # over 20 steps: PROTOCOL section 11, rule 13


def together_is_alone(case: MethodCase) -> Ruling:
    """Equal within 1e-9 in float64 and 1e-4 in float32, over 20 steps."""
    if not case.facts["many_at_once"]:
        return skipped("the method unlearns one model after the other")
    found = []
    for dtype, tolerance in TOLERANCES.items():
        apart = _apart(case, dtype)
        shown = str(dtype).removeprefix("torch.")
        if not apart <= tolerance:  # also true for NaN
            what = f"{len(SEEDS)} erasures together and each alone differ by {apart:.1e} in {shown}, over {tolerance:g}"
            return failed(what, FOR_ONE_MODEL)
        found.append(f"{apart:.1e} in {shown}")
    return passed(f"largest difference {', '.join(found)}")


def _apart(case: MethodCase, dtype: torch.dtype) -> float:
    """The largest difference of any number."""
    assert case.scenario is not None
    scenario = case.scenario.model_copy(update={"stop": StopRule(rule="steps", steps=STEPS)})

    def unlearned(replica: int | None) -> Stack:
        result = case.unlearn(case.given(replica=replica, dtype=dtype, scenario=scenario), STEPS).result
        if isinstance(result, Odd):
            raise PluginError(f"unlearn_many returned {result.type}")
        return result

    together, alone = unlearned(None), Stack.concatenate([unlearned(k) for k in range(len(SEEDS))])
    gaps = [(value - alone.tensors[name]).abs().max() for name, value in together.tensors.items()]
    return float(torch.stack([gap.double() for gap in gaps]).max())
