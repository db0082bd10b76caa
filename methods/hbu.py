"""HBU: Hessian-based unlearning, iterated damped Newton steps."""

from collections.abc import Callable, Mapping

import torch
from pydantic import Field
from torch import Tensor
from torch.func import grad, jvp, vjp
from torch.nn import functional as F

from unlearnbench.context import Context
from unlearnbench.plugin import Batch, Models, Noise, Phase, TransformMethod
from unlearnbench.settings import PluginParams

Vector = dict[str, Tensor]
TINY = torch.finfo(torch.float32).tiny


class Hbu(TransformMethod):
    """theta + (H_r + damping I)^-1 g_e, again and again under the scenario's stop rule.

    g_e is the summed gradient of the erased images' cross-entropy, H_r the curvature of the remaining images' summed
    cross-entropy (Guo et al., Eq. 3), at the mean of p(Z|x). The Hessian of a network is indefinite, so H_r is the
    Gauss-Newton matrix, estimated on a fresh minibatch of the remaining set for every step and solved by conjugate
    gradients. As published it is a single step; on a network one step hardly moves a model that is sure of the erased
    images, and the CRFU paper runs its baseline until the backdoor is gone, so here it is iterated.
    """

    paper = "Guo, Goldstein, Hannun, van der Maaten: Certified Data Removal, ICML 2020"

    class Params(PluginParams):
        damping: float = Field(0.01, gt=0, description="added to the mean curvature's diagonal")
        step: float = Field(1.0, gt=0, description="length of a step; 1 is the Newton step")
        radius: float = Field(0.1, gt=0, description="largest Euclidean length of a step, the trust region")
        solver_steps: int = Field(10, ge=1, description="conjugate-gradient iterations a step")
        curvature_images: int = Field(256, ge=1, description="remaining images that a step's curvature is measured on")
        batch: int = Field(200, ge=1, description="erased images a step")

    def phases(self, context: Context) -> list[Phase]:
        params = self.params
        return [
            Phase(
                other=True,
                batch=params.batch,
                other_batch=params.curvature_images,
                other_passes=params.solver_steps,
            )
        ]

    def transform(
        self, models: Models, erased: Batch | None, remaining: Batch | None, noise: Noise
    ) -> Mapping[str, Tensor]:
        assert erased is not None
        assert remaining is not None
        model, params = models.model, dict(models.model.params)

        def erased_loss(values: Vector) -> Tensor:
            logits = model.with_params(values)(erased.images)
            return erased.mean(F.cross_entropy(logits, erased.labels, reduction="none"))

        curvature = gauss_newton(lambda values: model.with_params(values)(remaining.images), params, remaining)

        def damped(vector: Vector) -> Vector:
            return axpy(self.params.damping, vector, curvature(vector))

        direction = conjugate_gradients(damped, grad(erased_loss)(params), self.params.solver_steps)
        # Means to sums: both sides of the equation are divided by the number of remaining images.
        length = self.params.step * models.erased_size / models.remaining_size
        size = length * dot(direction, direction).sqrt()
        return axpy(length * (self.params.radius / size.clamp_min(TINY)).clamp(max=1.0), direction, params)


def gauss_newton(logits: Callable[[Vector], Tensor], params: Vector, batch: Batch) -> Callable[[Vector], Vector]:
    """v -> G v, with G = mean J' (diag p - p p') J of the cross-entropy over a batch; never negative."""
    output, pull_back = vjp(logits, params)  # type: ignore[misc] # two values without has_aux
    p = output.softmax(-1)
    share = (batch.weight / batch.weight.sum())[:, None]

    def product(vector: Vector) -> Vector:
        _, change = jvp(logits, (params,), (vector,))  # type: ignore[misc] # likewise
        curved = p * change - p * (p * change).sum(-1, keepdim=True)
        (result,) = pull_back(share * curved)
        return dict(result)

    return product


def conjugate_gradients(product: Callable[[Vector], Vector], right: Vector, steps: int) -> Vector:
    """Solve A x = right for a positive A in a fixed number of steps (no branch, so it runs under vmap)."""
    solution = {name: torch.zeros_like(value) for name, value in right.items()}
    residual, direction = dict(right), dict(right)
    square = dot(residual, residual)
    before: list[tuple[Vector, Tensor]] = []
    for _ in range(steps):
        image = product(direction)
        # A residual of zero is a solution: nothing more is added.
        length = square / dot(direction, image).clamp_min(TINY)
        solution = axpy(length, direction, solution)
        before.append((residual, square))
        residual = axpy(-length, image, residual)
        # Rounding turns residuals back towards earlier ones, and the solution into partly rounding: keep them apart.
        for earlier, its_square in before:
            residual = axpy(-dot(earlier, residual) / its_square.clamp_min(TINY), earlier, residual)
        following = dot(residual, residual)
        direction = axpy(following / square.clamp_min(TINY), direction, residual)
        square = following
    return solution


def axpy(factor: Tensor | float, first: Vector, second: Vector) -> Vector:
    """factor * first + second, by name."""
    return {name: factor * first[name] + second[name] for name in second}


def dot(first: Vector, second: Vector) -> Tensor:
    """Inner product over all names."""
    return torch.stack([(first[name] * second[name]).sum() for name in first]).sum()
