"""The small problem as a run computes it: planned tasks, and a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from unlearnbench.conformance.case import Outcome, Place
from unlearnbench.registry.registry import PluginInfo
from unlearnbench.settings.naming import choice_id
from unlearnbench.settings.scenario import PluginParams, Scenario
from unlearnbench.stages.jobs import run_job
from unlearnbench.stages.resources import Workplace
from unlearnbench.stages.result_checks import PluginError
from unlearnbench.suite import plan
from unlearnbench.suite.experiments import PluginChoice
from unlearnbench.suite.suite import CellSetting
from unlearnbench.suite.tasks import Task
from unlearnbench.system.store import Artifact, Store

OF_ONE_RUN = {"seconds", "peak_bytes", "provenance"}  # values that differ between any two runs


ATTACKED = "vbu"  # the method that attacks are shown: it forgets at the price of betraying what


def attacked(place: Place) -> PluginChoice:
    return choice(place.registry.methods[ATTACKED])


def choice(info: PluginInfo, params: PluginParams | None = None) -> PluginChoice:
    chosen = info.cls.Params() if params is None else params
    return PluginChoice(info, chosen, choice_id(info.name, chosen))


def tasks(place: Place, scenario: Scenario, method: PluginChoice, attack: PluginChoice | None = None) -> list[Task]:
    """The tasks of one cell on digits, each after those that it needs.

    Raises:
        PluginError: what a plugin raised when it was asked about the cell.
    """
    digits = choice(place.registry.datasets["digits"])
    setting = CellSetting("check", 0, "check", digits, scenario, "small", method, attack, 0)
    made = plan.build([setting], place.data_root)
    if made.cells[0].error is not None:
        raise PluginError(made.cells[0].error)
    return made.tasks


def workplace(place: Place) -> Workplace:
    return Workplace(
        place.data_root, Store(place.scratch / "store"), place.registry, torch.device("cpu"), place.plugin_dirs
    )


def carry_out(task: Task, at: Workplace) -> Artifact:
    """In this process; raises what the task raised."""
    (result,) = run_job((task,), at)
    if isinstance(result, Exception):
        raise result
    return result


def prepare(todo: Sequence[Task], at: Workplace) -> None:
    """Compute and store what later tasks need."""
    for task in todo:
        if at.store.get(task.key) is None:
            at.store.put(task.key, carry_out(task, at))


def numbers(artifact: Artifact) -> tuple[Outcome, Mapping[str, Any]]:
    """What must be the same in every process: tensors and values."""
    return artifact.tensors, {name: value for name, value in artifact.values.items() if name not in OF_ONE_RUN}
