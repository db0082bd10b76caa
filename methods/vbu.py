"""VBU: variational Bayesian unlearning, on the representation."""

from typing import Any, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.divergences import kl_gaussians
from unlearnbench.plugin import Batch, LossMethod, Models, Noise, UnlearnParams


class Vbu(LossMethod):
    """The evidence upper bound of Nguyen et al. (Eq. 5) with p(Z|x) in the place of the posterior over weights, as the
    CRFU paper compares:

        forget * mean log p(y_e|z) + remember * KL[p(Z|x_e) || p_fix(Z|x_e)],    z ~ p(Z|x_e)

    This is what the CRFU paper compares with, and the weights 0.1 and 0.1 are its released code's. It is not the method
    as published, whose bound is on a posterior over WEIGHTS, with a mask on the likelihood: read its rows so.
    """

    paper = "Nguyen, Low, Jaillet: Variational Bayesian Unlearning, NeurIPS 2020"

    class Params(UnlearnParams):
        forget: float = Field(0.1, ge=0, description="weight of the erased labels' log-likelihood")
        remember: float = Field(0.1, ge=0, description="weight of the divergence from the frozen representation")
        reduction: Literal["mean", "sum"] = Field("mean", description="KL over latent dimensions")

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert erased is not None
        mean, scale = models.model.encode(erased.images)
        z = mean + scale * noise.normal(*mean.shape)
        likelihood = -F.cross_entropy(models.model.classify(z), erased.labels, reduction="none")
        kl = kl_gaussians(mean, scale, *models.frozen.encode(erased.images), self.params.reduction)
        return erased.mean(self.params.forget * likelihood + self.params.remember * kl)
