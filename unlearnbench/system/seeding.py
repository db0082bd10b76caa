"""The one place where random streams come from.

A seed is derived from names, never from position or the order of work, so that a replica draws the same numbers
whichever others run beside it. Streams are numpy's Philox on the CPU, also for GPUs: 40 draws equal 20 + 20.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """A new 63-bit seed for a named purpose."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """An independent numpy generator for a named purpose."""
    return np.random.Generator(np.random.Philox(key=derive(seed, *names)))


def position(generator: np.random.Generator) -> dict[str, Any]:
    """Where a stream is, as JSON values."""
    state: Mapping[str, Any] = generator.bit_generator.state
    inner = {name: value.tolist() for name, value in state["state"].items()}
    return {**state, "state": inner, "buffer": state["buffer"].tolist()}


def move_to(generator: np.random.Generator, to: Mapping[str, Any]) -> None:
    """Continue a stream from a `position`."""
    inner = {name: np.array(value, np.uint64) for name, value in to["state"].items()}
    generator.bit_generator.state = {**to, "state": inner, "buffer": np.array(to["buffer"], np.uint64)}


def repetition_seed(suite_seed: int, dataset: str, repetition: int) -> int:
    """The seed that everything in one repetition on one dataset is derived from.

    It does not depend on the method, so that contenders are compared on the same sets, originals and targets.

    Args:
        dataset: the dataset's id, its parameters included.
    """
    return derive(suite_seed, dataset, repetition)
