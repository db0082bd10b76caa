"""Images found by gradient descent: what attacks that look for an image have in common."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unlearnbench.models.optimisers import Adam
from unlearnbench.splits.images import Images

HALVED_AT = (3 / 8, 5 / 8, 7 / 8)  # of all iterations: where the rate is halved (Hu et al., 2024)


def search(loss: Callable[[Tensor], Tensor], start: Tensor, iterations: int, rate: float) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] that minimise a loss, each its own, by Adam on the signs of the gradient.

    Args:
        loss: of images f32[R, C, H, W], one number for each, f32[R].
        start: f32[R, C, H, W] in [0, 1].
        rate: Adam's learning rate, in units of the range of grey levels.

    Returns:
        The images f32[R, C, H, W], and the loss f32[R] of each.
    """
    images, adam = start.clone().requires_grad_(), Adam(rate)
    for iteration in range(iterations):
        adam.lr = rate * 0.5 ** sum(iteration >= share * iterations for share in HALVED_AT)
        (slope,) = torch.autograd.grad(loss(images).sum(), images)
        adam.step({"images": images}, [slope.sign()])
        with torch.no_grad():
            images.clamp_(0, 1)
    return images.detach(), loss(images).detach()


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels, across plus down, f32[R] of f32[R, C, H, W]."""
    both = (images.diff(dim=3).abs(), images.diff(dim=2).abs())
    # An image of one row or column has no neighbours in that direction: the mean of nothing would be NaN.
    return sum((part.flatten(1).mean(1) for part in both if part[0].numel()), images.new_zeros(len(images)))


def trivial_answers(auxiliary: Images, classes: int, targets: int) -> tuple[Tensor, Tensor]:
    """What an adversary answers who has seen nothing change: the mean of her images, f32[T, C, H, W], and how many of
    them each class has, f32[T, Y], as scores of labels."""
    counts = torch.bincount(auxiliary.labels, minlength=classes).float()
    return auxiliary.scaled.mean(0).repeat(targets, 1, 1, 1), counts.repeat(targets, 1)
