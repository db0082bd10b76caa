"""A network under examination, on the smallest images that it takes."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from unlearnbench.conformance.case import Case, Odd, RaisedError
from unlearnbench.conformance.channel import Message, NamedTensors

SHAPES = (((1, 8, 8), 10), ((3, 32, 32), 4), ((3, 64, 64), 4))  # C, H, W and classes


class Answered(NamedTuple):
    """What a network answered about five images: the shape of a tensor, or something else."""

    shape: list[int]
    dtype: str


class ModelCase(Case):
    """A network: built, asked, copied, and trained for a few steps."""

    kind = "model"

    @property
    def reason(self) -> str | None:
        return None  # it needs no scenario

    @cached_property
    def tried(self) -> list[tuple[tuple[int, int, int], int, Answered | Odd | RaisedError]]:
        """What it answered on images of each shape; the first that it took is the last that was tried."""
        found: list[tuple[tuple[int, int, int], int, Answered | Odd | RaisedError]] = []
        for shape, classes in SHAPES:
            try:
                answer, _ = self.ask("network_answers", shape=list(shape), classes=classes)
            except RaisedError as error:
                found.append((shape, classes, error))
                continue
            found.append((shape, classes, Odd.of(answer) or Answered(answer["shape"], str(answer["dtype"]))))
            break
        return found

    @property
    def images(self) -> Message:
        """The shape and number of classes that it is examined with."""
        shape, classes, _ = self.tried[-1]
        return {"shape": list(shape), "classes": classes}

    @cached_property
    def facts(self) -> Message:
        """Its `features` and `posterior`."""
        return self.ask("network_facts")[0]

    @cached_property
    def details(self) -> Message:
        """Whether models are `looped` in training and evaluation, and `loose` tensors."""
        return self.ask("network_details", **self.images)[0]

    def run(self, seed: int | None = None, restore: bool = False) -> NamedTensors:
        return self.ask("network", seed=seed, restore=restore, **self.images)[1]

    def run_there(self) -> NamedTensors:
        """The numbers of another process."""
        return self.noted(*self.other({"ask": "network", **self.images}))[1]

    def together(self, dtype: str) -> NamedTensors:
        """Parameters of models trained together, `all.*`, and each alone, `one.*`."""
        return self.ask("network_together", dtype=dtype, **self.images)[1]
