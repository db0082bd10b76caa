"""The small problem as a run computes it, with planned tasks and a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from unlearnbench.conformance.case import Setup
from unlearnbench.conformance.channel import NamedTensors
from unlearnbench.registry.plugin_info import PluginInfo
from unlearnbench.settings.naming import choice_id
from unlearnbench.settings.scenario import PluginParams, Scenario
from unlearnbench.stages.jobs import run_job
from unlearnbench.stages.resources import Workplace
from unlearnbench.stages.result_checks import PluginError
from unlearnbench.suite import plan
from unlearnbench.suite.choices import PluginChoice
from unlearnbench.suite.suite import CellSetting
from unlearnbench.suite.tasks import Task
from unlearnbench.system.store import Artifact, Store

ATTACKED = "vbu"  # the method that attacks are shown: it forgets at the price of betraying what
OF_ONE_RUN = {"seconds", "peak_bytes", "provenance"}  # values that differ between any two runs


def choice(info: PluginInfo, params: PluginParams | None = None) -> PluginChoice:
    chosen = info.cls.Params() if params is None else params
    return PluginChoice(info, chosen, choice_id(info.name, chosen))


def tasks(setup: Setup, scenario: Scenario, method: PluginChoice, attack: PluginChoice | None = None) -> list[Task]:
    """The tasks of one cell on digits, each after those that it needs.

    Raises:
        PluginError: a plugin raised something while the cell was planned.
    """
    digits = choice(setup.registry.datasets["digits"])
    chosen = setup.registry.models[scenario.network.name]
    network = choice(chosen, chosen.cls.Params.model_validate(scenario.network.params))
    setting = CellSetting("check", 0, "check", digits, scenario, "small", network, method, attack, 0)
    made = plan.build([setting], setup.data_root)
    if made.cells[0].error is not None:
        raise PluginError(made.cells[0].error)
    return made.tasks


def workplace(setup: Setup) -> Workplace:
    return Workplace(
        setup.data_root, Store(setup.scratch / "store"), setup.registry, torch.device("cpu"), setup.plugin_dirs
    )


def computed(task: Task, at: Workplace) -> Artifact:
    """The task's result, computed in this process; raises what the task raised."""
    (result,) = run_job((task,), at)
    if isinstance(result, Exception):
        raise result
    return result


def prepare(todo: Sequence[Task], at: Workplace) -> None:
    """Compute and store what later tasks need."""
    for task in todo:
        if at.store.get(task.key) is None:
            at.store.put(task.key, computed(task, at))


def numbers(artifact: Artifact) -> tuple[NamedTensors, Mapping[str, Any]]:
    """The tensors and values that must be the same in every process."""
    return artifact.tensors, {name: value for name, value in artifact.values.items() if name not in OF_ONE_RUN}
