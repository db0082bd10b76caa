"""A function of ONE model, called for K replicas at once.

It is vectorised with torch.func.vmap. A single replica bypasses vmap, which costs more than a small model's kernels.
Random numbers are drawn outside the function, for each replica from its own streams, and sliced inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_map_only

from unlearnbench.models.noise import BlockNoise, NoiseStreams, StreamNoise, draw_block
from unlearnbench.models.stack import Functional, Router, Tensors
from unlearnbench.models.vectorised import one_by_one, stacked
from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.batches import Batch
from unlearnbench.training.frozen_model import Encoded, Frozen
from unlearnbench.training.phases import Models

Function = Callable[..., Any]  # (models, erased, remaining, state, noise) of one model

LAYOUTS = {"cuda": torch.channels_last}  # of images of one model, by the kind of device


class Inputs(NamedTuple):
    """What a function of one model gets; with a leading replica dimension for many.

    `encoded`: the erased images as the frozen model encodes them, if that is known already.
    """

    params: Tensors
    buffers: Tensors
    frozen: Tensors
    frozen_buffers: Tensors
    erased: Batch | None
    remaining: Batch | None
    state: Any
    encoded: Encoded | None = None


@dataclass(eq=False)
class Vectoriser:
    """Calls functions of one model for all replicas of a run.

    Attributes:
        router: the bare module.
        streams: one per replica that still runs.
        frozen_shared: whether one original serves all replicas.
        frozen_asked: whether a function has asked the frozen model for the representation of erased images.
    """

    router: Router
    scenario: Scenario
    erased_size: int
    remaining_size: int
    streams: list[NoiseStreams]
    device: torch.device
    dtype: torch.dtype
    frozen_shared: bool
    frozen_asked: bool = field(default=False, init=False)
    _counts: dict[tuple[int, ...], tuple[int, int]] = field(default_factory=dict, init=False)

    @property
    def single(self) -> bool:
        return len(self.streams) == 1

    def forget_counts(self) -> None:
        """Forget how many numbers a function needs: another one may need others for the same shapes."""
        self._counts.clear()

    def keep(self, replicas: Sequence[int]) -> None:
        """Continue with some of the replicas."""
        self.streams = [self.streams[index] for index in replicas]

    def call(
        self, function: Function, inputs: Inputs, noise: tuple[Tensor, Tensor] | None = None, bare: bool = False
    ) -> Any:
        """`function` for all replicas; the result gains a leading replica dimension.

        Args:
            noise: numbers from `draw`; None: they are drawn here.
            bare: the parameters of a single replica come without the replica dimension.
        """
        if self.router.is_looped:
            return self._in_turn(function, inputs, bare)
        if self.single:
            one = self._laid_out(self.first(inputs, bare))
            source = BlockNoise(noise[0][0], noise[1][0]) if noise else self._stream_noise(self.streams[0])
            return unsqueeze(self._one(function, one, source))
        shared = None if self.frozen_shared else 0
        batches = [None if batch is None else 0 for batch in (inputs.erased, inputs.remaining)]
        rest = [None if part is None else 0 for part in (inputs.state, inputs.encoded)]
        dims = (0, 0, shared, shared, *batches, *rest)
        normals, uniforms = noise or self.draw(function, inputs, bare)
        if self.frozen_shared:  # not batched, so that its layers remain plain matrix products
            inputs = inputs._replace(frozen=first(inputs.frozen), frozen_buffers=first(inputs.frozen_buffers))

        def one_of(normal: Tensor, uniform: Tensor, *parts: Any) -> Any:
            return self._one(function, Inputs(*parts), BlockNoise(normal, uniform))

        return vmap(one_of, in_dims=(0, 0, *dims))(normals, uniforms, *inputs)

    def _in_turn(self, function: Function, inputs: Inputs, bare: bool) -> Any:
        """`call`, one replica after the other. Layers that draw from torch's own random numbers (dropout) find them
        seeded from the replica's stream."""
        if bare and self.single:
            inputs = inputs._replace(params={name: value[None] for name, value in inputs.params.items()})
        shared = ("frozen", "frozen_buffers") if self.frozen_shared else ()
        inputs = inputs._replace(**{name: first(getattr(inputs, name)) for name in shared})
        parts = [one_by_one(part, None if name in shared else 0) for name, part in inputs._asdict().items()]
        results = []
        for k, streams in enumerate(self.streams):
            own = (value if part is None else part[k] for value, part in zip(inputs, parts, strict=True))
            seed = int(streams.uniform.take(1)[0] * (1 << 24))  # f32 has 24 bits
            with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
                torch.manual_seed(seed)
                results.append(self._one(function, self._laid_out(Inputs(*own)), self._stream_noise(streams)))
        return stacked(results)

    def draw(self, function: Function, inputs: Inputs, bare: bool = False) -> tuple[Tensor, Tensor]:
        """The random numbers of one call, normal and uniform, f32[K, n] each. How many a function needs is counted once
        per shape of its batches, on one replica."""
        sizes = tuple(0 if batch is None else batch.labels.shape[1] for batch in (inputs.erased, inputs.remaining))
        if sizes not in self._counts:
            counter = self._stream_noise(NoiseStreams(0))
            one = self.first(inputs, bare and self.single)
            # Batch normalisation writes to its buffers; counting must leave no trace.
            self._one(function, one._replace(buffers={n: value.clone() for n, value in one.buffers.items()}), counter)
            self._counts[sizes] = counter.normals, counter.uniforms
        return self.draw_numbers(*self._counts[sizes])

    def draw_numbers(self, normals: int, uniforms: int) -> tuple[Tensor, Tensor]:
        """The next random numbers of every replica, f32[K, normals] and f32[K, uniforms]."""
        return draw_block(self.streams, normals, uniforms, self.device, self.dtype)

    def first(self, inputs: Inputs, bare: bool) -> Inputs:
        """The first replica's inputs."""
        return Inputs(inputs.params if bare else first(inputs.params), *(first(part) for part in inputs[1:]))

    def _laid_out(self, inputs: Inputs) -> Inputs:
        """Colour images in the memory layout that suits the device's convolutions."""
        if self.device.type not in LAYOUTS:
            return inputs

        def laid_out(batch: Batch | None) -> Batch | None:
            if batch is None or batch.images.shape[1] == 1:
                return batch
            return batch._replace(images=batch.images.contiguous(memory_format=LAYOUTS[self.device.type]))

        return inputs._replace(erased=laid_out(inputs.erased), remaining=laid_out(inputs.remaining))

    def _ask(self) -> None:
        self.frozen_asked = True

    def _stream_noise(self, streams: NoiseStreams) -> StreamNoise:
        return StreamNoise(streams, self.device, self.dtype)

    def _one(self, function: Function, inputs: Inputs, noise: Any) -> Any:
        known = None if inputs.erased is None else inputs.erased.images
        models = Models(
            Functional(self.router, inputs.params, inputs.buffers),
            Frozen(self.router, inputs.frozen, inputs.frozen_buffers, known, inputs.encoded, self._ask),
            self.scenario,
            self.erased_size,
            self.remaining_size,
        )
        arguments = models, inputs.erased, inputs.remaining, inputs.state, noise
        if self.scenario.training.precision == "float32":
            return function(*arguments)
        with torch.autocast(self.device.type, torch.bfloat16):
            return function(*arguments)


def first(tree: Any) -> Any:
    """The first replica of every tensor in a tree; the usual trees without pytree's overhead."""
    if tree is None:
        return None
    if type(tree) is dict:
        return {name: first(value) for name, value in tree.items()}
    if isinstance(tree, Tensor):
        return tree[0]
    if isinstance(tree, Batch):
        return Batch(*(part[0] for part in tree))
    return tree_map_only(Tensor, lambda value: value[0], tree)


def unsqueeze(tree: Any) -> Any:
    """A tree of one replica with the replica dimension."""
    return tree[None] if isinstance(tree, Tensor) else tree_map_only(Tensor, lambda value: value[None], tree)


def select(tree: Any, replicas: Tensor) -> Any:
    """Some replicas of every tensor in a tree."""
    return tree_map_only(Tensor, lambda value: value[replicas.to(value.device)], tree)
