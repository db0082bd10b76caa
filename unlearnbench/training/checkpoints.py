"""Checkpoints of long work: a stage that was interrupted goes on where it was, bit for bit.

A stage's work is a sequence of pieces: a call of the trainer, a chunk of replicas in it, a model that a method makes in
a loop of its own. Their order is the same whenever the stage is carried out, so a piece's number in it is its name:
`2.0` is the first chunk of the third call. What a finished piece returned is kept, so that the code around it runs
again and gets it at once; of the piece at work, its state after a step is kept. A piece is never needed: one that has
been lost, or that belongs to other inputs, is computed again.

Where checkpoints lie, and what is said if one can't be written or read, is for the shelf to know.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

EVERY = 120.0  # seconds of work between two checkpoints, and before the first
SHARE = 0.01  # of a stage's time that checkpoints of a piece at work may take
FINISHED_SHARE = 0.05  # the same for finished pieces, which are written once
HELD = 256 * 2**20  # bytes of finished pieces in memory, waiting to be written
SOON = 0.1  # of EVERY: pieces finished earlier than this are sooner computed again than kept


class Shelf(Protocol):
    """Where the checkpoints of one stage lie, by the names of its pieces. No method raises for a bad disk: a
    checkpoint must not end the work that it is there for."""

    def load(self, name: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        """What was saved last; None if there is nothing, or nothing that is whole and made by the same code."""

    def save(self, name: str, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> bool:
        """Replace what the name had; false if nothing more can be saved."""

    def drop(self, name: str) -> None:
        """Delete what the name has."""

    def give_up(self, error: Exception) -> None:
        """Nothing more is saved, because of this error."""


class Checkpoints:
    """The checkpoints of one stage, and when to write them.

    Args:
        shelf: None: there are none.
        every: seconds of work between two checkpoints, whatever they cost; None: EVERY, and more if they take more than
            their share of the time.
        clock: seconds.

    Attributes:
        resumed: how often the stage was interrupted before.
    """

    def __init__(
        self, shelf: Shelf | None = None, every: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.every, self.resumed = EVERY if every is None else every, 0
        self._shelf, self._clock, self._costs_count = shelf, clock, every is None
        self._began = self._last = clock()
        self._earlier = self._saving = 0.0  # seconds: of work before the interruption, of writing since
        self._waiting: dict[str, tuple[int, dict[str, Tensor], dict[str, Any]]] = {}
        self._names: set[str] = set()

    @property
    def earlier(self) -> float:
        """Seconds of work before this stage was interrupted, up to its last checkpoint."""
        return self._earlier

    @property
    def is_due(self) -> bool:
        """Whether the piece at work should be saved now."""
        return self._shelf is not None and self._may(SHARE, self._last)

    @property
    def keeps_finished(self) -> bool:
        """Whether it is worth keeping what has been finished."""
        return self._shelf is not None and self._clock() - self._began >= SOON * self.every

    def load(self, name: str, inputs: Callable[[], str], device: torch.device) -> tuple[bool, Any] | None:
        """Whether a piece with these inputs is finished, and its result or state."""
        found = None if self._shelf is None else self._shelf.load(name)
        if found is None or found[1]["inputs"] != inputs():
            return None
        tensors, values = found
        self._earlier = max(self._earlier, values["seconds"])
        self.resumed = max(self.resumed, values["resumed"] + 1)
        self._names.add(name)
        return values["finished"], unpacked(values["tree"], tensors, device)

    def save(self, name: str, inputs: Callable[[], str], state: Callable[[], Any]) -> None:
        """Write the state of the piece at work, and what is waiting."""
        if self._copied(name, inputs, state, finished=False):
            self._write()

    def finish(self, name: str, inputs: Callable[[], str], result: Callable[[], Any]) -> None:
        """Keep what a piece returned; what was kept of its parts is no longer needed."""
        self._waiting = {n: kept for n, kept in self._waiting.items() if not n.startswith(f"{name}.")}
        if not self._copied(name, inputs, result, finished=True):
            return
        if self._may(SHARE, self._last) or (self._held > HELD and self._may(FINISHED_SHARE, self._began)):
            self._write()
        while self._held > HELD:
            self._waiting.pop(next(iter(self._waiting)))

    @property
    def _held(self) -> int:
        """Bytes that wait to be written."""
        return sum(size for size, _, _ in self._waiting.values())

    def _copied(self, name: str, inputs: Callable[[], str], tree: Callable[[], Any], finished: bool) -> bool:
        """Whether a copy now waits to be written: there may be no memory for it."""
        assert self._shelf is not None
        try:
            tensors, values = packed(tree())
            about = {"inputs": inputs(), "finished": finished, "tree": values}
        except (MemoryError, RuntimeError) as error:
            self._shelf.give_up(error)
            self._shelf = None
            return False
        self._waiting[name] = sum(value.nbytes for value in tensors.values()), tensors, about
        return True

    def _may(self, share: float, since: float) -> bool:
        """Whether enough time has passed, and writing has taken no more than a share of it."""
        now = self._clock()
        cheap = self._saving <= share * (now - self._began) or not self._costs_count
        return now - since >= self.every and cheap

    def _write(self) -> None:
        assert self._shelf is not None
        started, waiting = self._clock(), self._waiting
        self._waiting = {}
        for name, (_, tensors, values) in waiting.items():
            times = {"seconds": self._earlier + started - self._began, "resumed": self.resumed}
            if not self._shelf.save(name, tensors, {**values, **times}):
                self._shelf = None
                return
            for part in [each for each in self._names if each.startswith(f"{name}.")] if values["finished"] else ():
                self._shelf.drop(part)
                self._names.discard(part)
            self._names.add(name)
        self._last = self._clock()
        self._saving += self._last - started


@dataclass(eq=False)
class Piece:
    """A piece of a stage's work, or the whole: it counts its parts.

    Attributes:
        state: where the piece was interrupted, if it was; see `known`.
    """

    stage: Checkpoints = field(default_factory=Checkpoints)
    name: str = ""
    state: Any = field(default=None, init=False)
    _parts: int = field(default=0, init=False)
    _inputs: Callable[[], str] | None = field(default=None, init=False)
    _digest: str = field(default="", init=False)
    _is_finished: bool = field(default=False, init=False)

    def next(self) -> Piece:
        """The next part."""
        self._parts += 1
        return Piece(self.stage, f"{self.name}.{self._parts - 1}".removeprefix("."))

    def known(self, inputs: Callable[[], str], device: torch.device) -> Any:
        """What the piece returned if it has been finished, else None.

        Args:
            inputs: a digest of everything that the piece starts from. What was kept counts only if it is the same.
        """
        self._inputs = inputs
        found = self.stage.load(self.name, self._made_from, device)
        if found is None:
            return None
        finished, kept = found
        self._is_finished = finished
        if not finished:
            self.state = kept
        return kept if finished else None

    def offer(self, state: Callable[[], Any]) -> None:
        """Called after a step: saves the piece's state if it is time."""
        if self.stage.is_due:
            self.stage.save(self.name, self._made_from, state)

    def finish(self, result: Callable[[], Any]) -> None:
        """Called when it is done."""
        if self.stage.keeps_finished and not self._is_finished:
            self.stage.finish(self.name, self._made_from, result)

    def _made_from(self) -> str:
        if not self._digest:
            assert self._inputs is not None
            self._digest = self._inputs()
        return self._digest


