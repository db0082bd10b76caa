"""Variational inference: training a posterior over weights with the evidence lower bound (Blundell et al., 2015)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from unlearnbench.context import Context
from unlearnbench.divergences import kl_to_prior
from unlearnbench.models.mean_field import Posterior, with_weights
from unlearnbench.plugin import Batch, LossMethod, Models, Noise, Phase
from unlearnbench.settings import Scenario
from unlearnbench.training import training_phase


class EvidenceLowerBound(LossMethod):
    """Minus the bound that trains q(w|D), divided by |D|: the shared training loss (Eq. 2 of the CRFU paper) at drawn
    weights plus temperature * KL[q(w) || N(0, prior_scale^2)] / |D| (Blundell et al., 2015)."""

    def __init__(self, scenario: Scenario, prior_scale: float, temperature: float) -> None:
        super().__init__()
        self.scenario, self.prior_scale, self.temperature = scenario, prior_scale, temperature

    def phases(self, context: Context) -> list[Phase]:
        return [training_phase(context.scenario.training)]

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert remaining is not None
        posterior = Posterior.of(models.model.params)
        model = with_weights(models.model, posterior.draw(noise))
        mean, scale = model.encode(remaining.images)
        logits = model.classify(mean + scale * noise.normal(*mean.shape))
        cross_entropy = F.cross_entropy(logits, remaining.labels, reduction="none")
        kl_z = kl_to_prior(mean, scale, self.scenario.training.kl_reduction)
        fit = remaining.mean(cross_entropy + self.scenario.beta * kl_z)
        return fit + self.temperature * posterior.kl_to_normal(self.prior_scale) / models.remaining_size
