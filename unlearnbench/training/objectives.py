"""The shared trainer, cross-entropy plus beta times the KL of the representation to its prior (CRFU paper, Eq. 2), and
what methods share of their losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.func import grad
from torch.nn import functional as F

from unlearnbench.models.noise import Noise
from unlearnbench.models.stack import Functional
from unlearnbench.settings.scenario import Training
from unlearnbench.splits.batches import Batch
from unlearnbench.training.curvature import Vector, axpy, conjugate_gradients, dot, gauss_newton
from unlearnbench.training.divergences import Reduction, kl_to_prior
from unlearnbench.training.phases import Models, Objective, Phase, Transformation

NEWTON_SOLVER_STEPS = 100  # conjugate gradients of one Newton step


def image_losses(model: Functional, batch: Batch, beta: float, reduction: Reduction, noise: Noise) -> Tensor:
    """CE(y | z) + beta * KL[p(Z|x) || N(0, I)] of each image with z drawn from p(Z|x), f32[B] (Eq. 2); for networks
    without p(Z|x) the cross-entropy."""
    if not model.has_posterior:
        return F.cross_entropy(model(batch.images), batch.labels, reduction="none")
    mean, scale = model.encode(batch.images)
    z = mean + scale * noise.normal(*mean.shape)
    cross_entropy = F.cross_entropy(model.classify(z), batch.labels, reduction="none")
    return cross_entropy + beta * kl_to_prior(mean, scale, reduction)


class InformationBottleneckLoss(Objective):
    """The losses of images (`image_losses`) on the remaining set.

    With an L2 weight, half of it times the parameters' squared length is added.
    """

    def __init__(self, beta: float, training: Training) -> None:
        self.beta, self.training = beta, training

    def phases(self, context: Any) -> Sequence[Phase]:
        return [training_phase(context.scenario.training)]

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert remaining is not None
        value = remaining.mean(image_losses(models.model, remaining, self.beta, self.training.kl_reduction, noise))
        if self.training.l2:
            value = value + l2_penalty(models.model.params, self.training.l2)
        return value


class MaskedTrainingLoss(InformationBottleneckLoss):
    """The same, with a weight for each member of the training set; the weights are the method's state, f32[m]."""

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert remaining is not None
        masked = remaining._replace(weight=remaining.weight * state[remaining.rows])
        return super().loss(models, erased, masked, state, noise)


class NewtonTraining(Transformation):
    """One Newton step on the mean cross-entropy of the whole remaining set plus the L2 penalty.

    For the linear network the Gauss-Newton matrix is the Hessian and the loss is convex: a few steps reach the optimum
    up to rounding. So models trained on equal data have equal parameters, and exact answers can be checked.
    """

    def __init__(self, training: Training) -> None:
        self.l2 = training.l2

    def phases(self, context: Any) -> Sequence[Phase]:
        return [newton_phase(context.scenario.training)]

    def transform(
        self, models: Models, erased: Batch | None, remaining: Batch | None, noise: Noise
    ) -> Mapping[str, Tensor]:
        assert remaining is not None
        params: Vector = dict(models.model.params)

        def loss(values: Vector) -> Tensor:
            logits = models.model.with_params(values)(remaining.images)
            fit = remaining.mean(F.cross_entropy(logits, remaining.labels, reduction="none"))
            return fit + l2_penalty(values, self.l2)

        curvature = gauss_newton(lambda values: models.model.with_params(values)(remaining.images), params, remaining)
        step = conjugate_gradients(
            lambda vector: axpy(self.l2, vector, curvature(vector)), dict(grad(loss)(params)), NEWTON_SOLVER_STEPS
        )
        return axpy(-1.0, step, params)


def training_loss(models: Models, batch: Batch, noise: Noise) -> Tensor:
    """The loss that the original was trained with, on a batch of any set: for methods that continue training."""
    loss = InformationBottleneckLoss(models.scenario.beta, models.scenario.training)
    return loss.loss(models, None, batch, None, noise)


def wrong_labels(models: Models, erased: Batch, noise: Noise) -> Tensor:
    """One label for each image, i64[B], uniform over the classes that are not its own."""
    classes = models.frozen(erased.images[:1]).shape[-1]
    # Rounding may lift a number just below 1 up to the number of other classes, which stands for the image's own label.
    others = (noise.uniform(len(erased.labels)) * (classes - 1)).long().clamp(max=classes - 2)
    return (erased.labels + 1 + others) % classes


def l2_penalty(params: Mapping[str, Tensor], weight: float) -> Tensor:
    """weight / 2 * |theta|^2; inside a mean over samples it counts once per sample (Guo et al., 2020, section 3)."""
    vector = dict(params)
    penalty: Tensor = 0.5 * weight * dot(vector, vector)
    return penalty


def training_phase(training: Training) -> Phase:
    """All epochs of training, on the remaining set, which is the whole training set if nothing is erased."""
    return Phase(
        over="remaining", batch=training.batch, epochs=training.epochs, lr=training.lr, clip=training.clip, stop=False
    )


def newton_phase(training: Training) -> Phase:
    """One step per epoch, on the whole remaining set."""
    return Phase(over="remaining", batch=None, epochs=training.epochs, stop=False)
