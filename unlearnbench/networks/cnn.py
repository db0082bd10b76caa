"""A convolutional network of the size of LeNet-5."""

from pydantic import Field
from torch import nn

from unlearnbench.models.body_and_head import BodyAndHead
from unlearnbench.plugin import Model, PluginParams


class Cnn(Model):
    """Two 5x5 convolutions, each with ReLU and 2x2 max pooling, and one hidden layer, for images of at least 4x4.

    LeNet-5 has 6 and 16 channels, hidden layers of 120 and 84, sigmoids and average pooling; ReLU, maxima and powers of
    two are what its users write today.
    """

    paper = "after LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998"
    features = True

    class Params(PluginParams):
        channels: int = Field(8, ge=1, description="of the first convolution; the second has twice as many")
        hidden: int = Field(84, ge=1, description="units of the hidden layer, the representation")

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        if min(shape[1:]) < 4:
            raise ValueError(f"cnn halves images twice: they must be at least 4x4, not {shape[1]}x{shape[2]}")
        channels, hidden = self.params.channels, self.params.hidden
        body = nn.Sequential(
            nn.Conv2d(shape[0], channels, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(2 * channels * (shape[1] // 4) * (shape[2] // 4), hidden), nn.ReLU(),
        )  # fmt: skip
        return BodyAndHead(body, nn.Linear(hidden, classes))
