"""The image whose erasure would change a model as it has changed (gradient inversion: Geiping et al., 2020; Hu et al.,
2024), with the optimiser simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.adversary.image_search import search, total_variation
from unlearnbench.models.stack import Functional, Stack, Tensors
from unlearnbench.models.vectorised import vectorised

SMOOTHINGS = (1.0, 0.3, 0.1)  # of Adam's step, one after the other: the landscape from coarse to fine
NUMBERS = 20_000_000  # parameters of all models together whose erasure is simulated at a time
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's


@dataclass(frozen=True)
class Ascent:
    """How an erasure is simulated: steps that raise the cross-entropy of one image, at the mean of p(Z|x).

    Attributes:
        optimiser: `sgd`: along the gradient; `adam`: from moments of zero, which divides by the gradient's size.
        steps: how many.
        lr: the learning rate; with one step the direction does not depend on it.
        smoothing: added to Adam's epsilon, as a share of the root mean square of each parameter's gradient. With the
            epsilon alone, 1e-8, a step is the gradient's sign, which has no slope.
    """

    optimiser: Literal["sgd", "adam"] = "sgd"
    steps: int = 1
    lr: float = 1e-3
    smoothing: float = 0.1

    def change(self, model: Stack, images: Tensor, labels: Tensor) -> Tensors:
        """What erasing each image changes the parameters by, in units of `lr`: {name: f32[R, ...]}, differentiable.

        Args:
            model: the one replica that all erasures start from.
            images: f32[R, C, H, W] in [0, 1].
            labels: i64[R].
        """
        count = len(images)
        start = {n: value.detach().expand(count, *value.shape[1:]) for n, value in model.params.items()}
        buffers = {n: value.expand(count, *value.shape[1:]) for n, value in model.buffers.items()}
        params: Tensors = {name: value.requires_grad_() for name, value in start.items()}
        moments: dict[str, tuple[Tensor, Tensor]] = {}
        for step in range(1, self.steps + 1):
            for name, slope in _slopes(model, params, buffers, images, labels).items():
                direction = slope
                if self.optimiser == "adam":
                    first, second = moments.get(name, (torch.zeros_like(slope), torch.zeros_like(slope)))
                    moments[name] = BETA1 * first + (1 - BETA1) * slope, BETA2 * second + (1 - BETA2) * slope.square()
                    direction = self._adam(*moments[name], step)
                params[name] = params[name] + self.lr * direction
        return {name: (value - start[name]) / self.lr for name, value in params.items()}

    def _adam(self, first: Tensor, second: Tensor, step: int) -> Tensor:
        first, second = first / (1 - BETA1**step), second / (1 - BETA2**step)
        tiny = torch.finfo(second.dtype).tiny  # the square root has no slope at 0
        size = (second.flatten(1).mean(1) + tiny).sqrt().view(-1, *(1,) * (second.dim() - 1))
        return first / ((second + tiny).sqrt() + self.smoothing * size + EPSILON)


def _slopes(model: Stack, params: Tensors, buffers: Tensors, images: Tensor, labels: Tensor) -> Tensors:
    """Gradients of the cross-entropy by the parameters that it depends on, {name: f32[R, ...]}."""
    router = model.router(training=False)

    def loss(params: Tensors, buffers: Tensors, image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(Functional(router, params, buffers)(image[None]), label[None])

    losses = vectorised(loss, router.is_looped, (0, 0, 0, 0))(params, buffers, images, labels)
    found = torch.autograd.grad(losses.sum(), list(params.values()), create_graph=True, allow_unused=True)
    return {name: slope for name, slope in zip(params, found, strict=True) if slope is not None}


def distance(simulated: Mapping[str, Tensor], change: Mapping[str, Tensor]) -> Tensor:
    """1 - cos of two changes over all parameters, f32[R]."""
    pairs = [(own.flatten(1), change[name].flatten(1)) for name, own in simulated.items()]
    own, true = (torch.cat(parts, 1) for parts in zip(*pairs, strict=True))
    return 1 - F.cosine_similarity(own, true, eps=1e-30)


@dataclass(frozen=True)
class ChangeMatching:
    """The search for images whose erasure changes a model as given.

    Attributes:
        ascent: how their erasure is simulated.
        tv: weight of the total variation.
        iterations, rate: of the search (`search`).
    """

    ascent: Ascent
    tv: float
    iterations: int
    rate: float

    def errors(self, model: Stack, change: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        """How far the erasure of each image is from the change, 1 - cos, f32[R]."""
        parts = [
            distance(self.ascent.change(model, images[rows], labels[rows]), _take(change, rows)).detach()
            for rows in self._parts(model, len(images))
        ]
        return torch.cat(parts)

    def images(
        self, model: Stack, change: Mapping[str, Tensor], start: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Images f32[R, C, H, W], and their loss f32[R].

        Args:
            model: before erasing, one replica.
            change: what erasing has changed the parameters by, {name: f32[R, ...]}.
            start: f32[R, C, H, W] in [0, 1].
            labels: i64[R].
        """
        parts = [
            self._search(model, _take(change, rows), start[rows], labels[rows])
            for rows in self._parts(model, len(start))
        ]
        images, losses = zip(*parts, strict=True)
        return torch.cat(images), torch.cat(losses)

    def _search(self, model: Stack, change: Tensors, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        stages = SMOOTHINGS if self.ascent.optimiser == "adam" else SMOOTHINGS[:1]  # sgd is smooth by itself
        losses = images.new_zeros(len(images))
        for smoothing in stages:
            ascent = replace(self.ascent, smoothing=smoothing)

            def loss(images: Tensor, ascent: Ascent = ascent) -> Tensor:
                return distance(ascent.change(model, images, labels), change) + self.tv * total_variation(images)

            images, losses = search(loss, images, -(-self.iterations // len(stages)), self.rate)
        return images, losses

    def _parts(self, model: Stack, count: int) -> list[Tensor]:
        """As many rows at a time as fit into memory."""
        numbers = sum(value[0].numel() for value in model.params.values()) * self.ascent.steps
        return list(torch.arange(count).split(max(1, NUMBERS // numbers)))


def _take(change: Mapping[str, Tensor], rows: Tensor) -> Tensors:
    return {name: value[rows] for name, value in change.items()}
