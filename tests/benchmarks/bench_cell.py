"""A whole cell at the paper's size: its time, its memory, and what of it is the harness's own; and a small suite."""

from __future__ import annotations

import struct
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import plain_jobs
import pytest
import suite_jobs
from measuring import Worker, keep, seconds, single_row

from unlearnbench.datasets.mnist import Mnist
from unlearnbench.system.errors import InputError
from unlearnbench.workflow import options as cli_options

IMAGES, EPOCHS = 60_000, 20
ATTACKED, ATTACK_EPOCHS = 10_000, 40
MEASURED, ATTACKED_MEASURED = 20_000, 4_000  # images, for one epoch: the part of the plain script that is run
REPEATS = 5  # of that part, before the cell and after it
MEMORY_BAR, OVERHEAD_BAR = 2e9, 0.05
QUICKSTART = Path(__file__).parents[2] / "suites" / "quickstart.yaml"

TOGETHER = 3  # seeds, by default of suites
# Table 3's scenario with one of Table 2's attacks.
SUITE = f"""
name: cell
seeds: SEEDS
experiments:
  table3:
    datasets: [mnist]
    references: false
    scenario:
      kind: utility
      erased_ratio: 0.06
      backdoor: {{}}
      beta: 0.001
      stop: {{rule: backdoor}}
      training: {{epochs: {EPOCHS}}}
      seeds_together: SEEDS
    methods: [crfu: {{beta_u: 1}}]
    attacks: [representation: {{epochs: {ATTACK_EPOCHS}}}]
"""


@pytest.mark.parametrize("seeds", [1, TOGETHER])
def test_mnist_cell(benchmark: Any, product: Worker, plain: Worker, full: bool, tmp_path: Path, seeds: int) -> None:
    data, source = mnist(tmp_path)
    suite = tmp_path / "suite.yaml"
    suite.write_text(SUITE.replace("SEEDS", str(seeds)))
    others = plain_cell(plain, full)
    ran = benchmark.pedantic(lambda: product(suite_jobs.run, suite, tmp_path, data), rounds=1)
    others += [] if full else plain_cell(plain, full)
    training, attack = (median(part) for part in zip(*others, strict=True))
    part = f"{MEASURED // 20:,} of 60,000 training and {ATTACKED_MEASURED // 10:,} of 40,000 attack steps, extrapolated"
    against = "the plain loops, " + ("run whole" if full else part)
    name = "MNIST cell" if seeds == 1 else f"MNIST cell, each of {seeds} seeds computed together"
    keep(
        benchmark,
        single_row(
            f"{name} ({source}): train {EPOCHS} epochs, unlearn, evaluate, attack", "s", ran.seconds / seeds,
            training + attack, f"{against}; without unlearning and evaluation",
        ),
        single_row(f"{name}: training alone", "s", ran.stages["train"] / seeds, training, against),
        single_row(f"{name}: peak of resident memory", "GB", ran.peak_bytes, MEMORY_BAR),
        single_row(f"{name}: time outside the stages, the harness's own", "%", ran.outside, OVERHEAD_BAR),
    )  # fmt: skip


def test_quickstart(benchmark: Any, product: Worker, tmp_path: Path) -> None:
    ran = benchmark.pedantic(lambda: product(suite_jobs.run, QUICKSTART, tmp_path), rounds=1)
    what = f"suites/quickstart.yaml, {ran.seconds:.0f} s on one core: time outside the stages, the harness's own"
    keep(benchmark, single_row(what, "%", ran.outside, OVERHEAD_BAR))


def plain_cell(plain: Worker, full: bool) -> list[tuple[float, float]]:
    """Seconds of training and of the attack's networks, measured on a part or on all of it, warmed up."""
    images, epochs = (IMAGES, EPOCHS) if full else (MEASURED, 1)
    samples, attack_epochs = (ATTACKED, ATTACK_EPOCHS) if full else (ATTACKED_MEASURED, 1)
    plain(plain_jobs.train_mlp, MEASURED // 10)
    plain(plain_jobs.attack_representation, ATTACKED_MEASURED // 10)
    whole, whole_attack = IMAGES * EPOCHS / (images * epochs), ATTACKED * ATTACK_EPOCHS / (samples * attack_epochs)
    times = []
    for _ in range(1 if full else REPEATS):
        training = seconds(lambda: plain(plain_jobs.train_mlp, images, epochs))
        attack = seconds(lambda: plain(plain_jobs.attack_representation, samples, attack_epochs))
        times.append((training * whole, attack * whole_attack))
    return times


def mnist(folder: Path) -> tuple[Path, str]:
    """The data root that unlearnbench would use where it holds MNIST; else one with images of its size made up."""
    root = cli_options.data_root(None)
    try:
        Mnist().files(root)
    except InputError:
        write_images(folder / "data" / "MNIST" / "raw")
        return folder / "data", "made-up images of its size"
    return root, "its own images"


def write_images(folder: Path) -> None:
    """Noisy copies of one pattern a class, in MNIST's file format."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    patterns = random.integers(0, 180, (10, 28, 28), np.uint8)
    for stem, count in (("train", IMAGES), ("t10k", 10_000)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = patterns[labels] + random.integers(0, 75, (count, 28, 28), np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / f"{stem}-{kind}-ubyte").write_bytes(header + array.tobytes())
