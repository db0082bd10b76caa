"""The stage that measures time: one erasure by one replica in one thread, with nothing else running.

docs/protocol.md#time. Neither other replicas nor a busy machine distort it; times on different hardware have
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
    """Erase the first target repeatedly; the median time counts, the fastest and the slowest are kept, too."""
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
    check_finite(after, f"unlearning with {method.name}")  # the time to make a broken model does not count
    timed = [median(seconds), min(seconds), max(seconds), len(seconds)]
    return Artifact({}, {"unlearn_seconds": timed, "sizes": dict(world.sizes)})


def _wait(device: torch.device) -> None:
    """Wait for a GPU to finish its queued work, so that its time is measured."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
