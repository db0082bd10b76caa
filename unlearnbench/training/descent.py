"""Gradient descent on K replicas: gradients, clipping and the optimiser's step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from unlearnbench.models.optimisers import optimiser
from unlearnbench.models.stack import Tensors
from unlearnbench.training.phases import Loss, Phase
from unlearnbench.training.vectorise import Inputs, Vectoriser


class Descent(Protocol):
    """Takes the steps of one phase."""

    def step(self, inputs: Inputs) -> None:
        """One step of every replica; `inputs.params` are the parameters that this descent was made with."""

    def keep(self, replicas: Tensor, params: Tensors) -> None:
        """Continue with some of the replicas, whose parameters are `params`."""

    def saved(self) -> Any:
        """What is needed besides the parameters to continue with the same steps."""

    def restore(self, saved: Any) -> None:
        """Continue as from when `saved` was called; this was made with the parameters of then."""


class Replayable(Descent, Protocol):
    """A descent whose steps can be recorded: their random numbers are drawn separately."""

    def draw(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """The random numbers of a step, normal and uniform, f32[K, n] each."""

    def compute(self, inputs: Inputs, noise: tuple[Tensor, Tensor] | None) -> None:
        """A step with these random numbers, or with the next ones of the streams."""

    def changing(self) -> list[Tensor]:
        """Parameters and the optimiser's state: what a step changes, once one has been taken."""


MakeDescent = Callable[[Phase, Vectoriser, Tensors], Replayable]


class LossDescent:
    """Minimises a loss, differentiated by autograd.

    Args:
        params: {name: [K, ...]}, changed in place; an entry may be replaced by its values in another memory layout.
    """

    def __init__(self, phase: Phase, loss: Loss, vectoriser: Vectoriser, params: Tensors) -> None:
        self.phase, self.loss, self.vectoriser, self.params = phase, loss, vectoriser, params
        self.trained = [name for name in params if phase.trains is None or phase.trains(name)]
        self.optimiser = optimiser(phase.optimiser, phase.lr)
        self._leaves = self._made_leaves()

    def step(self, inputs: Inputs) -> None:
        """One step of every replica; `inputs.params` are this object's."""
        self.compute(inputs, None)

    def draw(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """The random numbers of a step."""
        return self.vectoriser.draw(self.loss, inputs._replace(params=self._leaves), bare=True)

    def compute(self, inputs: Inputs, noise: tuple[Tensor, Tensor] | None) -> None:
        """A step with these random numbers; if None, they are drawn where they are needed."""
        gradients = self._gradients(inputs, noise)
        self._match_layouts(gradients)
        if self.phase.clip is not None:
            gradients = clip(gradients, self.phase.clip)
        self.optimiser.step({name: self.params[name] for name in self.trained}, gradients)

    def changing(self) -> list[Tensor]:
        """Parameters and the optimiser's state."""
        return [*(self.params[name] for name in self.trained), *self.optimiser.state()]

    def keep(self, replicas: Tensor, params: Tensors) -> None:
        """Continue with some of the replicas, whose parameters are `params`."""
        self.params = params
        if len(replicas):
            self.optimiser.keep(replicas)
            self._leaves = self._made_leaves()

    def saved(self) -> Any:
        """The optimiser's state."""
        return self.optimiser.saved()

    def restore(self, saved: Any) -> None:
        """Continue as from when `saved` was called."""
        self.optimiser.restore(saved)

    def _made_leaves(self) -> Tensors:
        """Differentiable views of the parameters; a single replica's lack the replica dimension."""
        single = self.vectoriser.single
        leaves = {name: (value[0] if single else value).detach() for name, value in self.params.items()}
        for name in self.trained:
            leaves[name].requires_grad_()
        return leaves

    def _gradients(self, inputs: Inputs, noise: tuple[Tensor, Tensor] | None) -> list[Tensor | None]:
        losses = self.vectoriser.call(self.loss, inputs._replace(params=self._leaves), noise, bare=True)
        leaves = [self._leaves[name] for name in self.trained]
        found: Sequence[Tensor | None] = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
        return [g[None] if g is not None and self.vectoriser.single else g for g in found]

    def _match_layouts(self, gradients: list[Tensor | None]) -> None:
        """Lay parameters out in memory like their gradients: vmap returns those of weight matrices transposed, and
        copying them would take a sixth of each step."""
        moved = False
        for name, gradient in zip(self.trained, gradients, strict=True):
            value = self.params[name]
            if gradient is None or gradient.stride() == value.stride():
                continue
            alike = torch.empty_like(gradient)  # has the gradient's strides unless they leave gaps or overlap
            if alike.stride() == gradient.stride():
                self.params[name] = alike.copy_(value)
                moved = True
        if moved:
            self._leaves = self._made_leaves()


def clip(gradients: Sequence[Tensor | None], largest: float) -> list[Tensor | None]:
    """Scale each replica's gradient, [K, ...] per parameter, down to a norm of at most `largest`."""
    norms = [torch.linalg.vector_norm(g, dim=tuple(range(1, g.dim()))) if g.dim() > 1 else g.abs()
             for g in gradients if g is not None]  # fmt: skip
    scale = (largest / (torch.linalg.vector_norm(torch.stack(norms), dim=0) + 1e-6)).clamp(max=1.0)
    if scale.device.type == "cpu" and bool((scale == 1).all()):
        return list(gradients)  # on a GPU, reading the scale would cost more than multiplying
    return [None if g is None else g * scale.view(-1, *(1,) * (g.dim() - 1)) for g in gradients]
