"""The paper's bottleneck network for colour images: a ResNet-18 representer to p(Z|X)."""

from torch import nn

from unlearnbench.models import information_bottleneck
from unlearnbench.plugin import Model
from unlearnbench.settings.scenario import BottleneckParams


class BottleneckResnet18(Model):
    """Representer: ResNet-18 with batch normalisation, to `latent` means and scales of Z. Approximator: one hidden
    layer, to the classes.

    Batch normalisation uses minibatch statistics while a model is trained, and the running ones, unchanged, while it
    unlearns.
    """

    paper = "CRFU paper, section 3; He et al.: Deep residual learning for image recognition, CVPR 2016"
    features = posterior = True
    Params = BottleneckParams

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        return information_bottleneck.build("resnet18", self.params, shape, classes)
