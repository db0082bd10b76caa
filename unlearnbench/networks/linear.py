"""Multinomial logistic regression on the pixels: a convex model, on which exact answers are known."""

from torch import nn

from unlearnbench.models import information_bottleneck
from unlearnbench.plugin import Model
from unlearnbench.settings.scenario import BottleneckParams


class Linear(Model):
    """Logistic regression as the simplest bottleneck: Z is the image itself, without noise, and the approximator a
    single layer, which starts at zero. `latent` is the number of pixels; `hidden` and `stem` have no effect."""

    paper = "Guo, Goldstein, Hannun, van der Maaten: Certified data removal, ICML 2020 (section 4)"
    features = posterior = True
    Params = BottleneckParams

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        return information_bottleneck.build("linear", self.params, shape, classes)
