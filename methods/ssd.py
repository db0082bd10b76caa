"""SSD, selective synaptic dampening: shrink the weights that matter more to the erased images than to all images."""

import sys
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional as F

from unlearnbench.plugin import Batch, Context, Models, Noise, Phase, PluginParams, TransformMethod
from unlearnbench.training.curvature import TINY, Vector, images_at_once, mean_in_chunks

# Images whose gradients, each as large as the model, are in memory at once for each of scenario.replicas.
SMALL_CHUNK, CHUNK = 16, 1


class Ssd(TransformMethod):
    """One step, without training. With the diagonal of the empirical Fisher information of a set D,

        I_D = mean over D of (grad log p(y|x))^2        weight by weight, at the mean of p(Z|x)

        theta_i <- min(dampening * I_all,i / I_e,i, 1) * theta_i    where I_e,i > selection * I_all,i

    (Eqs. 7 and 8 of the paper with selection for alpha and dampening for lambda; 10 and 1 are its values for a ResNet.)
    I_all is over all data, erased images included; its remaining part is measured on `images` random remaining images,
    whereas the paper uses all. Gradients are squared image by image, as Fisher information is defined; the paper's code
    squares the mean gradient of a minibatch, which for large minibatches is a different and far smaller number. The
    scenario's stop rule is not applied: there is nothing to stop.
    """

    paper = "Foster, Schoepf, Brintrup: Selective Synaptic Dampening, AAAI 2024"

    class Params(PluginParams):
        selection: float = Field(
            10.0, gt=0, description="alpha: how many times larger the erased images' importance is"
        )
        dampening: float = Field(1.0, gt=0, description="lambda: factor on what is left; smaller dampens more")
        images: int | None = Field(1024, ge=1, description="remaining images for measuring importance; null: all")

    def phases(self, context: Context) -> list[Phase]:
        return [Phase(other=True, batch=None, other_batch=self.params.images or sys.maxsize, steps=1, stop=False)]

    def transform(
        self, models: Models, erased: Batch | None, remaining: Batch | None, noise: Noise
    ) -> Mapping[str, Tensor]:
        assert erased is not None
        assert remaining is not None
        of_erased, of_remaining = fisher_diagonal(models, erased), fisher_diagonal(models, remaining)
        share = models.erased_size / (models.erased_size + models.remaining_size)
        dampened = {}
        for name, value in models.model.params.items():
            erased_only, everything = of_erased[name], share * of_erased[name] + (1 - share) * of_remaining[name]
            factor = (self.params.dampening * everything / erased_only.clamp_min(TINY)).clamp(max=1.0)
            dampened[name] = torch.where(erased_only > self.params.selection * everything, factor * value, value)
        return dampened


def fisher_diagonal(models: Models, batch: Batch) -> Vector:
    """Mean over a batch of the squared gradient of log p(y|x), of the shapes of the parameters."""
    values = dict(models.model.params)

    def log_likelihood(params: Vector, image: Tensor, label: Tensor) -> Tensor:
        return -F.cross_entropy(models.model.with_params(params)(image[None]), label[None])

    def squares(part: Batch) -> Vector:
        gradients = vmap(grad(log_likelihood), in_dims=(None, 0, 0))(values, part.images, part.labels)
        weight = part.weight / part.weight.sum()
        return {name: torch.einsum("b,b...->...", weight, g.square()) for name, g in gradients.items()}

    return mean_in_chunks(squares, batch, images_at_once(models.scenario, SMALL_CHUNK, CHUNK))
