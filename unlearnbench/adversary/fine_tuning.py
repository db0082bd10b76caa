"""K models that the adversary holds, trained on by her: their losses, and steps of Adam."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.models.optimisers import Adam
from unlearnbench.models.stack import Functional, Stack
from unlearnbench.models.vectorised import vectorised


def logits_of(models: Stack, images: Tensor, params: Mapping[str, Tensor] | None = None) -> Tensor:
    """Logits f32[K, n, Y], through which gradients flow.

    Args:
        images: f32[n, C, H, W] in [0, 1], or [K, n, C, H, W] with each model's own.
        params: other parameters than the models' own.
    """
    router = models.router(training=False)

    def one(own: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return Functional(router, own, buffers)(x)

    dims = (0, 0, 0 if images.ndim == 5 else None)
    logits: Tensor = vectorised(one, router.is_looped, dims)(params or models.params, models.buffers, images)
    return logits


def losses(models: Stack, images: Tensor, labels: Tensor, params: Mapping[str, Tensor] | None = None) -> Tensor:
    """Cross-entropy f32[K, n]; labels are i64[n] or i64[K, n]."""
    logits = logits_of(models, images, params)
    truth = labels.expand(logits.shape[:2])
    found: Tensor = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none").view_as(truth)
    return found


def tuned(models: Stack, batches: Iterable[tuple[Tensor, Tensor]], lr: float) -> Stack:
    """Copies of the models after a step of Adam on the mean loss of each batch of images and labels."""
    params, adam = {name: value.clone() for name, value in models.params.items()}, Adam(lr)
    for images, labels in batches:
        for value in params.values():
            value.requires_grad_()
        loss = losses(models, images, labels, params).mean(1).sum()
        gradients = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
        params = {name: value.detach() for name, value in params.items()}
        adam.step(params, gradients)
    return models.with_tensors({**params, **models.buffers})
