"""A plain MLP: ReLU layers to the classes, without a bottleneck."""

from collections import OrderedDict

from pydantic import Field
from torch import nn

from unlearnbench.models.body_and_head import BodyAndHead
from unlearnbench.plugin import Model, PluginParams


class PlainMlp(Model):
    """`depth` hidden layers of equal width. The representation is the last of them."""

    paper = "textbook"
    features = True

    class Params(PluginParams):
        hidden: int = Field(128, ge=1, description="units of each hidden layer")
        depth: int = Field(2, ge=1, le=20, description="hidden layers")

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        width, pixels = self.params.hidden, shape[0] * shape[1] * shape[2]
        layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
        for number in range(self.params.depth):
            layers[f"layer{number}"] = nn.Linear(pixels if number == 0 else width, width)
            layers[f"relu{number}"] = nn.ReLU()
        return BodyAndHead(nn.Sequential(layers), nn.Linear(width, classes))
