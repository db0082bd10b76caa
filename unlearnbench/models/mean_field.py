"""A mean-field Gaussian posterior over a model's weights: q(w) = N(mean, scale^2), independently for each weight.

Queried like any other model, it answers with its mean weights; losses draw weights from it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unlearnbench.models.noise import Noise
from unlearnbench.models.plain_network import has_features, has_posterior
from unlearnbench.models.stack import Functional
from unlearnbench.models.vectorised import looped_in

Weights = dict[str, Tensor]  # by the names of the underlying model's parameters
MEAN, LOG_SCALE = "mean.", "log_scale."


class MeanField(nn.Module):
    """A model whose weights are means, with the logarithm of a standard deviation for each of them.

    Args:
        base: the model whose values are the means.
        scale: initial standard deviation of every weight.
    """

    def __init__(self, base: nn.Module, scale: float) -> None:
        super().__init__()
        self.mean: Any = base
        self.log_scale = copy.deepcopy(base)  # never called: it holds one number per weight under the same names
        for value in self.log_scale.parameters():
            nn.init.constant_(value, math.log(scale))

    @property
    def has_posterior(self) -> bool:
        return has_posterior(self.mean)

    @property
    def has_features(self) -> bool:
        return has_features(self.mean)

    @property
    def looped(self) -> tuple[bool, bool]:
        """See PlainNetwork."""
        return looped_in(self.mean)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        encoded: tuple[Tensor, Tensor] = self.mean.encode(images)
        return encoded

    def represent(self, images: Tensor) -> Tensor:
        features: Tensor = self.mean.represent(images)
        return features

    def classify(self, z: Tensor) -> Tensor:
        logits: Tensor = self.mean.classify(z)
        return logits

    def forward(self, images: Tensor, noise: Noise | None = None) -> Tensor:
        logits: Tensor = self.mean(images, noise)
        return logits


class Posterior(NamedTuple):
    """Means and logarithms of standard deviations, by the weight's name."""

    means: Weights
    log_scales: Weights

    @classmethod
    def of(cls, params: Mapping[str, Tensor]) -> Posterior:
        """The posterior that a MeanField's parameters describe."""
        means = {name.removeprefix(MEAN): value for name, value in params.items() if name.startswith(MEAN)}
        return cls(means, {name: params[LOG_SCALE + name] for name in means})

    @property
    def size(self) -> int:
        """How many weights there are."""
        return sum(value.numel() for value in self.means.values())

    def draw(self, noise: Noise) -> Weights:
        """One draw of all weights, differentiable in the posterior's parameters."""
        parts = noise.normal(self.size).split([value.numel() for value in self.means.values()])
        return {
            name: mean + self.log_scales[name].exp() * part.view_as(mean)
            for (name, mean), part in zip(self.means.items(), parts, strict=True)
        }

    def log_density(self, weights: Weights) -> Tensor:
        """log q(w), up to the normal distribution's constant."""
        return -0.5 * self._squares(weights) - torch.stack([value.sum() for value in self.log_scales.values()]).sum()

    def below_peak(self, weights: Weights) -> Tensor:
        """log q(w) minus its largest value, per weight: -1/2 on average where w is drawn from q."""
        return -0.5 * self._squares(weights) / self.size

    def kl(self, other: Posterior) -> Tensor:
        """KL[self || other], summed over all weights.

        Computed from differences of logarithms, so that the gradient at equal posteriors is exactly zero: Adam would
        turn rounding errors into full-length steps.
        """
        parts = []
        for name, mean in self.means.items():
            change = self.log_scales[name] - other.log_scales[name]
            distance = (mean - other.means[name]) * (-other.log_scales[name]).exp()
            parts.append((0.5 * ((2 * change).exp() + distance.square() - 1) - change).sum())
        return torch.stack(parts).sum()

    def kl_to_normal(self, scale: float) -> Tensor:
        """KL[self || N(0, scale^2)], summed over all weights."""
        zeros = {name: torch.zeros_like(value) for name, value in self.means.items()}
        return self.kl(Posterior(zeros, {name: torch.full_like(v, math.log(scale)) for name, v in zeros.items()}))

    def _squares(self, weights: Weights) -> Tensor:
        """Squared distance of weights from the means, in standard deviations."""
        parts = [
            ((value - self.means[name]) * (-self.log_scales[name]).exp()).square().sum()
            for name, value in weights.items()
        ]
        return torch.stack(parts).sum()


def with_weights(model: Functional, weights: Weights) -> Functional:
    """A posterior's model at given weights."""
    return model.with_params({MEAN + name: value for name, value in weights.items()})
