"""HBU: Hessian-based unlearning: Newton and diagonal steps, the released code, and certified removal."""

import sys
from collections.abc import Callable, Mapping, Sequence
from math import exp, isfinite, log, sqrt
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.func import grad
from torch.nn import functional as F

from unlearnbench.plugin import (
    Batch,
    Context,
    ErasureSets,
    Images,
    Models,
    Noise,
    Phase,
    PluginParams,
    Scenario,
    Stack,
    TransformMethod,
    stream,
)
from unlearnbench.training.curvature import (
    TINY,
    Product,
    Vector,
    axpy,
    conjugate_gradients,
    dot,
    gauss_newton,
    hessian,
    hutchinson_diagonal,
    images_at_once,
    mean_in_chunks,
    product_in_chunks,
    random_signs,
)
from unlearnbench.training.objectives import InformationBottleneckLoss, l2_penalty

PAPER_ONLY = {"solver", "curvature", "damping", "step", "radius", "solver_steps", "probes", "curvature_images", "batch"}
# Constants of the authors' scripts: the MLP is for MNIST and Fashion-MNIST, the ResNet for CIFAR-10 and STL-10.
HESSIAN_RATE = {"resnet18": 5e-9, "plain_resnet18": 5e-9}
OTHER_HESSIAN_RATE = 1e-4
FIRST_MOMENT, SECOND_MOMENT = 0.1, 1e-3  # 1 - Adam's decay rates, of moments that start at zero in every step
# Images per evaluation of a gradient or a curvature: a Hessian product with a ResNet takes about 35 MB per image.
SMALL_CHUNK, CHUNK = 2_000, 32


