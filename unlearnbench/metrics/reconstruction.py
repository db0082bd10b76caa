"""How good reconstructions are, and what attackers get who look at no output. Images are f32[n, C, H, W] in [0, 1]."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

RETRIEVAL_CANDIDATES = 100


def squared_errors(reconstructed: Tensor, truth: Tensor) -> Tensor:
    """Summed squared error of each image, f64[n]."""
    return (reconstructed.double() - truth.double()).square().flatten(1).sum(1)


def match_sets(reconstructed: Tensor, truth: Tensor) -> Tensor:
    """Reorder reconstructions f32[T, s, C, H, W] so that each set fits its truth best (Hungarian method, by SSE).

    A set has no order: an attacker who rebuilds all images of an erasure in another order has rebuilt them.
    """
    if truth.shape[1] == 1:
        return reconstructed
    matched = torch.empty_like(reconstructed)
    for index in range(len(truth)):
        cost = torch.cdist(truth[index].flatten(1).double(), reconstructed[index].flatten(1).double()).square()
        rows, columns = linear_sum_assignment(cost.numpy())
        matched[index, rows] = reconstructed[index, columns]
    return matched


def mean_image(auxiliary: Tensor) -> Tensor:
    """The trivial reconstruction: the mean of the adversary's own images, f32[C, H, W]."""
    return auxiliary.mean(0)


def class_means(auxiliary: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean of the adversary's images of each class, f32[Y, C, H, W]; a class she lacks gets the mean of all."""
    means = mean_image(auxiliary).repeat(classes, 1, 1, 1)
    for label in labels.unique().tolist():
        means[label] = auxiliary[labels == label].mean(0)
    return means


def nearest_errors(truth: Tensor, auxiliary: Tensor, batch: int = 256) -> Tensor:
    """SSE of the adversary's nearest image, f64[n]: an oracle that is told which of her images is nearest."""
    flat = auxiliary.flatten(1)
    return torch.cat(
        [torch.cdist(part.flatten(1), flat).min(1).values.double().square() for part in truth.split(batch)]
    )


def retrieved(
    reconstructed: Tensor, truth: Tensor, decoys: Tensor, generator: np.random.Generator, candidates: int
) -> Tensor:
    """Whether the erased image is the nearest of `candidates`, the others drawn from decoys; bool[n].

    A reconstruction that is the same for all finds the truth by chance only; ties count as not found.
    """
    hits = []
    for image, true in zip(reconstructed, truth, strict=True):
        chosen = torch.from_numpy(generator.choice(len(decoys), candidates - 1, replace=False))
        own = (image - true).square().sum()
        others = (decoys[chosen] - image).square().flatten(1).sum(1)
        hits.append(bool(own < others.min()))
    return torch.tensor(hits)
