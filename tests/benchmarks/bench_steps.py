"""A step of training and an erasure: one at a time, and many together."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

import jobs
import plain_jobs
import pytest
from measuring import Side, Worker, compare, keep, seconds, timed_row

from unlearnbench.settings.scenario import Scenario
from unlearnbench.system.process import limit_threads

BATCH = 20
TRAINING_IMAGES = 2_000  # 100 steps
RESNET_IMAGES = 40  # 2 steps
ERASING_STEPS = 20
PLAIN_ERASURES = 20  # in a round
CHUNKS = (8, 16, 32, 64, 128)  # models at a time, of which the fastest is looked for
ERASURES_TO_CHOOSE_BY = 128
RESNET_ROUNDS = 5
ROUNDS = {1: 15, 8: 9, 64: 5, 100: 7, 1_000: 3}  # by the number of replicas
DEFAULT_CHUNK = Scenario.model_fields["replicas"].default


@pytest.mark.parametrize("replicas", [1, 8, 64])
def test_training_step(benchmark: Any, product: Worker, plain: Worker, replicas: int) -> None:
    steps = TRAINING_IMAGES // BATCH
    ours = Side(lambda: product(jobs.train, replicas, TRAINING_IMAGES), steps * replicas)
    theirs = Side(lambda: [plain(plain_jobs.train_mlp, TRAINING_IMAGES) for _ in range(3)], 3 * steps)
    chunk = f", {DEFAULT_CHUNK} at a time (default)" if replicas > DEFAULT_CHUNK else ""
    what = f"training step of the MNIST model, {replicas} replica{'s' * (replicas > 1)}{chunk}"
    times = compare(benchmark, ours, theirs, ROUNDS[replicas])
    keep(benchmark, timed_row(what, "ms", *times, "a step of the plain loop"))


@pytest.mark.parametrize("replicas", [1, 2])
def test_resnet18_step(benchmark: Any, product: Worker, plain: Worker, replicas: int) -> None:
    steps = RESNET_IMAGES // BATCH
    ours = Side(lambda: product(jobs.train_resnet18, replicas, RESNET_IMAGES), steps * replicas)
    theirs = Side(lambda: plain(plain_jobs.train_resnet18, RESNET_IMAGES), steps)
    what = f"training step of ResNet-18 on 32x32 images, {replicas} replica{'s' * (replicas > 1)}"
    times = compare(benchmark, ours, theirs, RESNET_ROUNDS)
    keep(benchmark, timed_row(what, "ms", *times, "a step of the plain loop"))


@pytest.fixture(scope="module")
def best_chunk() -> Iterator[int]:
    """The fastest number of models at a time on this machine."""
    with Worker(limit_threads) as worker:

        def erase(chunk: int) -> float:
            call = jobs.erase
            return seconds(lambda: worker(call, ERASURES_TO_CHOOSE_BY, ERASING_STEPS, replicas=chunk))

        erase(CHUNKS[0])
        rounds = [{chunk: erase(chunk) for chunk in CHUNKS} for _ in range(3)]
    return min(CHUNKS, key=lambda chunk: median(times[chunk] for times in rounds))


@pytest.mark.parametrize(
    ("count", "chunk"), [(1, "default"), (100, "default"), (100, "best"), (1_000, "default"), (1_000, "best")]
)
def test_shadow_erasures(
    benchmark: Any, product: Worker, plain: Worker, best_chunk: int, count: int, chunk: str
) -> None:
    replicas = best_chunk if chunk == "best" else DEFAULT_CHUNK
    ours = Side(lambda: product(jobs.erase, count, ERASING_STEPS, replicas=replicas), count)
    theirs = Side(lambda: plain(plain_jobs.erase, PLAIN_ERASURES, ERASING_STEPS), PLAIN_ERASURES)
    together = f", {replicas} at a time ({chunk})" if count > 1 else ""
    what = f"{count:,} shadow erasure{'s' * (count > 1)}, one image, {ERASING_STEPS} steps{together}"
    against = "erasing one after the other in the plain loop"
    times = compare(benchmark, ours, theirs, ROUNDS[count])
    keep(benchmark, timed_row(what, "per second", *times, against))
