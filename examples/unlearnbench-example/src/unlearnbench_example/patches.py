"""A network that looks at patches: one linear layer for all of them, and the strongest answer counts."""

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnbench.plugin import Model, PluginParams


class Bag(nn.Module):
    """Logits are the largest over all patches."""

    def __init__(self, channels: int, side: int, classes: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, classes, side, padding=side // 2)

    def forward(self, images: Tensor) -> Tensor:
        return F.adaptive_max_pool2d(self.look(images), 1).flatten(1)


class Patches(Model):
    """A bag of patches of `side` x `side` pixels. It has no representation: attacks on that level are skipped."""

    paper = "made up for this example"

    class Params(PluginParams):
        side: int = Field(5, ge=1, description="of a patch, pixels")

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        return Bag(shape[0], self.params.side, classes)
