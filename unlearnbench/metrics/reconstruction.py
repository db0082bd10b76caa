"""How good reconstructions are, and how good they are without any output. Images are f32[n, C, H, W] in [0, 1]."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

RETRIEVAL_CANDIDATES = 100
BLIND_IMAGES, BLIND_SETS = 3_000, 50  # what an attacker who sees no output tests her answer on


def squared_errors(reconstructed: Tensor, truth: Tensor) -> Tensor:
    """Summed squared error of each image, f64[n]."""
    return (reconstructed.double() - truth.double()).square().flatten(1).sum(1)


def match_sets(reconstructed: Tensor, truth: Tensor) -> Tensor:
    """Reorder reconstructions f32[T, s, C, H, W] so that each set fits its truth best (Hungarian method, by SSE).

    A set has no order: an attacker who rebuilds all images of an erasure in a different order has rebuilt them.
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


def blind_set(auxiliary: Tensor, size: int, seed: int) -> Tensor:
    """The answer of the best attacker who sees no output, f32[s, C, H, W].

    For one image that is the mean image. For a set it is not: different images, each matched with the true one that it
    fits, are nearer than copies of one image. So it is the centroids of the adversary's images (KMeans, k = s), moved
    towards their mean as far as that lowers the error on random sets of her images.

    Args:
        auxiliary: f32[m, C, H, W].
        size: s.
        seed: of the clustering and of those sets.
    """
    mean = mean_image(auxiliary)[None]
    if size == 1:
        return mean
    from sklearn.cluster import KMeans  # takes a second to import, and single images are most experiments

    generator = np.random.default_rng(seed)
    own = auxiliary[torch.from_numpy(generator.permutation(len(auxiliary))[:BLIND_IMAGES])]
    clusters = KMeans(min(size, len(own)), n_init=1, random_state=seed % 2**32).fit(own.flatten(1).numpy())
    centroids = torch.from_numpy(clusters.cluster_centers_)[torch.arange(size) % len(own)].view(-1, *mean.shape[1:])
    sets = own[torch.from_numpy(generator.integers(len(own), size=(BLIND_SETS, size)))]
    answers = [mean + share * (centroids - mean) for share in (0, 0.25, 0.5, 0.75, 1)]
    return min(answers, key=lambda answer: float((match_sets(answer.expand_as(sets), sets) - sets).square().mean()))


def class_means(auxiliary: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean of the adversary's images of each class, f32[Y, C, H, W]; a class she lacks gets the mean of all."""
    means = mean_image(auxiliary).repeat(classes, 1, 1, 1)
    for label in labels.unique().tolist():
        means[label] = auxiliary[labels == label].mean(0)
    return means


def nearest_errors(truth: Tensor, auxiliary: Tensor, batch: int = 256) -> Tensor:
    """SSE of the adversary's nearest image, f64[n]: an oracle that knows which of her images is nearest."""
    flat = auxiliary.flatten(1)
    return torch.cat(
        [torch.cdist(part.flatten(1), flat).min(1).values.double().square() for part in truth.split(batch)]
    )


def retrieved(
    reconstructed: Tensor,
    truth: Tensor,
    decoys: Tensor,
    generator: np.random.Generator,
    labels: Tensor,
    decoy_labels: Tensor | None = None,
    candidates: int = RETRIEVAL_CANDIDATES,
) -> Tensor | None:
    """Whether the erased image is the nearest of `candidates`, the others drawn from decoys.

    A reconstruction that is the same for all images finds the truth only by chance; ties count as not found.

    Args:
        reconstructed, truth: f32[n, C, H, W].
        decoys: f32[m, C, H, W].
        labels: i64[n], of the truth.
        decoy_labels: i64[m]: draw decoys of the truth's own class; None: of any class.

    Returns:
        bool[n], or None if there are too few decoys.
    """
    of_class = {int(y): np.flatnonzero(decoy_labels == y) for y in labels.unique()} if decoy_labels is not None else {}
    every = np.arange(len(decoys))
    if min((len(rows) for rows in of_class.values()), default=len(every)) < candidates - 1:
        return None
    hits = []
    for image, true, label in zip(reconstructed, truth, labels.tolist(), strict=True):
        chosen = torch.from_numpy(generator.choice(of_class.get(label, every), candidates - 1, replace=False))
        own = (image - true).square().sum()
        others = (decoys[chosen] - image).square().flatten(1).sum(1)
        hits.append(bool(own < others.min()))
    return torch.tensor(hits)
