"""A network of two parts: a body that gives the representation, and a head that classifies it."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


class BodyAndHead(nn.Module):
    """Calls one after the other.

    Args:
        body: images f32[B, C, H, W] to f32[B, J].
        head: f32[B, J] to logits f32[B, Y].
    """

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def encode(self, images: Tensor) -> Tensor:
        """The representation f32[B, J]."""
        return cast(Tensor, self.body(images))

    def classify(self, z: Tensor) -> Tensor:
        """Logits f32[B, Y]."""
        return cast(Tensor, self.head(z))

    def forward(self, images: Tensor) -> Tensor:
        """Logits f32[B, Y]."""
        return self.classify(self.encode(images))
