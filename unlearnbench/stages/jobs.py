"""The stages: (select ->) train, retrained -> unlearn -> (shadow models ->) shadows -> attack, and timing.

Each stage is a function of its job. Its results are stored under the keys of its tasks; nothing else passes from one
stage to the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import torch

from unlearnbench.models.stack import Stack
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.world import join
from unlearnbench.stages.attacking import attack_targets
from unlearnbench.stages.resources import Workplace, filled, places, seed_of
from unlearnbench.stages.result_checks import PluginError, check_finite
from unlearnbench.stages.resumption import checkpoints_of
from unlearnbench.stages.retraining import retrained, select
from unlearnbench.stages.shadowing import shadow_models, shadows
from unlearnbench.stages.timing import time_unlearning
from unlearnbench.stages.unlearning import unlearn
from unlearnbench.suite.tasks import Job, StageTask, Task, TrainWork, W
from unlearnbench.system.printing import complain
from unlearnbench.system.process_state.guard import ProcessStateError, guarded
from unlearnbench.system.store import Artifact
from unlearnbench.training.context import Context


def run_job(job: Job, workplace: Workplace) -> list[Artifact | Exception]:
    """Carry out a job; what it needs is in the workplace's store. Returns one result per task; for a broken model of a
    group this is the exception. What breaks all of them is raised."""
    began, started = datetime.now(UTC), time.perf_counter()
    if workplace.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(workplace.device)
    checkpoints = checkpoints_of(job, workplace.store, workplace.device)
    with _guarded(job[0], workplace), workplace.resumable(checkpoints):
        results = _STAGES[job[0].stage](job, workplace)
    seconds = time.perf_counter() - started + checkpoints.earlier
    spent = {"seconds": seconds / len(job), "peak_bytes": _peak(workplace.device)}
    again = {"resumed": checkpoints.resumed} if checkpoints.resumed else {}
    return [
        Artifact(result.tensors, {**result.values, **spent, "provenance": workplace.provenance(task, began) | again})
        if isinstance(result, Artifact)
        else result
        for task, result in zip(job, results, strict=True)
    ]


@contextmanager
def _guarded(task: Task, workplace: Workplace) -> Iterator[None]:
    """Undo whatever the plugins of a task do to the process."""
    for change in workplace.settings.settle():  # between stages only code that plugins have left behind can run
        complain(f"warning: a plugin that is done changed {change}; it was put back before {task.stage}")
    kind, plugin = list(task.work.plugins.items())[-1]  # whose code the stage is there to run
    who = f"{kind} {plugin.name}"
    try:
        with guarded(who, workplace.definitions, random=True):
            yield
        if workplace.is_written:
            raise PluginError(f"{who} wrote into images or sets that other cells use; work on copies")
    except BaseException as error:
        # What is cached for other tasks may have been made after the change, or written into.
        if isinstance(error, ProcessStateError) or workplace.is_written:
            workplace.free()
        raise


# --- train -----------------------------------------------------------------------------------------------------------


def _train(job: tuple[StageTask[TrainWork], ...], workplace: Workplace) -> list[Artifact | Exception]:
    """The originals of a group of seeds, or a method's own original."""
    task, worlds = job[0], [workplace.world(task) for task in job]
    context = workplace.context(task, worlds[0], filled(job, [seed_of(task, "train") for task in job]))
    own = None
    if task.work.method is not None:
        method = workplace.method(task)
        with guarded(f"method {method.name}"):
            own = method.train(worlds[0].pool.take(worlds[0].targets.members), context)
    if own is not None:
        stack = Stack.of([own])
    else:
        sets = join(filled(job, worlds))
        nothing = torch.empty(len(context.seeds), 0, dtype=torch.int64, device=workplace.device)
        stack = context.train(ErasureSets(sets.pool, sets.members, nothing))
    return [_trained(stack.slice(k, k + 1), context, k) for k in places(job)]


def _trained(model: Stack, context: Context, replica: int) -> Artifact | Exception:
    try:
        check_finite(model, f"training with beta {context.scenario.beta}")
    except PluginError as error:
        return error
    counts = {"steps": int(context.steps[replica]), "samples": int(context.samples[replica])}
    return Artifact(model.tensors, counts)


# --- shared ----------------------------------------------------------------------------------------------------------


def _alone(
    stage: Callable[[StageTask[W], Workplace], Artifact],
) -> Callable[[tuple[StageTask[W], ...], Workplace], list[Artifact | Exception]]:
    """A stage whose tasks are never grouped."""
    return lambda job, workplace: [stage(task, workplace) for task in job]


def _peak(device: torch.device) -> int | None:
    """Peak memory of this task; null on the CPU, where only the peak of the whole process is known."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None


# By the stage's name, which says what its tasks' work is.
_STAGES: Mapping[str, Callable[[Any, Workplace], list[Artifact | Exception]]] = {
    "select": _alone(select),
    "train": _train,
    "retrained": _alone(retrained),
    "unlearn": unlearn,
    "shadow_models": _alone(shadow_models),
    "shadows": _alone(shadows),
    "attack": _alone(attack_targets),
    "timing": _alone(time_unlearning),
}
