"""The shared trainer: cross-entropy plus beta times the KL of the representation to its prior (CRFU paper, Eq. 2)."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor
from torch.nn import functional as F

from unlearnbench.divergences import kl_to_prior
from unlearnbench.plugin import Batch, LossMethod, Models, Noise, Phase
from unlearnbench.settings import Training


class InformationBottleneckLoss(LossMethod):
    """CE(y | z) + beta * KL[p(Z|x) || N(0, I)] with z drawn from p(Z|x), on the remaining set."""

    name = "training"

    def __init__(self, beta: float, reduction: Literal["mean", "sum"]) -> None:
        super().__init__()
        self.beta, self.reduction = beta, reduction

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert remaining is not None
        mean, scale = models.model.encode(remaining.images)
        z = mean + scale * noise.normal(*mean.shape)
        cross_entropy = F.cross_entropy(models.model.classify(z), remaining.labels, reduction="none")
        kl = kl_to_prior(mean, scale, self.reduction)
        return remaining.mean(cross_entropy + self.beta * kl)


def training_phase(training: Training) -> Phase:
    """All epochs of training, on the remaining set: with nothing erased that is the whole training set."""
    return Phase(
        over="remaining", batch=training.batch, epochs=training.epochs, lr=training.lr, clip=training.clip, stop=False
    )
