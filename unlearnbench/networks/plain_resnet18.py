"""ResNet-18 as torchvision defines it: deterministic, straight to the classes."""

from typing import Literal

from pydantic import Field
from torch import nn

from unlearnbench.models.last_layer import LastLayer
from unlearnbench.models.residual import resnet18
from unlearnbench.plugin import Model, PluginParams


class PlainResnet18(Model):
    """The representation is the input of the last layer, f32[B, 512].

    Batch normalisation uses minibatch statistics while a model is trained, and the running ones, unchanged, while it
    unlearns. `norm: group` replaces it by group normalisation, for which a minibatch of any size will do.
    """

    paper = "He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016"
    features = True

    class Params(PluginParams):
        stem: Literal["small", "imagenet"] = Field(
            "small", description="3x3 without pooling (32x32 images) or 7x7 with pooling"
        )
        norm: Literal["batch", "group"] = Field("batch", description="batch or group (32 groups) normalisation")

        @property
        def keyed_packages(self) -> tuple[str, ...]:
            return ("torchvision",)

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        body = resnet18(shape, classes, self.params.stem, groups=32 if self.params.norm == "group" else None)
        return LastLayer(body, "fc")
