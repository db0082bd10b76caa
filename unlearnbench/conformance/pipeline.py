"""The small problem as a run computes it: planned tasks, a store, and a worker process that finds plugins by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from unlearnbench import engine, plan
from unlearnbench.conformance.case import Outcome, Place
from unlearnbench.contract import PluginError
from unlearnbench.experiments import Choice
from unlearnbench.naming import choice_id
from unlearnbench.plan import Task
from unlearnbench.registry import PluginInfo
from unlearnbench.settings import PluginParams, Scenario
from unlearnbench.stages import run_job
from unlearnbench.store import Artifact, Store
from unlearnbench.suite import Setting
from unlearnbench.worker import Place as WorkerPlace
from unlearnbench.worker import carry_out
from unlearnbench.workplace import Workplace

OF_ONE_RUN = {"seconds", "peak_bytes", "provenance"}  # values that differ between any two runs


def choice(info: PluginInfo, params: PluginParams | None = None) -> Choice:
    chosen = info.cls.Params() if params is None else params
    return Choice(info, chosen, choice_id(info.name, chosen))


def tasks(place: Place, scenario: Scenario, method: Choice, attack: Choice | None = None) -> list[Task]:
    """The tasks of one cell on digits, each after those that it needs.

    Raises:
        PluginError: what a plugin raised when it was asked about the cell.
    """
    digits = choice(place.registry.datasets["digits"])
    setting = Setting("check", 0, "check", digits, scenario, "small", method, attack, 0)
    made = plan.build([setting], place.data_root)
    if made.cells[0].error is not None:
        raise PluginError(made.cells[0].error)
    return made.tasks


def workplace(place: Place) -> Workplace:
    return Workplace(
        place.data_root, Store(place.scratch / "store"), place.registry, torch.device("cpu"), place.plugin_dirs
    )


def carry_out_here(task: Task, at: Workplace) -> Artifact:
    """In this process; raises what the task raised."""
    (result,) = run_job((task,), at)
    if isinstance(result, Exception):
        raise result
    return result


def prepare(todo: Sequence[Task], at: Workplace) -> None:
    """Compute and store what later tasks need."""
    for task in todo:
        if at.store.get(task.key) is None:
            at.store.put(task.key, carry_out_here(task, at))


def carry_out_in_worker(task: Task, at: Workplace, place: Place) -> Artifact:
    """In a process of its own, as `run --jobs 2` does it.

    Raises:
        PluginError: the task failed there, or ended the process.
    """
    there = WorkerPlace(place.data_root, at.store.root, place.plugin_dirs, "cpu")
    executor = engine.start("loky", 1)
    try:
        outcome = executor.submit(carry_out, (task,), there).result()
    except Exception as error:  # joblib's own, for a process that died
        raise PluginError(f"the worker process ended: {type(error).__name__}") from error
    finally:
        engine.stop(executor)
    for told, _ in outcome.errors.values():
        raise PluginError(told)
    artifact = at.store.get(task.key)
    if artifact is None:
        raise PluginError(outcome.why or "the worker process stored nothing")
    return artifact


def numbers(artifact: Artifact) -> tuple[Outcome, Mapping[str, Any]]:
    """What must be the same in every process: tensors and values."""
    return artifact.tensors, {name: value for name, value in artifact.values.items() if name not in OF_ONE_RUN}


def load_in_worker(info: PluginInfo, params: PluginParams, place: Place) -> str:
    """A dataset's digest, as another process computes it."""
    executor = engine.start("loky", 1)
    try:
        arguments = info.name, params.model_dump(mode="json"), str(place.data_root), [str(d) for d in place.plugin_dirs]
        return executor.submit(digest_of_dataset, *arguments).result()
    finally:
        engine.stop(executor)


def digest_of_dataset(name: str, params: Mapping[str, Any], data_root: str, plugin_dirs: Sequence[str]) -> str:
    """What runs in that process."""
    import hashlib
    from pathlib import Path

    from unlearnbench.plugin import Dataset
    from unlearnbench.registry import discover

    info = discover([Path(folder) for folder in plugin_dirs]).datasets[name]
    data = cast(Dataset, info.cls(info.cls.Params.model_validate(params))).load(Path(data_root))
    digest = hashlib.sha256(str(data.classes).encode())
    for part in (data.train, data.test):
        for value in (part.pixels, part.labels, part.ids):
            digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
