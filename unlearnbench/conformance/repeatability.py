"""Rules about repeated runs: they give the same numbers, also in another process, as runs use several processes
and machines; and they leave the shared random state as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch

from unlearnbench.conformance.attack_case import AttackCase
from unlearnbench.conformance.case import Case, RaisedError
from unlearnbench.conformance.channel import LostError, NamedTensors
from unlearnbench.conformance.dataset_case import DatasetCase
from unlearnbench.conformance.method_case import MethodCase
from unlearnbench.conformance.model_case import ModelCase
from unlearnbench.conformance.rulings import Ruling, failed, passed

SOURCES = {
    "method": "`noise`, or unlearnbench.system.seeding.stream(context.seeds[k], 'purpose')",
    "attack": "view.generator('purpose'), or view.torch_seed('purpose') for libraries",
    "model": "torch's random numbers, inside build and forward: the harness seeds them",
    "dataset": "unlearnbench.system.seeding.stream(0, 'purpose')",
}

SELF_CONTAINED = (
    "everything that a plugin needs must be in its file, its Params and its arguments: no state from other runs, no"
    " process ids, times, environment variables or order of sets"
)


def differing(first: NamedTensors, second: NamedTensors) -> str | None:
    """The name of the first value that is not equal bit for bit, or None."""
    if set(first) != set(second):
        return ", ".join(sorted(set(first) ^ set(second)))
    return next((name for name, value in first.items() if not _equal(value, second[name])), None)


def deterministic(case: Case) -> Ruling:
    """Two runs with one seed are equal bit for bit."""
    name = differing(case.first, case.run())
    if name is None:
        return passed()
    return failed(
        f"two runs with the same seed differ in {name}",
        f"draw random numbers only from {SOURCES[case.kind]}; keep nothing on self or in globals between runs",
    )


def ignores_global_streams(case: Case) -> Ruling:
    """Reseeding torch, numpy and random changes nothing."""
    outcomes = [case.run(seed=value, restore=True) for value in (1, 2)]
    name = differing(*outcomes)
    if name is None:
        return passed()
    what = f"{name} depends on the global random state of torch, numpy or random"
    return failed(what, f"draw from {SOURCES[case.kind]} instead")


def leaves_global_streams(case: Case) -> Ruling:
    """The global streams of torch, numpy and random are left as they were."""
    case.run(seed=3, restore=True)  # from a state that no plugin would leave by seeding
    moved = case.moved
    # The view hands out seeds for torch.manual_seed, and the harness puts torch's stream back after an attack.
    if case.kind == "attack":
        moved = [name for name in moved if name != "torch"]
    if not moved:
        return passed()
    return failed(
        f"the global random state of {' and '.join(moved)} was moved",
        f"draw from {SOURCES[case.kind]}; where a library needs torch's, use torch.random.fork_rng()",
    )


def finite(case: Case) -> Ruling:
    """No NaN, no infinity."""
    for name, value in case.first.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            count = int((~torch.isfinite(value)).sum())
            what = f"{name} holds {count} values that are not finite"
            return failed(
                what, "look for logarithms and divisions of 0, exploding steps and overflow; clamp or damp them"
            )
    return passed()


def method_in_worker(case: MethodCase) -> Ruling:
    """A cell's task that unlearns, computed as a run's worker would."""
    assert case.scenario is not None
    question = {"ask": "task", "scenario": case.scenario.model_dump(mode="json")}
    here, tensors = case.noted(*case.subject(question))

    def there() -> NamedTensors:
        found, others = case.noted(*case.other(question))
        return {**others, **_as_tensors(found["values"])}

    return _compare({**tensors, **_as_tensors(here["values"])}, there)


def in_worker(case: AttackCase | DatasetCase | ModelCase) -> Ruling:
    """In another process an attack claims the same, a dataset loads the same images, and a network learns the same."""
    return _compare(case.first, case.run_there)


def _compare(here: NamedTensors, run_there: Callable[[], NamedTensors]) -> Ruling:
    try:
        name = differing(here, run_there())
    except (RaisedError, LostError) as error:
        return failed(f"in a worker process: {error}", SELF_CONTAINED)
    return passed() if name is None else failed(f"{name} is different in a worker process", SELF_CONTAINED)


def _as_tensors(values: Mapping[str, Any]) -> NamedTensors:
    """Plain values as tensors, for comparison."""
    written = {name: json.dumps(value, sort_keys=True) for name, value in values.items()}
    return {name: torch.tensor(list(text.encode()), dtype=torch.uint8) for name, text in written.items()}


def _equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    # NaN does not equal NaN, but two runs may agree on where they are.
    same = first.dtype == second.dtype and first.shape == second.shape
    return same and (torch.equal(first, second) or torch.equal(first.nan_to_num(), second.nan_to_num()))
