"""VBU: variational Bayesian unlearning, on weights or on the representation."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnbench.models.mean_field import MeanField, Posterior, Weights, with_weights
from unlearnbench.plugin import (
    Batch,
    Capability,
    Context,
    ErasureSets,
    Images,
    LossMethod,
    Models,
    Noise,
    Phase,
    Scenario,
    Stack,
    UnlearnParams,
    derive,
)
from unlearnbench.training.divergences import kl_gaussians
from unlearnbench.training.objectives import image_losses, training_phase
from unlearnbench.training.phases import Objective

WEIGHTS_ONLY = {"divergence", "draws", "prior_scale", "initial_scale"}
PAPER_ONLY = {*WEIGHTS_ONLY, "temperature", "log_threshold"}


class Vbu(LossMethod):
    """Minimises a bound on the distance to the posterior of retraining, on minibatches of the erased set.

    form paper, space weights: Nguyen et al. as published, with a mean-field Gaussian q(w) over all weights. The
    original is a posterior q(w|D) of this method's own, trained with the evidence lower bound (prior
    N(0, prior_scale^2), reparameterised draws of the weights), and queried at its mean. divergence eubo (sections 3.2
    and 4.1):

        E_q(w)[log p_adj(D_e|w)] + temperature * KL[q(w) || q(w|D)]

    where log p_adj is log p if q(w|D) exceeds lambda times its peak, else 0: elsewhere q(w|D) says nothing, and without
    the mask the bound has no minimum where erasing would leave a negative precision. divergence reverse_kl (section
    4.2): -E_q(w|D)[log q(w) / p_adj(D_e|w)] over draws from q(w|D), with importance weights normalised over the draws
    of a step. Minibatches represent the whole erased set: their mean log-likelihood counts |D_e| times. With thousands
    of weights a fixed lambda > 0 would mask every draw (log q is on average 1/2 per weight below its peak), so
    log_threshold is per weight.

    form paper, space representation (default): the same bound for each erased image, with p(Z|x) instead of the
    posterior and z instead of w, starting from the shared original. This is what the CRFU paper compares with:

        mean log p_adj(y_e|z) + temperature * KL[p(Z|x_e) || p_fix(Z|x_e)],    z ~ p(Z|x_e)

    It departs from the published method: there is no distribution over weights, and no KL constrains the weights of the
    approximator.

    form released: the CRFU authors' public code. As space representation, but without the mask, with a weight of 0.1 on
    both terms, and with the KL as a mean over latent dimensions.
    """

    version = 2
    paper = "Nguyen, Low, Jaillet: Variational Bayesian Unlearning, NeurIPS 2020"

    class Params(UnlearnParams):
        form: Literal["paper", "released"] = Field(
            "paper", description="the published bound, or the CRFU authors' public code"
        )
        space: Literal["representation", "weights"] = Field(
            "representation",
            description="what is unlearned: p(Z|x), or q(w), the distribution of weights, as published",
        )
        divergence: Literal["eubo", "reverse_kl"] = Field("eubo", description="weights: which bound is minimised")
        temperature: float = Field(
            1.0,
            ge=0,
            description="weight of every KL, also in training q(w|D); 1: Bayes' rule; below 1: a cold posterior",
        )
        log_threshold: float | None = Field(
            None, lt=0, description="log lambda of the adjusted likelihood, nats per weight or latent dimension; null:"
            " lambda = 0, no mask")  # fmt: skip
        draws: int = Field(8, ge=2, description="reverse_kl: draws of the weights per step")
        prior_scale: float = Field(0.1, gt=0, description="weights: standard deviation of the prior")
        initial_scale: float = Field(0.01, gt=0, description="weights: scale of the posterior when training starts")

        @model_validator(mode="after")
        def _of_one_form(self) -> Self:
            if self.form == "released":
                self.refuse({*PAPER_ONLY, "space"}, "form 'released'")
            elif self.space == "representation":
                self.refuse(WEIGHTS_ONLY, "space 'representation'")
            return self

    # --- the original -----------------------------------------------------------------------------------------------

    @property
    def own_original(self) -> bool:
        return bool(self.params.space == "weights")

    @property
    def needs(self) -> Sequence[Capability]:
        return () if self.own_original else ("posterior",)

    def build(self, context: Context) -> nn.Module:
        return MeanField(context.build(0), self.params.initial_scale) if self.own_original else super().build(context)

    def train(self, data: Images, context: Context) -> nn.Module | None:
        if not self.own_original:
            return None
        start = MeanField(context.build(derive(context.seeds[0], "init")), self.params.initial_scale)
        everyone = torch.arange(len(data), device=data.labels.device)
        sets = ErasureSets(data, everyone, everyone[None, :0])
        bound = EvidenceLowerBound(context.scenario, self.params.prior_scale, self.params.temperature)
        return context.minimise(bound, Stack.of([start]), sets, training=True).module(0)

    # --- unlearning -------------------------------------------------------------------------------------------------

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert erased is not None
        if self.params.space == "representation":
            return self._representation(models, erased, noise)
        if self.params.divergence == "eubo":
            return self._eubo(models, erased, noise)
        return self._reverse_kl(models, erased, noise)

    def _representation(self, models: Models, erased: Batch, noise: Noise) -> Tensor:
        mean, scale = models.model.encode(erased.images)
        fixed_mean, fixed_scale = models.frozen.encode(erased.images)
        z = mean + scale * noise.normal(*mean.shape)
        likelihood = log_likelihood(models.model.classify(z), erased.labels)
        if self.params.form == "released":
            return erased.mean(0.1 * likelihood + 0.1 * kl_gaussians(mean, scale, fixed_mean, fixed_scale, "mean"))
        below = -0.5 * ((z - fixed_mean) / fixed_scale).square().mean(-1)
        kl = kl_gaussians(mean, scale, fixed_mean, fixed_scale, "sum")
        return erased.mean(self._adjusted(likelihood, below) + self.params.temperature * kl)

    def _eubo(self, models: Models, erased: Batch, noise: Noise) -> Tensor:
        """The bound divided by |D_e|."""
        posterior, original = Posterior.of(models.model.params), Posterior.of(models.frozen.params)
        weights = posterior.draw(noise)
        mean = self._mean_log_likelihood(models, weights, erased, noise)
        likelihood = self._adjusted(mean, original.below_peak(weights))
        bound: Tensor = likelihood + self.params.temperature * posterior.kl(original) / models.erased_size
        return bound

    def _reverse_kl(self, models: Models, erased: Batch, noise: Noise) -> Tensor:
        """The cross-entropy of q(w) per weight, under draws from q(w|D) weighted by 1 / p_adj(D_e|w)."""
        posterior, original = Posterior.of(models.model.params), Posterior.of(models.frozen.params)
        likelihoods, densities = [], []
        for _ in range(self.params.draws):
            weights = original.draw(noise)
            mean = self._mean_log_likelihood(models, weights, erased, noise)
            likelihoods.append(self._adjusted(models.erased_size * mean, original.below_peak(weights)))
            densities.append(posterior.log_density(weights))
        share = torch.softmax(-torch.stack(likelihoods), 0).detach()
        cross_entropy: Tensor = -(share * torch.stack(densities)).sum() / posterior.size
        return cross_entropy

    def _mean_log_likelihood(self, models: Models, weights: Weights, erased: Batch, noise: Noise) -> Tensor:
        logits = with_weights(models.model, weights)(erased.images, noise)
        return erased.mean(log_likelihood(logits, erased.labels))

    def _adjusted(self, likelihood: Tensor, below: Tensor) -> Tensor:
        """log p_adj: 0 where the original posterior's density is too far below its peak."""
        if self.params.log_threshold is None:
            return likelihood
        return torch.where(below > self.params.log_threshold, likelihood, torch.zeros_like(likelihood))


def log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """log p(y) of each sample, f32[B]."""
    return -F.cross_entropy(logits, labels, reduction="none")


class EvidenceLowerBound(Objective):
    """Minus the bound that trains q(w|D), divided by |D|: the shared training loss (Eq. 2 of the CRFU paper) at drawn
    weights plus temperature * KL[q(w) || N(0, prior_scale^2)] / |D| (Blundell et al., 2015)."""

    def __init__(self, scenario: Scenario, prior_scale: float, temperature: float) -> None:
        self.scenario, self.prior_scale, self.temperature = scenario, prior_scale, temperature

    def phases(self, context: Context) -> list[Phase]:
        return [training_phase(context.scenario.training)]

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert remaining is not None
        posterior = Posterior.of(models.model.params)
        model = with_weights(models.model, posterior.draw(noise))
        fit = image_losses(model, remaining, self.scenario.beta, self.scenario.training.kl_reduction, noise)
        prior = posterior.kl_to_normal(self.prior_scale)
        return remaining.mean(fit) + self.temperature * prior / models.remaining_size
