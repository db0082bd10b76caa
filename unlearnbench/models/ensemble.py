"""Several models that answer as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnbench.models.noise import Noise
from unlearnbench.models.plain_network import has_features, has_posterior
from unlearnbench.models.vectorised import looped_in


class Ensemble(nn.Module):
    """Its representation, if its models have one, concatenates theirs; its prediction is the mean of their
    probabilities.

    Args:
        models: S models of one architecture.
        seed: of the partition of the training images. It is kept with the weights, so that an image's model can be
            found.
    """

    seed: Tensor

    def __init__(self, models: Sequence[nn.Module], seed: int) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.register_buffer("seed", torch.tensor(seed))

    @property
    def parts(self) -> list[Any]:
        """The S models."""
        return list(self.models)

    @property
    def has_posterior(self) -> bool:
        return all(map(has_posterior, self.models))

    @property
    def has_features(self) -> bool:
        return all(map(has_features, self.models))

    @property
    def looped(self) -> tuple[bool, bool]:
        """See PlainNetwork; models of one architecture are all alike."""
        return looped_in(self.parts[0])

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales f32[B, S * J]."""
        means, scales = zip(*(model.encode(images) for model in self.parts), strict=True)
        return torch.cat(means, 1), torch.cat(scales, 1)

    def represent(self, images: Tensor) -> Tensor:
        """Features f32[B, S * J]."""
        return torch.cat([model.represent(images) for model in self.parts], 1)

    def classify(self, z: Tensor) -> Tensor:
        """Log-probabilities f32[B, Y], which serve as logits."""
        pairs = zip(self.parts, z.chunk(len(self.models), dim=1), strict=True)
        return _together([model.classify(part) for model, part in pairs])

    def forward(self, images: Tensor, noise: Noise | None = None) -> Tensor:
        """Log-probabilities f32[B, Y] at the mean of p(Z|X), or at a sample from it if `noise` is given."""
        if not self.has_posterior:
            return _together([model(images) for model in self.parts])
        mean, scale = self.encode(images)
        return self.classify(mean if noise is None else mean + scale * noise.normal(*mean.shape))


def _together(logits: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of the models' probabilities."""
    each = torch.stack([F.log_softmax(one, dim=-1) for one in logits])
    return each.logsumexp(0) - math.log(len(logits))
