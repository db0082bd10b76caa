"""What an unlearning method is held to."""

from __future__ import annotations

import torch

from unlearnbench.conformance.case import Check, line_of
from unlearnbench.conformance.method_case import MethodCase
from unlearnbench.conformance.repeatability import differing
from unlearnbench.conformance.small_problem import SEEDS
from unlearnbench.conformance.verdict import Verdict, failed, passed
from unlearnbench.printing import error_line
from unlearnbench.stack import Stack

OTHER_SEEDS = tuple(seed + 1 for seed in SEEDS)
FOR_ONE_MODEL = (
    "write the loss for ONE model, which is vectorised: torch.where in place of a branch on values, no .item(), random"
    " numbers from `noise` only, nothing shared between erasures"
)
COPY = "work on copies: clone() tensors, copy.deepcopy() modules; `unlearn` is handed a copy of the model already"


def runs(case: MethodCase) -> Verdict:
    """Three erasures on digits end without an error."""
    try:
        _ = case.first_result
    except RuntimeError as error:
        if "vmap" not in str(error):
            raise
        return failed(f"{error_line(error)}{line_of(error, case.info)}", FOR_ONE_MODEL)
    assert case.scenario is not None
    steps = case.first_given.context.steps.tolist()
    return passed(f"kind {case.scenario.kind}" + (f", steps {steps}" if any(steps) else ""))


def shapes(case: MethodCase) -> Verdict:
    """As many models as erasures, of the architecture of the original."""
    result, expected = case.first_result, case.before.expand(len(SEEDS))
    if not isinstance(result, Stack):
        return failed(f"unlearn_many returned {type(result).__name__}", "return a Stack with one model an erasure")
    if result.replicas != len(SEEDS):
        return failed(f"{result.replicas} models for {len(SEEDS)} erasures", "return one model an erasure, in order")
    if set(result.tensors) != set(expected.tensors):
        odd = ", ".join(sorted(set(result.tensors) ^ set(expected.tensors)))
        return failed(
            f"missing or additional parameters: {odd}", "return the original's architecture, by the same names"
        )
    for name, value in expected.tensors.items():
        given = result.tensors[name]
        if given.shape != value.shape or given.dtype != value.dtype:
            what = f"{name} is {_kind(given)}, the original's {_kind(value)}"
            return failed(what, "keep the shape and the type of every parameter")
    return passed()


def model_untouched(case: MethodCase) -> Verdict:
    """The model before unlearning is as it was."""
    _ = case.first_result
    name = differing(case.before.tensors, case.first_given.before.tensors)
    return passed() if name is None else failed(f"the original model's {name} was changed", COPY)


def data_untouched(case: MethodCase) -> Verdict:
    """Images, labels and the choice of the erased are as they were."""
    _ = case.first_result
    pristine, used = case.given().sets, case.first_given.sets
    for name in ("pixels", "labels", "ids"):
        if not torch.equal(getattr(pristine.pool, name), getattr(used.pool, name)):
            return failed(f"{name} of the images were changed", "work on copies: clone() a tensor before writing to it")
    for name in ("members", "erased", "holdout"):
        one, other = getattr(pristine, name), getattr(used, name)
        if one is not None and not torch.equal(one, other):
            return failed(f"sets.{name} was changed", "work on copies: clone() a tensor before writing to it")
    return passed()


def uses_its_seed(case: MethodCase) -> Verdict:
    """For information: whether another seed gives other models."""
    other = case.unlearn(case.given(seeds=OTHER_SEEDS))
    same = isinstance(other, Stack) and differing(case.first, other.tensors) is None
    return passed("another seed gives the same: no randomness is used" if same else "another seed gives other models")


def _kind(value: torch.Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"


BEFORE = [
    Check("runs", runs),
    Check("shapes", shapes),
]
AFTER = [
    Check("model_untouched", model_untouched),
    Check("data_untouched", data_untouched),
    Check("seed", uses_its_seed),
]
