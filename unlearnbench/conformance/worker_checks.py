"""A plugin in another process gives the same numbers: runs spread over processes and machines."""

from __future__ import annotations

from typing import Any

from unlearnbench.conformance import pipeline
from unlearnbench.conformance.attack_case import AttackCase
from unlearnbench.conformance.case import Check
from unlearnbench.conformance.dataset_case import DatasetCase
from unlearnbench.conformance.method_case import MethodCase
from unlearnbench.conformance.repeatability import differing
from unlearnbench.conformance.verdict import Verdict, failed, passed
from unlearnbench.contract import PluginError
from unlearnbench.plan import Task
from unlearnbench.workplace import Workplace

ADVICE = (
    "everything that a plugin needs must be in its file, its Params and its arguments: no state from other runs, no"
    " process ids, times, environment variables or order of sets"
)


def method_in_worker(case: MethodCase) -> Verdict:
    """As a run's workers would."""
    assert case.scenario is not None
    at = pipeline.workplace(case.place)
    *before, last = pipeline.tasks(case.place, case.scenario, pipeline.choice(case.info, case.params))
    pipeline.prepare(before, at)
    return _compare(last, at, case)


def attack_in_worker(case: AttackCase) -> Verdict:
    """As a run's workers would."""
    return _compare(case.task, case.workplace, case)


def dataset_in_worker(case: DatasetCase) -> Verdict:
    """Loads the same images there."""
    here = pipeline.digest_of_dataset(
        case.info.name, case.params.model_dump(mode="json"), str(case.place.data_root),
        [str(folder) for folder in case.place.plugin_dirs],
    )  # fmt: skip
    there = pipeline.load_in_worker(case.info, case.params, case.place)
    return passed() if here == there else failed("a worker process loads other images", ADVICE)


def _compare(task: Task, at: Workplace, case: Any) -> Verdict:
    # Not watched: the harness asks git for the commit. Other checks have watched the plugin.
    here = pipeline.carry_out_here(task, at)
    try:
        there = pipeline.carry_out_in_worker(task, at, case.place)
    except PluginError as error:
        return failed(f"in a worker process: {error}", ADVICE)
    (tensors, values), (other_tensors, other_values) = pipeline.numbers(here), pipeline.numbers(there)
    name = differing(tensors, other_tensors) or next((n for n in values if values[n] != other_values.get(n)), None)
    if name is None:
        return passed()
    return failed(f"{name} is different in a worker process", ADVICE)


METHOD = Check("worker_process", method_in_worker)
ATTACK = Check("worker_process", attack_in_worker)
DATASET = Check("worker_process", dataset_in_worker)
