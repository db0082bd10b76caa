"""Any classifier as the harness calls models: with noise, which most networks ignore."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from unlearnbench.models.noise import Noise


class PlainNetwork(nn.Module):
    """A network that maps images f32[B, C, H, W] to logits f32[B, Y].

    Args:
        network: the network; its parameters' names are prefixed by ``network.`` here.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Raises LackingError: there is no p(Z|x)."""
        raise LackingError("posterior")

    def classify(self, z: Tensor) -> Tensor:  # noqa: ARG002
        """Raises LackingError: there is no representation."""
        raise LackingError("features")

    def forward(self, images: Tensor, noise: Noise | None = None) -> Tensor:  # noqa: ARG002 (a network without noise)
        """Logits f32[B, Y]."""
        return cast(Tensor, self.network(images).to(images.dtype))


class LackingError(Exception):
    """A method asks a network for something that it does not have."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the network has no {what}")
