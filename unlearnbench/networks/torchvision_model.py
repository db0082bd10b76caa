"""Any classifier of torchvision, by name."""

from typing import Any

import torch
from pydantic import Field, JsonValue
from torch import nn

from unlearnbench.models.last_layer import LastLayer, last_linear
from unlearnbench.plugin import Model, PluginParams
from unlearnbench.system.torchvision_import import import_torchvision


class TorchvisionModel(Model):
    """A model of torchvision.models with random weights, e.g. ``{name: torchvision_model, model: mobilenet_v3_small}``.

    Grey images are repeated to three channels, since torchvision's networks take three. The representation is the input
    of the last linear layer. Networks made for 224x224 images may not take small ones. Dropout draws from seeded random
    numbers, and the models of such networks are trained one after the other.
    """

    paper = "TorchVision maintainers and contributors, 2016"

    @property
    def features(self) -> bool:
        return bool(self.params.last_layer)

    class Params(PluginParams):
        model: str = Field(pattern="^[a-z0-9_]+$", max_length=60, description="its name in torchvision.models")
        last_layer: bool = Field(
            True, description="whether it ends in a linear layer; false (squeezenet): without a representation"
        )
        arguments: dict[str, JsonValue] = Field(default={}, description="more arguments of its function, by name")

        @property
        def keyed_packages(self) -> tuple[str, ...]:
            return ("torchvision",)

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        import_torchvision()
        from torchvision import models

        known = models.list_models(module=models)
        if self.params.model not in known:
            raise ValueError(f"torchvision.models has no classifier '{self.params.model}'")
        arguments: dict[str, Any] = {"weights": None, "num_classes": classes, **self.params.arguments}
        network = models.get_model(self.params.model, **arguments)
        shown = Repeated(network) if shape[0] == 1 else network
        if not self.params.last_layer:
            return shown
        last = last_linear(shown, classes)
        if last is None:
            raise ValueError(f"{self.params.model} has no last linear layer to the classes: set last_layer: false")
        return LastLayer(shown, last)


class Repeated(nn.Module):
    """A network for colour images that is shown grey ones."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images.expand(-1, 3, -1, -1))
        return logits
