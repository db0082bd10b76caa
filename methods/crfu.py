"""CRFU: compressive representation forgetting unlearning."""

from typing import Any, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.plugin import Batch, LossMethod, Models, Noise, UnlearnParams
from unlearnbench.training.divergences import kl_categorical, kl_gaussians, kl_to_prior


class ReleasedWeights(NamedTuple):
    """Weights of the released loss."""

    remember: float  # KL[p || p_fix] of the representation
    prior: float  # KL[p || N(0, I)]
    ascent: float  # minus the cross-entropy
    uniform: float  # minus the mean log-softmax of z and of the logits


# Constants of the authors' scripts; the ResNets are CIFAR-10's and STL-10's, the MLP is MNIST's.
RELEASED = {"mlp": ReleasedWeights(0.1, 0.01, 0.1, 1e-4), "resnet18": ReleasedWeights(6e-8, 0.0, 0.1, 1e-4)}
PAPER_ONLY = {"beta", "beta_u", "label_reference", "reference_gradient", "remember", "reduction"}


class Crfu(LossMethod):
    """Uses minibatches of the erased set only, with the frozen original as p_fix, until the stop rule ends it.

    form paper: Eq. 13 / Algorithm 1,

        beta * (beta_u * KL[p(Z|x_e) || N(0, I)] + KL[p_fix(Z|x_e) || p(Z|x_e)])
        + beta_u * mean log p(y_e|z) + KL[p_fix(y|z) || p(y|z)],    z ~ p(Z|x_e)

    The log-likelihood is unbounded below: the scenario's stop rule is part of the method. The paper leaves two things
    open. One is the z at which the frozen approximator is evaluated: Algorithm 1 uses the current z (the default, and
    the gradient passes through it); with `frozen_z` a model that is sure of y_e does not forget for beta_u < 1. The
    other is the direction of the KL, on which Eqs. 11 and 13 disagree; Algorithm 1's is the default. beta is the
    scenario's distortion rate, as Definition 1 asks, unless the method's own `beta` is set.

    form released: what the authors' public code minimises,

        a * KL[p(Z|x_e) || p_fix(Z|x_e)] + b * KL[p(Z|x_e) || N(0, I)] - c * CE(y_e|z)
        - d * (mean log_softmax(z) + mean log_softmax(logits))

    with a, b, c, d = 0.1, 0.01, 0.1, 1e-4 for the MLP (MNIST) and 6e-8, 0, 0.1, 1e-4 for a ResNet (CIFAR-10, STL-10),
    for which it amounts to gradient ascent; KLs are means over the latent dimensions. It departs from the paper: the KL
    that remembers the representation has the other direction, the term that remembers the labels is replaced by the
    frozen model's cross-entropy (which has no gradient and is left out here), there is no beta_u, and a pull towards
    uniform z and outputs is added. The authors' Fashion-MNIST script keeps the label term and adds the error of
    an untrained decoder; that variant is not offered.
    """

    version = 2
    paper = "Wang, Zhang, Tian, Liu, Yu: CRFU, 2024"

    class Params(UnlearnParams):
        form: Literal["paper", "released"] = Field("paper", description="Eq. 13, or the authors' public code")
        beta: float | None = Field(None, ge=0, description="distortion rate while unlearning; null: the scenario's")
        beta_u: float = Field(0.1, ge=0, description="unlearning rate: weight of the forgetting terms")
        label_reference: Literal["current_z", "frozen_z"] = Field(
            "current_z", description="z at which the frozen approximator is evaluated: the current representer's or the"
            " frozen one's")  # fmt: skip
        reference_gradient: bool = Field(
            True, description="whether the gradient passes through p_fix(y|z) to the current representer")  # fmt: skip
        remember: Literal["fixed_first", "current_first"] = Field(
            "fixed_first", description="KL[p_fix||p] (Eq. 11, Algorithm 1) or KL[p||p_fix] (Eq. 13)")  # fmt: skip
        reduction: Literal["mean", "sum"] | None = Field(
            None, description="KL over latent dimensions; null: as the original was trained")  # fmt: skip

        @model_validator(mode="after")
        def _of_one_form(self) -> Self:
            if self.form == "released":
                self.refuse(PAPER_ONLY, "form 'released'")
            return self

    needs = ("posterior",)

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert erased is not None
        return (self._paper if self.params.form == "paper" else self._released)(models, erased, noise)

    def _paper(self, models: Models, erased: Batch, noise: Noise) -> Tensor:
        beta_u = self.params.beta_u
        beta = models.scenario.beta if self.params.beta is None else self.params.beta
        reduction = self.params.reduction or models.scenario.training.kl_reduction
        mean, scale = models.model.encode(erased.images)
        eps = noise.normal(*mean.shape)
        z = mean + scale * eps
        fixed_mean, fixed_scale = models.frozen.encode(erased.images)
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

    def _released(self, models: Models, erased: Batch, noise: Noise) -> Tensor:
        weights = RELEASED.get(models.scenario.network.name, RELEASED["mlp"])
        mean, scale = models.model.encode(erased.images)
        z = mean + scale * noise.normal(*mean.shape)
        logits = models.model.classify(z)
        remember = kl_gaussians(mean, scale, *models.frozen.encode(erased.images), "mean")
        ascent = -F.cross_entropy(logits, erased.labels, reduction="none")
        uniform = -(F.log_softmax(z, dim=-1).mean(-1) + F.log_softmax(logits, dim=-1).mean(-1))
        return erased.mean(
            weights.remember * remember
            + weights.prior * kl_to_prior(mean, scale, "mean")
            + weights.ascent * ascent
            + weights.uniform * uniform
        )
