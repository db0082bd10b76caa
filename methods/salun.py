"""SalUn: random labels, taught only to the weights that matter for the erased images."""

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.func import grad
from torch.nn import functional as F

from unlearnbench.plugin import Batch, Context, LossMethod, Models, Noise, Phase, UnlearnParams
from unlearnbench.training.curvature import Vector, images_at_once, mean_in_chunks
from unlearnbench.training.objectives import training_loss, wrong_labels

# Images per evaluation of the gradient: a ResNet takes about 35 MB per image.
SMALL_CHUNK, CHUNK = 2_000, 32


class Salient(NamedTuple):
    """What is fixed before the first step: wrong labels i64[s], and 1 for each weight that may change, else 0."""

    labels: Tensor
    mask: Vector


class Salun(LossMethod):
    """theta = m * theta + (1 - m) * theta_fix, with the mask of salient weights

        m = 1 where |grad of the mean CE(y_e|x_e) at theta_fix| is among the largest `share` of all weights, else 0

    and minimises, on one minibatch of each set per step, with one random wrong label y' for every erased image,

        CE(y'|z_e) + alpha * (CE(y_r|z_r) + beta * KL[p(Z|x_r) || N(0, I)])

    The gradient is taken at the mean of p(Z|x). The paper's threshold, the median of the magnitudes, is taken to mean
    half of the weights by rank over all layers together, as in its code. Weights with a gradient of exactly zero (those
    of pixels that are always black, half of an MLP's first layer) are never salient, so the mask may hold fewer than
    `share`. As in random_label the wrong label is drawn once and is never the right one; the paper's code draws from
    all classes, anew each epoch. An epoch is a pass over the erased set, and the scenario's stop rule ends it.
    """

    paper = "Fan, Liu, Zhang, Wong, Wei, Liu: SalUn, ICLR 2024"

    class Params(UnlearnParams):
        share: float = Field(0.5, gt=0, le=1, description="largest share of all weights that may change")
        alpha: float = Field(1.0, ge=0, description="weight of the remaining images' loss; 0: none are used")
        steps: int | None = Field(None, ge=1, description="most gradient steps; null: until the stop rule ends it")

    def phases(self, context: Context) -> list[Phase]:
        return [replace(context.default_phase(self.params), other=self.params.alpha > 0, steps=self.params.steps)]

    def prepare(self, models: Models, erased: Batch, noise: Noise) -> Salient:
        def cross_entropy(params: Vector, part: Batch) -> Tensor:
            logits = models.frozen.with_params(params)(part.images)
            return part.mean(F.cross_entropy(logits, part.labels, reduction="none"))

        fixed = dict(models.frozen.params)
        size = images_at_once(models.scenario, SMALL_CHUNK, CHUNK)
        gradient = mean_in_chunks(lambda part: dict(grad(cross_entropy)(fixed, part)), erased, size)
        return Salient(wrong_labels(models, erased, noise), largest(gradient, self.params.share))

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert erased is not None
        # Where m is 0 the gradient is exactly 0, and Adam leaves the weight as it was.
        params = {n: torch.where(m > 0, models.model.params[n], models.frozen.params[n]) for n, m in state.mask.items()}
        masked = models._replace(model=models.model.with_params(params))
        logits = masked.model(erased.images, noise)
        value = erased.mean(F.cross_entropy(logits, state.labels[erased.rows], reduction="none"))
        return value if remaining is None else value + self.params.alpha * training_loss(masked, remaining, noise)


def largest(gradient: Vector, share: float) -> Vector:
    """1 for the largest magnitudes, a share of all numbers together, else 0; never for an exact zero."""
    flat = torch.cat([value.abs().flatten() for value in gradient.values()])
    threshold = flat.topk(max(1, round(share * len(flat)))).values[-1]
    return {n: ((g.abs() >= threshold) & (g != 0)).to(g.dtype) for n, g in gradient.items()}