class Hbu(TransformMethod):
    """theta + H_r^-1 g_e: a step from the optimum on all data to the optimum on the remaining data.

    form paper, solver newton (Guo et al. 2020, Eq. 3; Sekhari et al. 2021, Algorithm 1), written as sums:

        g_e = sum over the erased of     grad CE(theta) + lambda theta
        H_r = sum over the remaining of  hess CE(theta) + (lambda + damping) I

    with lambda = training.l2 and the cross-entropy at the mean of p(Z|x); the KL of an information-bottleneck model is
    left out of both. At the optimum of all data grad L_r = -g_e, so the first full step (step 1, radius null, damping
    0, all images) is Newton's on the remaining loss L_r and leaves an error of the order of ||theta - theta_r||^2; on a
    quadratic loss it is retraining. Later steps are NOT Newton's on L_r: the right-hand side remains the gradient of
    the erased images, so each step goes further uphill on their loss, and something else has to stop it. The papers
    take one step (`steps: 1`), which hardly moves a network that is sure of the erased images, and the CRFU paper runs
    its baseline until the backdoor is gone. So by default steps are repeated under the scenario's stop rule, on
    minibatches and within a trust region, neither of which is in the papers. The system with H_r is solved by conjugate
    gradients. A network's Hessian is indefinite, so `gauss_newton` replaces it (for the linear network they are equal);
    where `hessian` has a direction of negative curvature the step is NaN and the harness fails the cell: raise damping.

    form paper, solver diagonal: diag(H_r) + damping instead of H_r, with |h| for the Hessian's Hutchinson
    diagonal h (AdaHessian, Yao et al. 2021, Eqs. 7 and 9, without its spatial and temporal averages).

    form released, the CRFU authors' public code: on minibatches of both sets, of `training.batch` images,

        theta + c g_e / (sqrt(0.001) |h| + lr),    c = 0.1 (0.1 lr + hessian_rate)

    where g_e is the gradient of the training loss CE + beta KL at a sampled z on the erased minibatch, h is one probe
    of the Hutchinson diagonal of the same loss on the remaining minibatch, and lr = training.lr. The code takes an
    AdaHessian step uphill with moments that start at zero each time (0.1 g and 0.001 h^2), and applies it twice, with
    0.1 lr and with hessian_rate.

    Certified removal (`perturbation`: sigma > 0): theta + N(0, sigma^2 I) is returned. On the linear network with
    lambda > 0 the mean remaining loss is lambda-strongly convex, so ||theta - theta_r|| <= ||grad L_r(theta)|| / lambda
    = Delta holds however theta was computed; the gradient is measured at theta, before the noise, in float64. Then
    theta + noise and theta_r + noise are (epsilon, delta)-indistinguishable, both ways, with the smallest epsilon that
    the Gaussian mechanism gives at sensitivity Delta (Balle and Wang 2018, Theorem 8, exact for every epsilon).
    `certified_epsilon`, a mean over erasures, and `certified_delta` are recorded. What this means: theta_r is the exact
    minimiser, retrained WITHOUT perturbation, and both are perturbed alike, in exact arithmetic. Delta is measured for
    this very erasure, as by Guo et al. (section 3.3), so it depends on the data and is itself not private; it is not a
    bound for other data, nor for several releases. The noise is added to the result (Sekhari et al.), not to the
    objective (Guo et al.). On other networks nothing is certified or recorded.
    """

    version = 2
    paper = "Guo, Goldstein, Hannun, van der Maaten: Certified Data Removal, ICML 2020"

    class Params(PluginParams):
        form: Literal["paper", "released"] = Field("paper", description="the literature's, or the CRFU authors' code")
        solver: Literal["newton", "diagonal"] = Field(
            "newton", description="all of H_r, by conjugate gradients, or only its diagonal")  # fmt: skip
        curvature: Literal["gauss_newton", "hessian"] | None = Field(
            None, description="what H_r is; null: gauss_newton for solver newton, hessian for diagonal")  # fmt: skip
        damping: float = Field(
            0.01, ge=0, description="added to the MEAN curvature's diagonal; 0 needs training.l2 > 0")  # fmt: skip
        step: float = Field(1.0, gt=0, description="length of a step; 1 is the Newton step")
        radius: float | None = Field(
            0.1, gt=0, description="largest Euclidean length of a step, the trust region; null: none")  # fmt: skip
        solver_steps: int = Field(10, ge=1, description="newton: conjugate-gradient iterations per step")
        probes: int = Field(1, ge=1, description="diagonal: random probes per step, averaged")
        curvature_images: int | None = Field(
            256, ge=1, description="remaining images on which a step measures the curvature; null: all, with a copy in"
            " memory for each of scenario.replicas")  # fmt: skip
        batch: int | None = Field(200, ge=1, description="erased images per step; null: all")
        steps: int | None = Field(
            None, ge=1, description="most steps, the stop rule may end them earlier; 1: as published; null: until the"
            " stop rule ends it")  # fmt: skip
        hessian_rate: float | None = Field(
            None, ge=0, description="released: its second rate; null: 5e-9 for resnet18, 1e-4 for others")  # fmt: skip
        perturbation: float | None = Field(
            None, gt=0, description="standard deviation of noise added to each parameter at the end; null: none"
        )  # fmt: skip
        delta: float = Field(1e-5, gt=0, lt=1, description="delta of the certificate that a perturbation gives")

        @model_validator(mode="after")
        def _of_one_form(self) -> Self:
            if self.form == "released":
                self.refuse(PAPER_ONLY, "form 'released'")
            else:
                self.refuse({"hessian_rate"}, "form 'paper'")
                self.refuse({"probes" if self.solver == "newton" else "solver_steps"}, f"solver '{self.solver}'")
            if self.perturbation is None:
                self.refuse({"delta"}, "a method without perturbation")
            return self

    def skip(self, scenario: Scenario) -> str | None:
        if self.params.form == "paper" and self.params.damping + scenario.training.l2 == 0:
            return "damping 0 needs training.l2 > 0: the curvature alone can't be inverted"
        return None

    def phases(self, context: Context) -> list[Phase]:
        params, batch = self.params, context.scenario.training.batch
        if params.form == "released":
            return [Phase(other=True, batch=batch, other_batch=batch, steps=params.steps)]
        return [
            Phase(
                other=True,
                batch=params.batch,
                other_batch=params.curvature_images or sys.maxsize,
                other_passes=params.solver_steps if params.solver == "newton" else params.probes,
                steps=params.steps,
            )
        ]

    def transform(
        self, models: Models, erased: Batch | None, remaining: Batch | None, noise: Noise
    ) -> Mapping[str, Tensor]:
        assert erased is not None
        assert remaining is not None
        step = self._released_step if self.params.form == "released" else self._paper_step
        return step(models, erased, remaining, noise)

    # --- form paper ---------------------------------------------------------------------------------------------------

    def _paper_step(self, models: Models, erased: Batch, remaining: Batch, noise: Noise) -> Vector:
        values: Vector = dict(models.model.params)
        size = images_at_once(models.scenario, SMALL_CHUNK, CHUNK)
        penalty = models.scenario.training.l2
        gradient = mean_in_chunks(lambda part: dict(grad(_cross_entropy(models, part))(values)), erased, size)
        gradient = axpy(penalty, values, gradient)
        curvature = product_in_chunks(lambda part: self._curvature(models, part), remaining, size)
        if self.params.solver == "newton":
            shift = self.params.damping + penalty
            direction = conjugate_gradients(
                lambda vector: axpy(shift, vector, curvature(vector)), gradient, self.params.solver_steps
            )
        else:
            h = self._diagonal(curvature, values, noise)
            direction = {n: g / ((h[n] + penalty).abs() + self.params.damping) for n, g in gradient.items()}
        # Means to sums: both sides of the equation are divided by the number of remaining images.
        length = self.params.step * models.erased_size / models.remaining_size
        if self.params.radius is None:
            return axpy(length, direction, values)
        reach = length * dot(direction, direction).sqrt()
        return axpy(length * (self.params.radius / reach.clamp_min(TINY)).clamp(max=1.0), direction, values)

    def _curvature(self, models: Models, part: Batch) -> Product:
        """Curvature of the mean cross-entropy, without penalty and damping."""
        values: Vector = dict(models.model.params)
        chosen = self.params.curvature or ("gauss_newton" if self.params.solver == "newton" else "hessian")
        if chosen == "hessian":
            return hessian(_cross_entropy(models, part), values)
        return gauss_newton(lambda params: models.model.with_params(params)(part.images), values, part)

    def _diagonal(self, curvature: Product, values: Vector, noise: Noise) -> Vector:
        total = {name: torch.zeros_like(value) for name, value in values.items()}
        for _ in range(self.params.probes):
            total = axpy(1 / self.params.probes, hutchinson_diagonal(curvature, random_signs(values, noise)), total)
        return total

    # --- form released ------------------------------------------------------------------------------------------------

    def _released_step(self, models: Models, erased: Batch, remaining: Batch, noise: Noise) -> Vector:
        values: Vector = dict(models.model.params)
        training = models.scenario.training
        training_loss = InformationBottleneckLoss(models.scenario.beta, training).loss

        def loss(batch: Batch) -> Callable[[Vector], Tensor]:
            """At one sample of z, so it may be evaluated only once."""
            return lambda params: training_loss(
                models._replace(model=models.model.with_params(params)), None, batch, None, noise
            )

        h = hutchinson_diagonal(hessian(loss(remaining), values), random_signs(values, noise))
        g = mean_in_chunks(lambda part: dict(grad(loss(part))(values)), erased, len(erased.labels))  # one
        c = self.released_rate(models.scenario)
        return {n: v + c * g[n] / (sqrt(SECOND_MOMENT) * h[n].abs() + training.lr) for n, v in values.items()}

    def released_rate(self, scenario: Scenario) -> float:
        """The factor c of form released."""
        rate: float | None = self.params.hessian_rate
        if rate is None:
            rate = HESSIAN_RATE.get(scenario.network.name, OTHER_HESSIAN_RATE)
        return FIRST_MOMENT * (0.1 * scenario.training.lr + rate)

    # --- certified removal --------------------------------------------------------------------------------------------

    def unlearn_many(self, before: Stack, sets: ErasureSets, context: Context) -> Stack:
        after = context.transform(self, before, sets)
        sigma, scenario = self.params.perturbation, context.scenario
        if sigma is None:
            return after
        if scenario.network.name == "linear" and scenario.training.l2 > 0:
            self._certify(after, sets, context)
        return perturbed(after, context.seeds, sigma)

    def _certify(self, after: Stack, sets: ErasureSets, context: Context) -> None:
        penalty, found = context.scenario.training.l2, []
        for k in range(sets.replicas):
            distance = remaining_gradient(after, k, sets.splits(k).remaining, penalty) / penalty
            found.append(gaussian_epsilon(distance / self.params.perturbation, self.params.delta))
        context.samples += sets.remaining_size
        context.record("certified_epsilon", torch.tensor(found, dtype=torch.float64))
        context.record("certified_delta", torch.full((sets.replicas,), self.params.delta, dtype=torch.float64))


