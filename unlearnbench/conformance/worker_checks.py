"""A plugin in another process gives the same numbers: runs spread over processes and machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch

from unlearnbench.conformance.attack_case import AttackCase
from unlearnbench.conformance.case import Check, Outcome, RaisedError
from unlearnbench.conformance.channel import LostError
from unlearnbench.conformance.dataset_case import DatasetCase
from unlearnbench.conformance.method_case import MethodCase
from unlearnbench.conformance.repeatability import differing
from unlearnbench.conformance.verdict import Verdict, failed, passed

ADVICE = (
    "everything that a plugin needs must be in its file, its Params and its arguments: no state from other runs, no"
    " process ids, times, environment variables or order of sets"
)


def method_in_worker(case: MethodCase) -> Verdict:
    """As a run's workers would: the task that unlearns, of a cell on digits."""
    assert case.scenario is not None
    question = {"ask": "task", "scenario": case.scenario.model_dump(mode="json")}
    here, tensors = case.told(*case.subject(question))

    def there() -> Outcome:
        found, others = case.told(*case.other(question))
        return {**others, **_told(found["values"])}

    return _compare({**tensors, **_told(here["values"])}, there)


def attack_in_worker(case: AttackCase) -> Verdict:
    """Claims the same there."""
    return _compare(case.first, case.run_there)


def dataset_in_worker(case: DatasetCase) -> Verdict:
    """Loads the same images there."""
    return _compare(case.first, case.run_there)


def _compare(here: Outcome, run_there: Callable[[], Outcome]) -> Verdict:
    try:
        name = differing(here, run_there())
    except (RaisedError, LostError) as error:
        return failed(f"in a worker process: {error}", ADVICE)
    return passed() if name is None else failed(f"{name} is different in a worker process", ADVICE)


def _told(values: Mapping[str, Any]) -> Outcome:
    """Plain values, to be compared as tensors are."""
    written = {name: json.dumps(value, sort_keys=True) for name, value in values.items()}
    return {name: torch.tensor(list(text.encode()), dtype=torch.uint8) for name, text in written.items()}


METHOD = Check("worker_process", method_in_worker)
ATTACK = Check("worker_process", attack_in_worker)
DATASET = Check("worker_process", dataset_in_worker)
