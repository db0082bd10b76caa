"""CRFU: compressive representation forgetting unlearning."""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.divergences import kl_categorical, kl_gaussians, kl_to_prior
from unlearnbench.plugin import Batch, LossMethod, Models, Noise, UnlearnParams


class Crfu(LossMethod):
    """Eq. 13 / Algorithm 1 on minibatches of the erased set, with a frozen copy of the model as p_fix:

        beta * (beta_u * KL[p(Z|x_e) || N(0, I)] + KL[p_fix(Z|x_e) || p(Z|x_e)])
        + beta_u * mean log p(y_e|z) + KL[p_fix(y|z) || p(y|z)],    z ~ p(Z|x_e)

    beta is the scenario's distortion rate, as Definition 1 asks. The log-likelihood is unbounded below: the scenario's
    stop rule is part of the method. The paper leaves open at which z the frozen approximator is read: Algorithm 1 has
    the current z (the default, through which the gradient passes); under `frozen_z` a model that is sure of y_e does
    not forget for beta_u < 1. Eqs. 11 and 13 disagree on the direction of the KL; Algorithm 1's is the default.
    """

    paper = "Wang, Zhang, Tian, Liu, Yu: CRFU, 2024"

    class Params(UnlearnParams):
        beta_u: float = Field(0.1, ge=0, description="unlearning rate: weight of the forgetting terms")
        label_reference: Literal["current_z", "frozen_z"] = Field(
            "current_z", description="z at which the frozen approximator is read: the current representer's or the"
            " frozen one's")  # fmt: skip
        reference_gradient: bool = Field(
            True, description="whether the gradient passes through p_fix(y|z) to the current representer")  # fmt: skip
        remember: Literal["fixed_first", "current_first"] = Field(
            "fixed_first", description="KL[p_fix||p] (Eq. 11, Algorithm 1) or KL[p||p_fix] (Eq. 13)")  # fmt: skip
        reduction: Literal["mean", "sum"] | None = Field(
            None, description="KL over latent dimensions; null: as the original was trained")  # fmt: skip

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert erased is not None
        x, beta, beta_u = erased.images, models.scenario.beta, self.params.beta_u
        reduction = self.params.reduction or models.scenario.training.kl_reduction
        mean, scale = models.model.encode(x)
        eps = noise.normal(*mean.shape)
        z = mean + scale * eps
        fixed_mean, fixed_scale = models.frozen.encode(x)
        fixed, current = (fixed_mean, fixed_scale), (mean, scale)
        pair = (*fixed, *current) if self.params.remember == "fixed_first" else (*current, *fixed)
        log_p = F.log_softmax(models.model.classify(z), dim=-1)
        representation = beta_u * kl_to_prior(mean, scale, reduction) + kl_gaussians(*pair, reduction)
        likelihood = log_p.gather(1, erased.labels[:, None]).squeeze(1)
        label = beta_u * likelihood + kl_categorical(self._label_reference(models, z, fixed, eps), log_p)
        return erased.mean(beta * representation + label)

    def _label_reference(self, models: Models, z: Tensor, fixed: tuple[Tensor, Tensor], eps: Tensor) -> Tensor:
        if self.params.label_reference == "frozen_z":
            z = fixed[0] + fixed[1] * eps
        elif not self.params.reference_gradient:
            z = z.detach()
        return torch.log_softmax(models.frozen.classify(z), dim=-1)
