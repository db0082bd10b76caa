"""A plain MLP: ReLU layers to the classes, without a bottleneck."""

from collections import OrderedDict

from pydantic import Field
from torch import Tensor, nn

from unlearnbench.plugin import Model, PluginParams


class Layers(nn.Module):
    """`encode` ends after the last ReLU; `classify` is the last layer."""

    def __init__(self, pixels: int, hidden: int, depth: int, classes: int) -> None:
        super().__init__()
        layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
        for number in range(depth):
            layers[f"layer{number}"] = nn.Linear(pixels if number == 0 else hidden, hidden)
            layers[f"relu{number}"] = nn.ReLU()
        self.body, self.head = nn.Sequential(layers), nn.Linear(hidden, classes)

    def encode(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images)
        return features

    def classify(self, z: Tensor) -> Tensor:
        logits: Tensor = self.head(z)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.encode(images))


class PlainMlp(Model):
    """`depth` hidden layers of equal width. The representation is the last of them."""

    paper = "textbook"
    features = True

    class Params(PluginParams):
        hidden: int = Field(128, ge=1, description="units of each hidden layer")
        depth: int = Field(2, ge=1, le=20, description="hidden layers")

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        return Layers(shape[0] * shape[1] * shape[2], self.params.hidden, self.params.depth, classes)
