"""Inputs of decoders: features of updates that can be compared between erasures, and between originals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from unlearnbench.adversary.updates import ShadowUpdates, Updates
from unlearnbench.settings.scenario import Level, Tier
from unlearnbench.system.errors import AccessError

# An output's last bits depend on how it is computed; a change in a few of them is not a trace of an erasure.
ROUNDING = 4 * torch.finfo(torch.float32).eps
VECTORS = 4  # singular vectors that describe the update of a set


class Features(NamedTuple):
    """Features of n shadows and T targets, by kind: f32[n, R] and f32[T, R]."""

    images: Mapping[str, tuple[Tensor, Tensor]]
    labels: tuple[Tensor, Tensor]


def traced(updates: Updates) -> Tensor:
    """Which erasures changed the outputs by more than rounding, bool[n]; at level `parameters`: changed any weight."""
    if updates.parameter_changes:
        changes = [change.flatten(1).abs().amax(1) for change in updates.parameter_changes.values()]
        return torch.stack(changes).amax(0) > 0
    change = torch.linalg.vector_norm((updates.probe_after - updates.probe_before).flatten(1), dim=1)
    known: Tensor = change > ROUNDING * torch.linalg.vector_norm(updates.probe_before.flatten(1), dim=1)
    return known


def features(shadow: ShadowUpdates, target: Updates, level: Level, tier: Tier) -> Features:
    """`factor` and `delta` features of each erasure's update matrix, and features for its labels.

    The matrix is delta[P, D], the change of the outputs on the probes, or at level `parameters` the change of the first
    layer's weights, transposed to [pixels, H]. Each is scaled to length 1. For one erased image it is close to rank
    one. `factor` features are its first left singular vectors (one for a single image; for sets several, weighted by
    their singular values): what each probe, or pixel, has in common with the images. `delta` features are the whole
    matrix.
    """
    size = shadow.images.shape[1]
    matrices = _weights(shadow, target) if level == "parameters" else _outputs(shadow, target, level, tier)
    factors = tuple(_factors(each, 1 if size == 1 else VECTORS) for each in matrices)
    if level != "parameters":
        whole = matrices[0].flatten(1), matrices[1].flatten(1)
        return Features({"factor": (factors[0], factors[1]), "delta": whole}, whole)
    # Adam's steps have equal lengths, so a pixel's share shows in how many steps changed its weights.
    sizes = [each.abs().mean(2) for each in matrices]
    sized = [torch.cat(pair, 1) for pair in zip(factors, sizes, strict=True)]
    images = {"factor": (sized[0], sized[1])}
    if tier == "same":  # hidden units of two originals do not correspond
        directions = _directions(matrices[0][~shadow.validation])
        images["delta"] = (matrices[0] @ directions).flatten(1), (matrices[1] @ directions).flatten(1)
    return Features(images, (_vectors(shadow.updates), _vectors(target)))


def procrustes(source: Tensor, reference: Tensor) -> Tensor:
    """The rotation that brings `source` closest to `reference` (orthogonal Procrustes; Schoenemann, 1966).

    Two trainings of one architecture find representations of similar geometry, each in its own coordinates. Both
    arguments are centred first; a change of the source's representation is aligned by ``change @ procrustes(...)``.

    Args:
        source, reference: f32[P, J], representations of the same P images by two models.

    Returns:
        f32[J, J], orthogonal, so it may be a reflection. With fewer images than dimensions, the other dimensions are
        rotated arbitrarily.
    """
    centred = [part.double() - part.double().mean(0) for part in (source, reference)]
    left, _, right = torch.linalg.svd(centred[0].T @ centred[1])
    rotation: Tensor = left @ right
    return rotation.to(source.dtype)


def _outputs(shadow: ShadowUpdates, target: Updates, level: Level, tier: Tier) -> tuple[Tensor, Tensor]:
    """Changes of outputs, f32[n, P, D] and f32[T, P, D], of length 1, in the target's coordinates."""
    changes = [updates.probe_after - updates.probe_before for updates in (shadow.updates, target)]
    if level == "log_probabilities":
        # Log-probabilities are logits minus a term that is not linear in them; after centring, the two agree.
        changes = [change - change.mean(2, keepdim=True) for change in changes]
    if level == "representation" and tier == "disjoint":
        for model in shadow.model.unique():
            rows = shadow.model == model
            own = shadow.updates.probe_before[rows][0]
            changes[0][rows] = changes[0][rows] @ procrustes(own, target.probe_before[0])
    return _unit(changes[0]), _unit(changes[1])


def _weights(shadow: ShadowUpdates, target: Updates) -> tuple[Tensor, Tensor]:
    """Changes of the first layer's weights, f32[n, C * H * W, H] and f32[T, C * H * W, H], of length 1."""
    pixels = shadow.images[0, 0].numel()
    names = [n for n, change in target.parameter_changes.items() if change.ndim == 3 and change.shape[2] == pixels]
    if not names:
        raise AccessError(f"level 'parameters': no changes of weights[., {pixels}] among those that are shown")
    known, asked = (updates.parameter_changes[names[0]].transpose(1, 2) for updates in (shadow.updates, target))
    return _unit(known), _unit(asked)


def _vectors(updates: Updates) -> Tensor:
    """Changes of all biases, f32[n, R], of length 1: their signs reveal the label."""
    biases = [change for change in updates.parameter_changes.values() if change.ndim == 2]
    return _unit(torch.cat(biases, 1)[..., None])[..., 0]


def _unit(matrices: Tensor) -> Tensor:
    """Matrices scaled to length 1: how far an image moves the model varies by orders of magnitude with how sure the
    model is of it."""
    length: Tensor = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True)
    unit: Tensor = matrices / length.clamp_min(torch.finfo(torch.float32).tiny)
    return unit


def _factors(matrices: Tensor, count: int) -> Tensor:
    """First left singular vectors, f32[n, count * P], each weighted by its singular value divided by the first one.

    The sign of a singular vector is arbitrary; it is chosen so that the vector's sum is positive.
    """
    vectors, values = [], []
    for part in matrices.split(256):
        left, value, _ = torch.linalg.svd(part, full_matrices=False)
        vectors.append(left[:, :, :count])
        values.append(value[:, :count] / value[:, :1].clamp_min(torch.finfo(torch.float32).tiny))
    left = torch.cat(vectors)
    signs = torch.where(left.sum(1) < 0, -1.0, 1.0)
    weighted: Tensor = left * (signs * torch.cat(values))[:, None]
    return weighted.flatten(1)


def _directions(matrices: Tensor, count: int = 2 * VECTORS) -> Tensor:
    """The directions in the space of H hidden units along which weights change most, over all shadows, f32[H,
    count]."""
    columns = matrices.flatten(0, 1)
    directions: Tensor = torch.linalg.eigh(columns.T @ columns)[1][:, -count:]
    return directions