# --- trees of tensors and JSON values ---------------------------------------------------------------------------------


def packed(tree: Any) -> tuple[dict[str, Tensor], Any]:
    """Copies of a tree's tensors by their place in it, and the rest of the tree as JSON values.

    The memory layout of dense tensors is kept: another one would change the last bits of a product.
    """
    tensors: dict[str, Tensor] = {}

    def walk(part: Any, path: str) -> Any:
        if isinstance(part, Tensor):
            tensors[path] = part.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            dense = torch.empty_like(part, device="meta").stride() == part.stride()
            return {"tensor": path, "strides": list(part.stride()) if dense else None}
        if isinstance(part, Mapping):
            return {"names": list(part), "parts": [walk(value, f"{path}/{name}") for name, value in part.items()]}
        if isinstance(part, list | tuple):
            return [walk(value, f"{path}/{index}") for index, value in enumerate(part)]
        return part

    return tensors, walk(tree, "")


def unpacked(tree: Any, tensors: Mapping[str, Tensor], device: torch.device) -> Any:
    """The tree of `packed`, its tensors in memory of their own on a device."""
    if isinstance(tree, list):
        return [unpacked(part, tensors, device) for part in tree]
    if not isinstance(tree, Mapping):
        return tree
    if "names" in tree:
        parts = (unpacked(part, tensors, device) for part in tree["parts"])
        return dict(zip(tree["names"], parts, strict=True))
    value = tensors[tree["tensor"]]
    if tree["strides"] is None:
        return value.to(device, copy=True)
    return torch.empty_strided(value.shape, tree["strides"], dtype=value.dtype, device=device).copy_(value)


def digest(tensors: Iterable[Tensor], *about: Any) -> str:
    """A hash of tensors, in order, and of anything with a stable `repr`."""
    found = hashlib.sha256(repr(about).encode())
    for value in _plain(tensors):
        found.update(f"{value.dtype}{tuple(value.shape)}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _plain(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    return (value.detach().cpu().contiguous() for value in tensors)
