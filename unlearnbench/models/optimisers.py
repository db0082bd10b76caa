"""Optimisers over stacked parameters; when replicas leave the stack, their state leaves, too.

They call the same kernels as torch.optim. torch.optim itself imports torch._dynamo when an optimiser is made, which
takes 1.6 s in every worker, and ties its state to parameter objects, which change when a replica is taken out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor


class Sgd:
    """Plain gradient descent."""

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def step(self, params: Mapping[str, Tensor], gradients: Sequence[Tensor | None]) -> None:
        """Change `params` in place; a parameter without a gradient keeps its value."""
        pairs = [(p, g) for p, g in zip(params.values(), gradients, strict=True) if g is not None]
        torch._foreach_add_([p.detach() for p, _ in pairs], [g for _, g in pairs], alpha=-self.lr)

    def keep(self, rows: Tensor) -> None:
        """Continue with some of the replicas: there is no state."""

    def state(self) -> list[Tensor]:
        """What a step changes besides the parameters: nothing."""
        return []

    def saved(self) -> Any:
        """What is needed to continue: nothing."""
        return {}

    def restore(self, saved: Any) -> None:
        """Continue as from when `saved` was called."""


class Adam:
    """Adam (Kingma and Ba, 2015) with torch.optim.Adam's defaults. Being elementwise, it does not mix replicas."""

    def __init__(self, lr: float) -> None:
        self.lr = lr
        self.steps = torch.zeros((), dtype=torch.float32)
        self.moments: dict[str, tuple[Tensor, Tensor]] = {}

    def step(self, params: Mapping[str, Tensor], gradients: Sequence[Tensor | None]) -> None:
        """Change `params` in place; a parameter without a gradient keeps its value."""
        values, used, first, second = [], [], [], []
        for (name, value), gradient in zip(params.items(), gradients, strict=True):
            if gradient is None:
                continue
            if name not in self.moments:
                self.moments[name] = torch.zeros_like(value), torch.zeros_like(value)
            self.moments[name] = _laid_out(self.moments[name][0], value), _laid_out(self.moments[name][1], value)
            values.append(_flat(value.detach()))
            used.append(_flat(_laid_out(gradient, value)))
            first.append(_flat(self.moments[name][0]))
            second.append(_flat(self.moments[name][1]))
        if self.steps.device != values[0].device:
            self.steps = self.steps.to(values[0].device)
        self.steps += 1
        torch._fused_adam_(
            values,
            used,
            first,
            second,
            [],
            [self.steps] * len(values),
            lr=self.lr,
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )

    def state(self) -> list[Tensor]:
        """What a step changes besides the parameters."""
        return [self.steps, *(moment for moments in self.moments.values() for moment in moments)]

    def saved(self) -> Any:
        """What is needed to continue. Moments take the memory layout of their parameters at the next step."""
        return {"steps": self.steps, "moments": {name: list(both) for name, both in self.moments.items()}}

    def restore(self, saved: Any) -> None:
        """Continue as from when `saved` was called."""
        self.steps = saved["steps"]
        self.moments = {name: (first, second) for name, (first, second) in saved["moments"].items()}

    def keep(self, rows: Tensor) -> None:
        """Continue with some of the replicas; moments always have the replica dimension."""
        self.moments = {name: (first[rows], second[rows]) for name, (first, second) in self.moments.items()}


def _laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """The tensor, with the memory layout of another one."""
    return tensor if tensor.stride() == like.stride() else torch.empty_like(like).copy_(tensor)


def _flat(tensor: Tensor) -> Tensor:
    """A transposed tensor as it lies in memory; the kernel would copy it to contiguous memory and back."""
    return tensor if tensor.is_contiguous() else tensor.as_strided((tensor.numel(),), (1,))


def optimiser(name: Literal["adam", "sgd"], lr: float) -> Adam | Sgd:
    return Adam(lr) if name == "adam" else Sgd(lr)
