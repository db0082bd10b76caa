"""The verb `plan`: shows the cells that `run` would compute, and the tasks behind them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from unlearnbench.cli import loading, options
from unlearnbench.cli.exit_codes import OK
from unlearnbench.cli.loading import SelectionOptions
from unlearnbench.cli.option_groups import grouped
from unlearnbench.system.printing import complain, emit, emit_json, emit_table
from unlearnbench.workflow import options as workflow

if TYPE_CHECKING:
    from unlearnbench.suite.plan import Plan

COLUMNS = ("experiment", "dataset", "scenario", "method", "attack", "seed", "key", "skip")
STAGES = ("select", "train", "retrained", "unlearn", "shadow_models", "shadows", "attack", "timing")
ALWAYS = ("train", "unlearn", "shadows", "attack")  # shown even if there are none


@grouped
def plan(
    suite: options.SuitePath,
    chosen: SelectionOptions,
    data: options.Data = None,
    plugins: options.Plugins = None,
    output: options.Output = "text",
) -> int:
    """Show the cells that run would compute.

    Also counts the tasks (train, unlearn, shadows, attack) behind them. For an experiment tuned in two rounds, shows
    the first round.
    """
    data_root = workflow.data_root(data)
    loaded = loading.load(suite, plugins)
    planned = loading.plan(loaded.settings(chosen.selection), data_root)
    _show(loaded.name, planned, output)
    for error in dict.fromkeys(cell.error for cell in planned.cells if cell.error is not None):
        complain(f"warning: cells will fail: {error}")
    return OK


def _show(suite: str, planned: Plan, output: str) -> None:
    rows = [
        (c.experiment, c.dataset_id, c.scenario_id, c.method_id, c.attack_id, c.seed, c.key, c.skip)
        for c in planned.cells
    ]
    counts = Counter(str(task.stage) for task in planned.tasks)
    tasks = {stage: counts[stage] for stage in STAGES if counts[stage] or stage in ALWAYS}
    if output == "json":
        emit_json({"suite": suite, "cells": [dict(zip(COLUMNS, row, strict=True)) for row in rows], "tasks": tasks})
        return
    emit_table(COLUMNS, [[*row[:4], row[4] or "-", row[5], row[6][:12], row[7]] for row in rows])
    emit(f"cells: {len(rows)}, of which {sum(row[7] is not None for row in rows)} are skipped")
    emit("tasks: " + " ".join(f"{stage}={count}" for stage, count in tasks.items()))
