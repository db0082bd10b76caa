"""A plugin gives the same numbers in another process, as runs use several processes and machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch

from unlearnbench.conformance.attack_case import AttackCase
from unlearnbench.conformance.case import RaisedError
from unlearnbench.conformance.channel import LostError, NamedTensors
from unlearnbench.conformance.dataset_case import DatasetCase
from unlearnbench.conformance.method_case import MethodCase
from unlearnbench.conformance.repeatability import differing
from unlearnbench.conformance.rulings import Ruling, failed, passed

ADVICE = (
    "everything that a plugin needs must be in its file, its Params and its arguments: no state from other runs, no"
    " process ids, times, environment variables or order of sets"
)


def method_in_worker(case: MethodCase) -> Ruling:
    """A cell's task that unlearns, computed as a run's worker would."""
    assert case.scenario is not None
    question = {"ask": "task", "scenario": case.scenario.model_dump(mode="json")}
    here, tensors = case.noted(*case.subject(question))

    def there() -> NamedTensors:
        found, others = case.noted(*case.other(question))
        return {**others, **_as_tensors(found["values"])}

    return _compare({**tensors, **_as_tensors(here["values"])}, there)


def in_worker(case: AttackCase | DatasetCase) -> Ruling:
    """In another process an attack claims the same, and a dataset loads the same images."""
    return _compare(case.first, case.run_there)


def _compare(here: NamedTensors, run_there: Callable[[], NamedTensors]) -> Ruling:
    try:
        name = differing(here, run_there())
    except (RaisedError, LostError) as error:
        return failed(f"in a worker process: {error}", ADVICE)
    return passed() if name is None else failed(f"{name} is different in a worker process", ADVICE)


def _as_tensors(values: Mapping[str, Any]) -> NamedTensors:
    """Plain values as tensors, for comparison."""
    written = {name: json.dumps(value, sort_keys=True) for name, value in values.items()}
    return {name: torch.tensor(list(text.encode()), dtype=torch.uint8) for name, text in written.items()}
