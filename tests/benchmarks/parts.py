"""What a step of training the MNIST model is made of, and what its kernels take alone; see docs/performance.md.

Run this file on an idle machine; it prints Markdown.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from small_worlds import blobs

from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.system.process import limit_threads
from unlearnbench.training.context import Context
from unlearnbench.training.descent import clip
from unlearnbench.training.mlp_descent import MlpDescent
from unlearnbench.training.objectives import training_phase
from unlearnbench.training.replica_run import PhaseRun, ReplicaRun

IMAGES, SHAPE, CLASSES, BATCH = 2_000, (1, 28, 28), 10, 20
STEPS = 400
LAYERS = ((784, 96), (96, 98), (49, 96), (96, 10))  # inputs and outputs


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def kernels(replicas: int) -> dict[str, float]:
    """Median seconds of what can't be left out, again and again on the same memory."""
    x = [torch.rand(replicas, BATCH, inputs) for inputs, _ in LAYERS]
    weights = [torch.randn(replicas, inputs, outputs) for inputs, outputs in LAYERS]
    slopes = [torch.randn(replicas, BATCH, outputs) for _, outputs in LAYERS]
    size = sum(inputs * outputs + outputs for inputs, outputs in LAYERS)
    block, gradient, first, second = (torch.rand(replicas, size) for _ in range(4))

    def products() -> None:
        for each, weight, slope in zip(x, weights, slopes, strict=True):
            torch.bmm(each, weight)
            torch.bmm(each.mT, slope)
        for weight, slope in zip(weights[1:], slopes[1:], strict=True):  # the images need no gradient
            torch.bmm(slope, weight.mT)

    def adam() -> None:
        torch._fused_adam_(
            [block], [gradient], [first], [second], [], [torch.ones(())], lr=1e-3, beta1=0.9, beta2=0.999,
            weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip

    named = {
        "11 matrix products": products,
        "Adam": adam,
        "norm of the gradient": lambda: torch.linalg.vector_norm(gradient, dim=1),
    }
    found = {name: median(seconds(call)[0] for _ in range(STEPS)) for name, call in named.items()}
    return {**found, "**floor**": sum(found.values())}


def parts(replicas: int) -> dict[str, float]:
    """Median seconds of a step's parts, as training takes them."""
    scenario = Scenario(kind="utility", erased_count=1)
    nothing = torch.empty(replicas, 0, dtype=torch.int64)
    sets = ErasureSets(blobs(IMAGES, shape=SHAPE, classes=CLASSES), torch.arange(IMAGES), nothing)
    before = Context(scenario, range(replicas), SHAPE, CLASSES).fresh()
    phase, replica_run = training_phase(scenario.training), ReplicaRun(before, sets, range(replicas), scenario, True)
    run = PhaseRun(replica_run, phase, 0, replica_run.untouched())
    descent, source = MlpDescent(phase, run.vectoriser, run.live.params, beta=1e-3), run.over.forever()
    times: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        spent, result = seconds(call)
        times.setdefault(name, []).append(spent)
        return result

    with torch.no_grad():
        for _ in range(STEPS):
            batch = timed("minibatch", lambda: next(source))
            noise = timed("random numbers", lambda batch=batch: descent.draw(run.live.inputs(None, batch)))
            timed("loss and gradient", lambda batch=batch, noise=noise: descent._differentiate(batch, noise[0]))
            clipped = timed("clipping", lambda: clip([descent.gradient], 5.0))
            timed("the optimiser", lambda clipped=clipped: descent.optimiser.step({"block": descent.block}, clipped))
    found = {name: median(spent) for name, spent in times.items()}
    return {**found, "**step**": sum(found.values())}


def main() -> None:
    limit_threads()
    counts = (1, 8)
    columns = [{**kernels(count), **parts(count)} for count in counts]
    print("| us per replica |" + "".join(f" K = {count} |" for count in counts))
    print("|---|" + "---|" * len(counts))
    for name in columns[0]:
        cells = (f" {1e6 * column[name] / count:.0f} |" for column, count in zip(columns, counts, strict=True))
        print(f"| {name} |" + "".join(cells))


if __name__ == "__main__":
    main()