def _cross_entropy(models: Models, batch: Batch) -> Callable[[Vector], Tensor]:
    """Mean cross-entropy of a batch at the mean of p(Z|x), as a function of the parameters."""

    def loss(params: Vector) -> Tensor:
        logits = models.model.with_params(params)(batch.images)
        return batch.mean(F.cross_entropy(logits, batch.labels, reduction="none"))

    return loss


def remaining_gradient(stack: Stack, replica: int, remaining: Images, penalty: float) -> float:
    """||grad of the mean remaining cross-entropy + penalty / 2 |theta|^2||, in float64."""
    model = stack.module(replica).double()
    params = dict(model.named_parameters())
    l2_penalty(params, penalty).backward()
    for pixels, labels in zip(remaining.pixels.split(SMALL_CHUNK), remaining.labels.split(SMALL_CHUNK), strict=True):
        (F.cross_entropy(model(pixels.double() / 255), labels, reduction="sum") / len(remaining)).backward()
    squares = [value.grad.square().sum() for value in params.values() if value.grad is not None]
    return float(torch.stack(squares).sum().sqrt())


def gaussian_epsilon(ratio: float, delta: float) -> float:
    """The smallest epsilon at which N(0, I) and N(m, I) with ||m|| = ratio are (epsilon, delta)-indistinguishable.

    Theorem 8 of Balle and Wang (ICML 2018): Phi(r/2 - e/r) - exp(e) Phi(-r/2 - e/r) <= delta, solved for e; infinite
    where the ratio is not finite.
    """
    from scipy.optimize import brentq
    from scipy.special import log_ndtr, ndtr

    if not isfinite(ratio):
        return float("inf")

    def excess(epsilon: float) -> float:
        return float(ndtr(ratio / 2 - epsilon / ratio) - exp(epsilon + log_ndtr(-ratio / 2 - epsilon / ratio))) - delta

    if ratio == 0 or excess(0.0) <= 0:
        return 0.0
    enough = ratio**2 / 2 + ratio * sqrt(2 * log(1 / delta))  # from concentrated differential privacy
    return float(brentq(excess, 0.0, enough, xtol=1e-12 * enough))


def perturbed(stack: Stack, seeds: Sequence[int], sigma: float) -> Stack:
    """The stack with N(0, sigma^2) added to every parameter, from a separate stream for each replica."""
    streams = [stream(seed, "perturbation") for seed in seeds]
    moved = {}
    for name, value in stack.params.items():
        noise = np.stack([one.standard_normal(value.shape[1:]) for one in streams])
        moved[name] = value + sigma * torch.from_numpy(noise).to(value)
    return stack.with_tensors({**stack.tensors, **moved})
