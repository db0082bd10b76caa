"""The information-bottleneck (IB) model: representer theta^r, X -> p(Z|X), and approximator theta^a, Z -> Y.

CRFU paper, section 3; layer sizes as in the released code (docs/protocol.md#networks).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnbench.models.noise import Noise
from unlearnbench.models.residual import resnet18
from unlearnbench.settings.scenario import BottleneckParams

# softplus underflows for very negative inputs; the gradient of its logarithm would be -inf or NaN.
SMALLEST_SCALE = 1e-6


class InformationBottleneck(nn.Module):
    """Representer and approximator.

    Args:
        representer: images f32[B, C, H, W] -> f32[B, 2 J], J means and J raw scales.
        latent: J.
        hidden: hidden units of the approximator.
        classes: Y.
    """

    def __init__(self, representer: nn.Module, latent: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.representer = representer
        self.approximator = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, classes))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of p(Z|X), each f32[B, J]; Eqs. 16 and 17 with sigma = softplus(raw)."""
        # A scenario may ask for lower precision inside the network; means, scales and logits keep full precision.
        mean, raw = self.representer(images).to(images.dtype).chunk(2, dim=1)
        return mean, F.softplus(raw) + SMALLEST_SCALE

    def classify(self, z: Tensor) -> Tensor:
        """Logits f32[B, Y] of p(Y|Z)."""
        return cast(Tensor, self.approximator(z).to(z.dtype))

    def forward(self, images: Tensor, noise: Noise | None = None) -> Tensor:
        """Logits f32[B, Y] at the mean of p(Z|X), or at a sample from it if `noise` is given."""
        mean, scale = self.encode(images)
        return self.classify(mean if noise is None else mean + scale * noise.normal(*mean.shape))


class LogisticRegression(InformationBottleneck):
    """Multinomial logistic regression as the simplest bottleneck: Z is the image, without noise."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        nn.Module.__init__(self)
        self.representer = nn.Flatten()
        layer = nn.Linear(shape[0] * shape[1] * shape[2], classes)
        nn.init.zeros_(layer.weight)  # Newton's method converges from there
        nn.init.zeros_(layer.bias)
        self.approximator = nn.Sequential(layer)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The pixels f32[B, C * H * W] and a scale close to zero."""
        mean = self.representer(images)
        return mean, torch.full_like(mean, SMALLEST_SCALE)


def build(name: str, params: BottleneckParams, shape: tuple[int, int, int], classes: int) -> InformationBottleneck:
    """A bottleneck network with weights drawn from torch's random numbers.

    Args:
        name: `mlp`, `resnet18` or `linear`.
        shape: C, H, W of the images.
    """
    if name == "linear":
        return LogisticRegression(shape, classes)
    return InformationBottleneck(_REPRESENTERS[name](params, shape), params.latent, params.hidden, classes)


def _mlp(network: BottleneckParams, shape: tuple[int, int, int]) -> nn.Module:
    pixels = shape[0] * shape[1] * shape[2]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(pixels, network.hidden), nn.ReLU(), nn.Linear(network.hidden, 2 * network.latent)
    )


def _resnet18(network: BottleneckParams, shape: tuple[int, int, int]) -> nn.Module:
    return resnet18(shape, 2 * network.latent, network.stem)


_Representer = Callable[[BottleneckParams, tuple[int, int, int]], nn.Module]
_REPRESENTERS: dict[str, _Representer] = {"mlp": _mlp, "resnet18": _resnet18}
