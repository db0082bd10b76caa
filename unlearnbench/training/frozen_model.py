"""The frozen model before unlearning encodes the same images at every step: this is computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from unlearnbench.models.stack import Functional, Router, Stack, Tensors
from unlearnbench.models.vectorised import vectorised
from unlearnbench.splits.batches import Batch

Encoded = tuple[Tensor, Tensor]  # means and scales of p(Z|X)

IMAGES = 500  # in one forward pass


class Frozen(Functional):
    """A model that remembers how it encodes certain images.

    Args:
        known: these images (this very tensor), f32[B, C, H, W].
        encoded: their encoding, if it has been computed.
        asked: called when `known` is to be encoded.
    """

    def __init__(
        self, router: Router, params: Mapping[str, Tensor], buffers: Mapping[str, Tensor], known: Tensor | None,
        encoded: Encoded | None, asked: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__(router, params, buffers)
        self._known, self._encoded, self._asked = known, encoded, asked

    def encode(self, images: Tensor) -> Encoded:
        """Mean and scale of p(Z|X), f32[B, J] each."""
        if images is self._known:
            self._asked()
            if self._encoded is not None:
                return self._encoded
        return super().encode(images)


def encode(router: Router, frozen: Stack, images: Tensor) -> Encoded:
    """Each replica's images f32[K, n, C, H, W], encoded by its own frozen model or by the shared one."""

    def one(params: Tensors, buffers: Tensors, part: Tensor) -> Encoded:
        return Functional(router, params, buffers).encode(part)

    with torch.no_grad():
        if frozen.replicas == 1:
            params, buffers = frozen.first()
            means, scales = zip(
                *(one(params, buffers, part) for part in images.flatten(0, 1).split(IMAGES)), strict=True
            )
            count = images.shape[:2]
            return torch.cat(means).unflatten(0, count), torch.cat(scales).unflatten(0, count)
        many = vectorised(one, router.is_looped, (0, 0, 0))
        means, scales = zip(*(many(frozen.params, frozen.buffers, p) for p in images.split(IMAGES, 1)), strict=True)
        return torch.cat(means, 1), torch.cat(scales, 1)


def recall(encoded: Encoded | None, batch: Batch | None) -> Encoded | None:
    """The known encoding of a minibatch's images, f32[K, B, J] each; None if it is not known."""
    if encoded is None or batch is None:
        return None
    mean, scale = encoded
    if batch.rows.shape[1] == mean.shape[1]:  # the whole set, in its own order
        return encoded
    rows = batch.rows[..., None].expand(-1, -1, mean.shape[2])
    return mean.gather(1, rows), scale.gather(1, rows)
