"""The network of the models under attack as plain values, from which an attack's process makes a model of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from unlearnbench.models.architecture import Architecture, ImageShape
from unlearnbench.models.stack import Stack
from unlearnbench.plugin import Context, Method, Model
from unlearnbench.registry.base import Kind
from unlearnbench.registry.registry import load
from unlearnbench.settings.scenario import Scenario
from unlearnbench.suite.tasks import MethodWork, StageTask, Task


def network_of(task: Task | StageTask[MethodWork], method: Method) -> Mapping[str, Any]:
    """JSON values that say how the architecture of a task's models is made.

    Args:
        method: under attack; some train originals of an architecture of their own.
    """
    own = {"name": method.name, "params": method.params.model_dump(mode="json")} if method.own_original else None
    network = {"name": task.work.network.name, "params": dict(task.work.network.params)}
    return {"model": network, "method": own, "scenario": dict(task.work.scenario)}


def architecture_of(network: Model) -> Architecture:
    """How a plugin's networks are made."""
    return Architecture(network.build, bool(network.features or network.posterior), bool(network.posterior))


def make(values: Mapping[str, Any], shape: ImageShape, classes: int, plugin_dirs: Sequence[Path]) -> Stack:
    """One model of the architecture, with weights that mean nothing.

    Args:
        values: from `network_of`.
        shape: C, H, W of the images.
        plugin_dirs: where its plugins may come from.
    """
    architecture = architecture_of(cast(Model, _plugin("model", values["model"], plugin_dirs)))
    context = Context(
        Scenario.model_validate(values["scenario"]), [], shape, classes, torch.device("cpu"), architecture=architecture
    )
    if values["method"] is None:
        return Stack.of([context.build(0)])
    return Stack.of([cast(Method, _plugin("method", values["method"], plugin_dirs)).build(context)])


def _plugin(kind: Kind, chosen: Mapping[str, Any], plugin_dirs: Sequence[Path]) -> Any:
    cls = load(kind, chosen["name"], plugin_dirs, identified=False).cls
    return cls(cls.Params.model_validate(chosen["params"]))
