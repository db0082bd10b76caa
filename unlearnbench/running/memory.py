"""Fewer models at a time when memory runs out.

Rounding depends on the number of replicas computed at a time (docs/protocol.md#replicas), so a cell continues under
the key of the halved number. Its record holds that number, and a later run finds it there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unlearnbench.records.folder import first_rows, identity, names_in
from unlearnbench.records.schema import FAILED
from unlearnbench.suite.plan import Cell, Plan
from unlearnbench.suite.suite import CellSetting
from unlearnbench.suite.tasks import ShadowsWork, Task

Replan = Callable[[Sequence[CellSetting]], Plan]


def smaller(task: Task) -> int | None:
    """Half the number of models that a task holds in memory at a time; None for one model, and for other stages."""
    work, scenario = task.work, task.work.scenario
    if task.stage in ("train", "unlearn"):
        targets = scenario["targets"] if task.stage == "unlearn" else 1
        models = len(task.together) or targets
    elif isinstance(work, ShadowsWork):
        models = work.shadows
    elif task.stage == "retrained":
        models = scenario["judging"]["retrained"]
    elif task.stage == "select":
        models = scenario["selection_models"]
    else:
        return None
    return min(models, scenario["replicas"]) // 2 or None


def with_replicas(setting: CellSetting, replicas: int) -> CellSetting:
    """The same cell with this many models at a time; its name does not change."""
    return replace(setting, scenario=setting.scenario.model_copy(update={"replicas": replicas}))


def exchange(plan: Plan, cells: Mapping[str, Cell], tasks: Iterable[Task]) -> Plan:
    """The plan with the cells of the given keys replaced, and with the tasks that the new cells need."""
    every = {task.key: task for task in (*plan.tasks, *tasks)}
    return replace(plan, cells=[cells.get(cell.key, cell) for cell in plan.cells], tasks=list(every.values()))


def adopt(plan: Plan, folder: Path, replan: Replan) -> Plan:
    """The plan with cells replaced by their variants that an earlier run finished with fewer models at a time."""
    there = names_in(folder)
    cells = [cell for cell in plan.cells if cell.stages and cell.setting.timing is None]
    missing = [cell for cell in cells if f"{cell.key}.parquet" not in there]
    planned = {cell.key for cell in plan.cells}
    results = {name for name in there if name.endswith(".parquet") and not name.endswith(FAILED)}
    outside = {name.removesuffix(".parquet") for name in results} - planned
    if not missing or not outside:
        return plan
    found = _replicas(folder, outside)
    params = dict[int, str]()
    wanted = [
        (cell, fewer)
        for cell in missing
        for fewer in found.get(identity(cell, params), ())
        if fewer < cell.setting.scenario.replicas
    ]
    if not wanted:
        return plan
    other = replan([with_replicas(cell.setting, fewer) for cell, fewer in wanted])
    pairs = zip(wanted, other.cells, strict=True)
    finished = {cell.key: variant for (cell, _), variant in pairs if variant.key in outside}
    return exchange(plan, finished, other.tasks) if finished else plan


def _replicas(folder: Path, keys: Iterable[str]) -> dict[tuple[Any, ...], set[int]]:
    """The numbers of models at a time in the records of these keys, by the names of their cells."""
    found: dict[tuple[Any, ...], set[int]] = {}
    for called, scenario in first_rows(folder, [f"{key}.parquet" for key in sorted(keys)], "scenario"):
        replicas = json.loads(scenario).get("replicas")
        if isinstance(replicas, int):
            found.setdefault(called, set()).add(replicas)
    return found
