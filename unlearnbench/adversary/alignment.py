"""Bringing the coordinates of one model's representation into line with another's."""

from __future__ import annotations

import torch
from torch import Tensor


def procrustes(source: Tensor, reference: Tensor) -> Tensor:
    """The rotation that brings `source` closest to `reference` (orthogonal Procrustes; Schoenemann, 1966).

    Two trainings of one architecture find representations of one geometry in coordinates of their own. Both arguments
    are centred first; a change of the source's representation is aligned by ``change @ procrustes(...)``.

    Args:
        source, reference: f32[P, J], representations of the same P images by two models.

    Returns:
        f32[J, J], orthogonal: it may mirror. With fewer images than dimensions the rest is turned anyhow.
    """
    centred = [part.double() - part.double().mean(0) for part in (source, reference)]
    left, _, right = torch.linalg.svd(centred[0].T @ centred[1])
    rotation: Tensor = left @ right
    return rotation.to(source.dtype)
