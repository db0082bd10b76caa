"""The random streams that a whole process shares: torch's, numpy's and Python's own. Plugins must not use them."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import numpy as np
import torch


class GlobalStreams(NamedTuple):
    """The positions of the shared streams, in a form that can be compared."""

    torch: bytes
    numpy: tuple[Any, ...]
    python: object
    cuda: tuple[bytes, ...] = ()  # of each GPU, once one was used


def seed(value: int) -> None:
    """Seed all of them."""
    torch.manual_seed(value)
    np.random.seed(value)  # noqa: NPY002 (it is the shared stream that is meant)
    random.seed(value)


def state() -> GlobalStreams:
    """Their current positions."""
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return GlobalStreams(torch.get_rng_state().numpy().tobytes(), (name, np.asarray(keys).tobytes(), *rest),
                         random.getstate(), _cuda())  # fmt: skip


def _cuda() -> tuple[bytes, ...]:
    if not torch.cuda.is_initialized():
        return ()
    return tuple(value.numpy().tobytes() for value in torch.cuda.get_rng_state_all())


def moved(before: GlobalStreams, after: GlobalStreams) -> list[str]:
    """Names of the streams whose position has changed."""
    names = {"torch": "torch", "numpy": "numpy.random", "python": "random", "cuda": "torch.cuda"}
    return [shown for name, shown in names.items() if getattr(before, name) != getattr(after, name)]


def restore(to: GlobalStreams) -> None:
    """Put them back."""
    torch.set_rng_state(_tensor(to.torch))
    if to.cuda:
        torch.cuda.set_rng_state_all([_tensor(value) for value in to.cuda])
    name, keys, *rest = to.numpy
    np.random.set_state((name, np.frombuffer(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    random.setstate(to.python)  # type: ignore[arg-type]


def _tensor(value: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(value), dtype=torch.uint8)
