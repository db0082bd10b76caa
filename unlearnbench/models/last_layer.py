"""A network whose representation is what enters its last linear layer."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


class LastLayer(nn.Module):
    """Any network that ends in a linear layer, cut before it.

    Args:
        network: maps images to logits.
        last: the name of the layer.
    """

    def __init__(self, network: nn.Module, last: str) -> None:
        super().__init__()
        self.network, self._last = network, last

    def encode(self, images: Tensor) -> Tensor:
        """What enters the last layer, f32[B, J]."""
        entering: list[Tensor] = []
        layer = self.network.get_submodule(self._last)
        hook = layer.register_forward_pre_hook(lambda _, given: entering.append(given[0]))
        try:
            self.network(images)
        finally:
            hook.remove()
        return entering[-1]

    def classify(self, z: Tensor) -> Tensor:
        """Logits f32[B, Y]."""
        return cast(Tensor, self.network.get_submodule(self._last)(z))

    def forward(self, images: Tensor) -> Tensor:
        """Logits f32[B, Y]."""
        return cast(Tensor, self.network(images))


def last_linear(network: nn.Module, classes: int) -> str | None:
    """The name of the last linear layer to the classes, or None."""
    names = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    layer = network.get_submodule(names[-1]) if names else None
    return names[-1] if isinstance(layer, nn.Linear) and layer.out_features == classes else None
