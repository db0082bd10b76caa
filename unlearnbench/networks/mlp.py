"""The paper's bottleneck network for small grey images: an MLP representer to p(Z|X)."""

from torch import nn

from unlearnbench.models import information_bottleneck
from unlearnbench.plugin import Model
from unlearnbench.settings.scenario import BottleneckParams


class BottleneckMlp(Model):
    """Representer: one hidden layer, to `latent` means and scales of Z. Approximator: one hidden layer, to the classes.

    Layer sizes as in the released code (docs/protocol.md#networks). `stem` has no effect.
    """

    paper = "CRFU paper, section 3"
    features = posterior = True
    Params = BottleneckParams

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        return information_bottleneck.build("mlp", self.params, shape, classes)
