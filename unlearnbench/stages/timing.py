"""The stage that measures time: one erasure by one replica in one thread, and nothing else running.

PROTOCOL section 11, rule 12. Neither shared replicas nor a busy machine blur it, and times of different hardware have
different keys.
"""

from __future__ import annotations

import time
from statistics import median

import torch

from unlearnbench.stages.resources import Workplace, seed_of
from unlearnbench.stages.result_checks import check_finite
from unlearnbench.suite.tasks import StageTask, TimingWork
from unlearnbench.system.process_state.guard import guarded
from unlearnbench.system.store import Artifact


def time_unlearning(task: StageTask[TimingWork], workplace: Workplace) -> Artifact:
    """Erase the first target again and again; the median counts, and the fastest and slowest are kept beside it."""
    world, method = workplace.world(task), workplace.method(task)
    before, sets = workplace.original(task, world), world.targets.take(0, 1)
    seconds = []
    for _ in range(task.work.repeats):
        context = workplace.context(task, world, [seed_of(task, "target", 0)])
        fresh = before.apply(torch.clone)  # whatever the method does to it
        _wait(workplace.device)
        with guarded(f"method {method.name}"):
            started = time.perf_counter()
            after = method.unlearn_many(fresh, sets, context)
            _wait(workplace.device)
            seconds.append(time.perf_counter() - started)
    check_finite(after, f"unlearning with {method.name}")  # the time to a model that is none is no time
    timed = [median(seconds), min(seconds), max(seconds), len(seconds)]
    return Artifact({}, {"unlearn_seconds": timed, "sizes": dict(world.sizes)})


def _wait(device: torch.device) -> None:
    """A GPU is handed its work and goes on with it; only when it is done has the time passed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
