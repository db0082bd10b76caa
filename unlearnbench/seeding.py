"""The one place where random streams come from.

A seed is derived from names, never from position or the order of work, so that a replica draws the same numbers
whichever others run beside it. Streams are numpy's Philox on the CPU, also for GPUs: 40 draws equal 20 + 20.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derive(seed: int, *names: str | int) -> int:
    """A new 63-bit seed for a named purpose."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """An independent numpy generator for a named purpose."""
    return np.random.Generator(np.random.Philox(key=derive(seed, *names)))


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """An independent CPU torch generator for a named purpose."""
    return torch.Generator().manual_seed(derive(seed, *names))
