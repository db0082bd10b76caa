"""How much a model still owes to having learned the erased images (docs/protocol.md#memory).

The standing r(i) of image i under a model is the quantile of its margin among the margins of never-seen images of its
class under the same model. The margin is the true class's logit minus the largest other one. Scaling a model's outputs
scales all margins alike, so standings stay the same. The standing that an image has under retrained models is
subtracted: a model's memory of the erased images is the mean of r(i) - E[r(i)], with the expectation over retrained
models that never saw i.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unlearnbench.models.stack import Stack
from unlearnbench.splits.images import Images
from unlearnbench.splits.world import World
from unlearnbench.stages.result_checks import PluginError
from unlearnbench.system.seeding import stream

UNSEEN = 2_000  # the most never-seen images that standings are computed among
MODELS = 32  # evaluated at a time


@dataclass(frozen=True, eq=False)
class Retrained:
    """What retrained models say about the erased images.

    Attributes:
        standing: f32[R, T, s] under each model.
        left_out: bool[R, T], which targets' images a model never saw.
        accuracy: f32[R], on the images that all models are tested on.
    """

    standing: Tensor
    left_out: Tensor
    accuracy: Tensor

    @property
    def noise(self) -> float:
        """Mean squared difference between the standing under one retrained model and the mean under the others, over
        all images and the models that never saw them."""
        count = self.left_out.sum(0).to(self.standing)[None, :, None]
        apart = (self.standing - self.expected) * count / (count - 1).clamp_min(1)  # from the mean of the others
        there = self.left_out[:, :, None].expand_as(apart) & ~apart.isnan()
        return float(apart[there].double().square().mean())

    @property
    def expected(self) -> Tensor:
        """f32[T, s]: the mean standing under models that never saw an image."""
        weight = self.left_out.to(self.standing)[:, :, None]
        return (self.standing * weight).sum(0) / weight.sum(0)


def memory(standing: Tensor, retrained: Retrained) -> float | None:
    """Mean over the erased images of r(i) - E[r(i)], from -1 to 1; None if no image has a standing.

    Args:
        standing: f32[T, s] (or f32[1, T, s]) under the evaluated models.
    """
    apart = (standing - retrained.expected).double().flatten()
    apart = apart[~apart.isnan()]
    return float(apart.mean()) if len(apart) else None


def memory_square(standing: Tensor, retrained: Retrained) -> float | None:
    """Mean over the erased images of (r(i) - E[r(i)])^2, minus that of a retrained model; None as for `memory`.

    If half of the images are remembered and half over-forgotten, their mean memory is 0, but this is large.
    """
    apart = (standing - retrained.expected).double().flatten()
    apart = apart[~apart.isnan()]
    return float(apart.square().mean()) - retrained.noise if len(apart) else None


def own_standings(models: Stack, world: World) -> Tensor:
    """f32[T, s] of each target's erased images under its own model; `models` has one for each target."""
    unseen, found = _unseen(world), []
    for some, own in zip(models.chunks(MODELS), world.targets.erased.split(MODELS), strict=True):
        labels = world.pool.labels[own]
        _, logits = some.own_outputs(world.pool.pixels[own])
        found.append(_quantiles(margins(logits, labels), labels, _margins(some, unseen), unseen.labels))
    return torch.cat(found)


def standings(models: Stack, world: World) -> Tensor:
    """f32[K, T, s] of all targets' erased images under each of K models."""
    rows, unseen, found = world.targets.erased, _unseen(world), []
    erased = world.pool.take(rows.flatten())
    for some in models.chunks(MODELS):
        labels = erased.labels.expand(some.replicas, -1)
        found.append(_quantiles(_margins(some, erased), labels, _margins(some, unseen), unseen.labels))
    return torch.cat(found).view(-1, *rows.shape)


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """The true class's logit minus the largest of the others, f32[...] of f32[..., Y] and i64[...].

    Raises:
        PluginError: an output is not finite.
    """
    if not bool(torch.isfinite(logits).all()):
        raise PluginError("a model's outputs are not finite: they have no margins")
    own = labels[..., None]
    others = logits.scatter(-1, own, -float("inf")).amax(-1)
    return (logits.gather(-1, own)[..., 0] - others).float().cpu()


def _margins(models: Stack, images: Images) -> Tensor:
    """f32[K, n]."""
    _, logits = models.outputs(images.pixels)
    return margins(logits, images.labels.expand(models.replicas, -1))


def _unseen(world: World) -> Images:
    """Never-seen images: those that the erased ones are compared with, or else test images."""
    images = world.test if world.targets.holdout is None else world.pool.take(world.targets.holdout.flatten().unique())
    order = torch.from_numpy(stream(world.seed, "standings among").permutation(len(images))[:UNSEEN])
    return images.take(order.to(images.labels.device))


def _quantiles(margin: Tensor, labels: Tensor, unseen: Tensor, unseen_labels: Tensor) -> Tensor:
    """Share of never-seen images of the class with a smaller margin, ties counting half: f32[K, n] from f32[K, n] and
    f32[K, u]. NaN where no never-seen image has the class.
    """
    labels, unseen_labels = labels.cpu(), unseen_labels.cpu()
    found = torch.full(margin.shape, torch.nan)
    for label in labels.unique():
        among = unseen[:, unseen_labels == label].sort(-1).values.contiguous()
        if among.shape[1]:
            below, up_to = (torch.searchsorted(among, margin.contiguous(), right=right) for right in (False, True))
            quantile = (below + up_to).float() / (2 * among.shape[1])
            found = torch.where(labels == label, quantile, found)
    return found
