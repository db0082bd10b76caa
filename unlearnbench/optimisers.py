"""Optimisers over stacked parameters, whose state can be thinned out with the stack.

They call the kernels that torch.optim calls. torch.optim itself imports torch._dynamo when an optimiser is made, which
takes 1.6 s in every worker, and its state is bound to parameter objects that change when a replica is taken out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

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
        """Go on with some replicas: there is no state."""


class Adam:
    """Adam (Kingma and Ba, 2015) with torch.optim.Adam's defaults; elementwise, so replicas do not mix."""

    def __init__(self, lr: float) -> None:
        self.lr = lr
        self.steps = torch.zeros((), dtype=torch.float32)
        self.moments: dict[str, tuple[Tensor, Tensor]] = {}

    def step(self, params: Mapping[str, Tensor], gradients: Sequence[Tensor | None]) -> None:
        """Change `params` in place; a parameter without a gradient keeps its value."""
        used = {n: g for n, g in zip(params, gradients, strict=True) if g is not None}
        for name, gradient in used.items():
            if name not in self.moments:
                self.moments[name] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        values = [params[name].detach() for name in used]
        self.steps = self.steps.to(values[0].device) + 1
        torch._fused_adam_(
            values,
            list(used.values()),
            [self.moments[name][0] for name in used],
            [self.moments[name][1] for name in used],
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

    def keep(self, rows: Tensor) -> None:
        """Go on with some replicas only: moments always carry the replica dimension."""
        self.moments = {name: (first[rows], second[rows]) for name, (first, second) in self.moments.items()}


def optimiser(name: Literal["adam", "sgd"], lr: float) -> Adam | Sgd:
    return Adam(lr) if name == "adam" else Sgd(lr)
