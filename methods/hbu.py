"""HBU: Hessian-based unlearning, iterated damped Newton steps."""

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor
from torch.func import grad
from torch.nn import functional as F

from unlearnbench.context import Context
from unlearnbench.curvature import TINY, Vector, axpy, conjugate_gradients, dot, gauss_newton
from unlearnbench.plugin import Batch, Models, Noise, Phase, TransformMethod
from unlearnbench.settings import PluginParams


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
