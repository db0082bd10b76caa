"""Steps recorded once and replayed: on a GPU, launching a small model's kernels one by one takes longer than running
them.

A recorded step reads its minibatch and its random numbers from fixed tensors, into which those of each step are copied.
It is used only if one replayed step equals an ordinary one; otherwise the ordinary steps go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from unlearnbench.models.stack import Tensors
from unlearnbench.training.descent import Replayable
from unlearnbench.training.vectorise import Inputs

Record = Callable[[Callable[[], None]], Callable[[], None]]  # a function -> a function that replays it

WARM_UP = 3  # steps before recording, in which libraries initialise and the optimiser makes its state
SMALL = 1_000_000  # parameters of a model, above which launching kernels no longer dominates
TOLERANCE = 1e-4  # between a replayed step and an ordinary one


def record_cuda(function: Callable[[], None]) -> Callable[[], None]:
    """A CUDA graph of a function's kernels."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


RECORDERS: dict[str, Record] = {"cuda": record_cuda}  # by the kind of device


class Graphed:
    """A descent whose steps are replayed.

    Args:
        descent: takes the steps until one is recorded, and steps whose batches have another shape.
    """

    def __init__(self, descent: Replayable, record: Record) -> None:
        self.descent, self.record = descent, record
        self.trusted = True
        self._replay: Callable[[], None] | None = None
        self._shape: Any = None
        self._places: list[Any] = []
        self._seen: dict[Any, int] = {}

    def step(self, inputs: Inputs) -> None:
        """One step of every replica."""
        moving, spec = tree_flatten((inputs.erased, inputs.remaining, inputs.encoded, self.descent.draw(inputs)))
        shape = str(spec), tuple(tuple(part.shape) if isinstance(part, Tensor) else None for part in moving)
        if self._replay is not None and shape == self._shape:
            for place, part in zip(self._places, moving, strict=True):
                if isinstance(part, Tensor):
                    place.copy_(part)
            self._replay()
            return
        self._seen[shape] = self._seen.get(shape, 0) + 1
        if self.trusted and self._replay is None and self._seen[shape] > WARM_UP:
            self._shape = shape
            self._record(inputs, moving, spec)
        else:
            self.descent.compute(*_assembled(inputs, moving, spec))

    def keep(self, replicas: Tensor, params: Tensors) -> None:
        """Continue with some of the replicas; what was recorded was for all of them, and is dropped."""
        self.descent.keep(replicas, params)
        self._replay, self._shape, self._places, self._seen = None, None, [], {}

    def saved(self) -> Any:
        """What the descent needs; a step is recorded again."""
        return self.descent.saved()

    def restore(self, saved: Any) -> None:
        """Continue as from when `saved` was called."""
        self.descent.restore(saved)

    def _record(self, inputs: Inputs, moving: list[Any], spec: Any) -> None:
        """Record a step and take it both ways. If the results differ, or it can't be recorded, the ordinary one
        counts."""
        self._places = [part.clone() if isinstance(part, Tensor) else part for part in moving]
        changing = [*self.descent.changing(), *inputs.buffers.values()]
        before = [value.clone() for value in changing]
        self.descent.compute(*_assembled(inputs, moving, spec))
        ordinary = [value.clone() for value in changing]
        _restore(changing, before)
        try:
            replay = self.record(lambda: self.descent.compute(*_assembled(inputs, self._places, spec)))
            _restore(changing, before)  # a recorder may have taken the step
            replay()
            same = all(torch.allclose(a, b, TOLERANCE, TOLERANCE) for a, b in zip(changing, ordinary, strict=True))
        except RuntimeError:  # something in the loss can't be recorded
            same = False
        _restore(changing, ordinary)
        self.trusted, self._replay = same, replay if same else None


def _assembled(inputs: Inputs, moving: list[Any], spec: Any) -> tuple[Inputs, tuple[Tensor, Tensor]]:
    erased, remaining, encoded, noise = tree_unflatten(moving, spec)
    return inputs._replace(erased=erased, remaining=remaining, encoded=encoded), noise


def _restore(changing: list[Tensor], values: list[Tensor]) -> None:
    for place, value in zip(changing, values, strict=True):
        place.copy_(value)
