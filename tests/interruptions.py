"""Work that is interrupted right after any of its checkpoints, and goes on from what they left."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from unlearnbench.training.checkpoints import Checkpoints, Piece

_T = TypeVar("_T")


class Killed(BaseException):
    """In the place of kill -9."""


class Drawer:
    """A shelf in memory. It kills the work at a given checkpoint, once that is written.

    Attributes:
        saves: checkpoints written since the last `Killed`.
        kinds: for each of them, whether the piece was finished, and its phase and number of live replicas if not.
    """

    def __init__(self) -> None:
        self.kept: dict[str, tuple[dict[str, Tensor], str]] = {}
        self.saves, self.kill_at = 0, 0
        self.loaded: list[str] = []

    def load(self, name: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        if name not in self.kept:
            return None
        self.loaded.append(name)
        tensors, values = self.kept[name]
        return tensors, json.loads(values)

    def save(self, name: str, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> bool:
        kept = {place: value.clone() for place, value in tensors.items()}
        self.kept[name] = kept, json.dumps(values, sort_keys=True, allow_nan=False)
        self.saves += 1
        if self.saves == self.kill_at:
            raise Killed
        return True

    def give_up(self, error: Exception) -> None:
        raise AssertionError("there is memory") from error

    def drop(self, name: str) -> None:
        self.kept.pop(name, None)


def interrupted(work: Callable[[Piece], _T], drawer: Drawer, kills: list[int]) -> _T:
    """The result of work that was killed at its kills[0]th checkpoint, then at the kills[1]th of the rest, and so on.

    Work with fewer checkpoints left is not killed.
    """
    for kill in [*kills, 0]:
        drawer.saves, drawer.kill_at = 0, kill
        try:
            return work(Piece(Checkpoints(drawer, every=0)))
        except Killed:
            continue
    raise AssertionError("the last attempt is never killed")


def moments(saves: int, most: int, seed: int = 0) -> Iterator[list[int]]:
    """Where to kill work with so many checkpoints: after each of them, or a random choice; and one case of three."""
    chosen = random.Random(seed)
    every = range(1, saves + 1)
    yield from ([at] for at in (every if saves <= most else sorted({1, saves, *chosen.sample(every, most - 2)})))
    yield [chosen.randint(1, max(1, saves // 3)) for _ in range(3)]


def bits(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    return {
        name: value.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        for name, value in tensors.items()
    }
