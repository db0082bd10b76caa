"""Several information-bottleneck models that answer as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnbench.models.information_bottleneck import InformationBottleneck
from unlearnbench.models.noise import Noise


class Ensemble(nn.Module):
    """Its representation concatenates those of its models; its prediction is the mean of their probabilities.

    Args:
        models: S models of one architecture.
        seed: of the partition of the training images. It is kept with the weights, so that an image's model can be
            found.
    """

    seed: Tensor

    def __init__(self, models: Sequence[InformationBottleneck], seed: int) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.register_buffer("seed", torch.tensor(seed))

    @property
    def parts(self) -> list[InformationBottleneck]:
        """The S models."""
        return [cast(InformationBottleneck, model) for model in self.models]

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales f32[B, S * J]."""
        means, scales = zip(*(model.encode(images) for model in self.parts), strict=True)
        return torch.cat(means, 1), torch.cat(scales, 1)

    def classify(self, z: Tensor) -> Tensor:
        """Log-probabilities f32[B, Y], which serve as logits."""
        pairs = zip(self.parts, z.chunk(len(self.models), dim=1), strict=True)
        each = torch.stack([F.log_softmax(model.classify(part), dim=-1) for model, part in pairs])
        return each.logsumexp(0) - math.log(len(self.models))

    def forward(self, images: Tensor, noise: Noise | None = None) -> Tensor:
        """Log-probabilities f32[B, Y] at the mean of p(Z|X), or at a sample from it if `noise` is given."""
        mean, scale = self.encode(images)
        return self.classify(mean if noise is None else mean + scale * noise.normal(*mean.shape))
