"""Rules for unlearning methods."""

from __future__ import annotations

import torch

from unlearnbench.conformance.case import Odd, RaisedError
from unlearnbench.conformance.method_case import MethodCase
from unlearnbench.conformance.repeatability import differing
from unlearnbench.conformance.rulings import Ruling, failed, passed, skipped
from unlearnbench.conformance.small_problem import SEEDS
from unlearnbench.models.stack import Stack
from unlearnbench.settings.scenario import StopRule
from unlearnbench.stages.result_checks import PluginError

STEPS = 20
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4}  # over 20 steps: docs/protocol.md#replicas
OTHER_SEEDS = tuple(seed + 1 for seed in SEEDS)
FOR_ONE_MODEL = (
    "write the loss for ONE model, which is vectorised: torch.where instead of a branch on values, no .item(), random"
    " numbers from `noise` only, nothing shared between erasures"
)
COPY = "work on copies: clone() tensors, copy.deepcopy() modules; `unlearn` is handed a copy of the model already"


def unlearns(case: MethodCase) -> Ruling:
    """Three erasures on digits end without an error."""
    try:
        steps = case.first_unlearned.steps
    except RaisedError as error:
        if "RuntimeError" not in error.types or "vmap" not in str(error):
            raise
        return failed(f"{error}{error.at}", FOR_ONE_MODEL)
    assert case.scenario is not None
    return passed(f"kind {case.scenario.kind}" + (f", steps {steps}" if any(steps) else ""))


def shapes(case: MethodCase) -> Ruling:
    """As many models as erasures, of the architecture of the original."""
    result, expected = case.first_unlearned.result, case.before.expand(len(SEEDS))
    if isinstance(result, Odd):
        return failed(f"unlearn_many returned {result.type}", "return a Stack with one model per erasure")
    if result.replicas != len(SEEDS):
        return failed(f"{result.replicas} models for {len(SEEDS)} erasures", "return one model per erasure, in order")
    if set(result.tensors) != set(expected.tensors):
        odd = ", ".join(sorted(set(result.tensors) ^ set(expected.tensors)))
        return failed(
            f"missing or additional parameters: {odd}", "return the original's architecture, with the same names"
        )
    for name, value in expected.tensors.items():
        given = result.tensors[name]
        if given.shape != value.shape or given.dtype != value.dtype:
            what = f"{name} is {_kind(given)}, the original's {_kind(value)}"
            return failed(what, "keep the shape and the type of every parameter")
    return passed()


def model_untouched(case: MethodCase) -> Ruling:
    """The model before unlearning is as it was."""
    name = _changed(case, ("p.", "b."))
    return passed() if name is None else failed(f"the original model's {name[2:]} was changed", COPY)


def data_untouched(case: MethodCase) -> Ruling:
    """Images, labels and the choice of erased images are as they were."""
    name = _changed(case, ("pool.", "sets."))
    if name is None:
        return passed()
    what = f"{name.removeprefix('pool.')} of the images were" if name.startswith("pool.") else f"{name} was"
    return failed(f"{what} changed", "work on copies: clone() a tensor before writing to it")


def uses_its_seed(case: MethodCase) -> Ruling:
    """For information: whether another seed gives other models."""
    other = case.unlearn(case.given(seeds=OTHER_SEEDS)).result
    same = not isinstance(other, Odd) and differing(case.first, other.tensors) is None
    return passed("another seed gives the same: no randomness is used" if same else "another seed gives other models")


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


def _changed(case: MethodCase, parts: tuple[str, ...]) -> str | None:
    """The first changed input whose name starts with one of `parts`."""
    given, left = (
        {name: value for name, value in tensors.items() if name.startswith(parts)}
        for tensors in (case.first_given.tensors, case.first_unlearned.left)
    )
    return differing(given, left)


def _kind(value: torch.Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
