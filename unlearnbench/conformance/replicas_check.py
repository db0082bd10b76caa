"""K erasures together are K erasures alone: what makes shadow erasures cheap must change nothing."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from unlearnbench.conformance.method_case import MethodCase
from unlearnbench.conformance.method_checks import FOR_ONE_MODEL
from unlearnbench.conformance.small_problem import SEEDS
from unlearnbench.conformance.verdict import Verdict, failed, passed, skipped
from unlearnbench.plugin import Phase
from unlearnbench.settings import StopRule
from unlearnbench.stack import Stack, concatenate

STEPS = 20
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4}  # over 20 steps: PROTOCOL section 11, rule 13


def together_is_alone(case: MethodCase) -> Verdict:
    """Within 1e-9 in float64 and 1e-4 in float32, over 20 steps."""
    if not case.plugin.many_at_once:
        return skipped("the method unlearns one model after the other")
    found = []
    for dtype, tolerance in TOLERANCES.items():
        apart = _apart(case, dtype)
        shown = str(dtype).removeprefix("torch.")
        if not apart <= tolerance:  # NaN is no number within a tolerance
            what = f"{len(SEEDS)} erasures together and each alone differ by {apart:.1e} in {shown}, over {tolerance:g}"
            return failed(what, FOR_ONE_MODEL)
        found.append(f"{apart:.1e} in {shown}")
    return passed(f"largest difference {', '.join(found)}")


def _apart(case: MethodCase, dtype: torch.dtype) -> float:
    """The largest difference of any number."""
    method = _shortened(case.plugin)
    assert case.scenario is not None
    scenario = case.scenario.model_copy(update={"stop": StopRule(rule="steps", steps=STEPS)})
    together: Stack = case.unlearn(case.given(dtype=dtype, scenario=scenario), method)
    alone = concatenate(
        [case.unlearn(case.given(replica=k, dtype=dtype, scenario=scenario), method) for k in range(len(SEEDS))]
    )
    gaps = [(value - alone.tensors[name]).abs().max() for name, value in together.tensors.items()]
    return float(torch.stack([gap.double() for gap in gaps]).max())


def _shortened(method: Any) -> Any:
    """The method with phases of twenty steps in all: over hundreds, rounding grows to a difference of its own."""
    if not hasattr(method, "phases"):
        return method
    short = copy.copy(method)

    def phases(context: Any) -> Sequence[Phase]:
        every = list(method.phases(context))
        return [replace(phase, steps=max(1, STEPS // len(every)), epochs=None) for phase in every]

    short.phases = phases
    return short
