"""Renew: mostly fresh weights, trained for a few steps on the remaining data and against what contradicts them."""

from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.plugin import (
    Batch,
    Context,
    ErasureSets,
    LossMethod,
    Models,
    Noise,
    Phase,
    PluginParams,
    Stack,
    stream,
)
from unlearnbench.training.divergences import kl_categorical
from unlearnbench.training.objectives import image_losses


class Renew(LossMethod):
    """Starts from a freshly initialised model plus `keep` times the original's first layer, and minimises

        CE(y|z) + beta * KL[p(Z|x) || N(0, I)]                              on minibatches of the remaining set
        + w * mean over the erased of a_e * KL[t_e || p(y|x_e)],            w = min(1, weight * |D_e| / |D_r|)

    t_e is what the remaining data say about an erased image: the labels of its nearest neighbours, in pixels, among
    `candidates` random remaining images. a_e is 1 if at least `agreement` of the neighbours share one label other than
    y_e, else 0. So an image that taught the model something that the other data contradict (a backdoor) is unlearned by
    pulling it towards what they say. An image that they confirm does not enter the loss: the fresh weights alone forget
    it, and a pull of its own would betray it.

    The method uses remaining data, which CRFU and VBU do not. It uses no test data, and knows nothing about triggers or
    classes. The length is fixed: the scenario's stop rule is not applied. Neighbours in pixels are good teachers on
    digits and clothes; on photographs few agree, and the method becomes a short retraining.
    """

    paper = "unlearnbench"

    class Params(PluginParams):
        keep: float = Field(0.5, ge=0, description="share of the original's first layer that is added to the fresh one")
        weight: float = Field(2.0, ge=0, description="weight of the erased images' term, per share of them")
        neighbours: int = Field(10, ge=1, description="nearest remaining images that teach an erased one")
        agreement: float = Field(0.9, gt=0, le=1, description="share of them that must contradict the erased label")
        candidates: int = Field(5_000, ge=1, description="random remaining images among which neighbours are searched")
        smoothing: float = Field(0.001, gt=0, description="added to the share of each class among the neighbours")
        lr: float = Field(3e-3, gt=0, description="Adam's initial learning rate; it falls linearly, piece by piece")
        pieces: int = Field(8, ge=1, description="stretches of one learning rate, each with a fresh Adam")
        steps: int = Field(560, ge=1, description="gradient steps in total, a multiple of `pieces`")
        batch: int = Field(32, ge=1, description="remaining images per step")
        erased_batch: int = Field(8, ge=1, description="erased images per step")

        @model_validator(mode="after")
        def _whole_pieces(self) -> Self:
            if self.steps % self.pieces:
                raise ValueError(f"steps is {self.steps}, not a multiple of pieces, which is {self.pieces}")
            return self

    def phases(self, context: Context) -> list[Phase]:
        p, clip = self.params, context.scenario.training.clip
        return [
            Phase(
                over="remaining",
                other=True,
                batch=p.batch,
                other_batch=p.erased_batch,
                steps=p.steps // p.pieces,
                lr=p.lr * (1 - piece / p.pieces),
                clip=clip,
                stop=False,
            )
            for piece in range(p.pieces)
        ]

    def unlearn_many(self, before: Stack, sets: ErasureSets, context: Context) -> Stack:
        original, start = before.expand(sets.replicas).to(context.device, context.dtype), context.fresh()
        layer = next(iter(start.params)).rpartition(".")[0]
        first = {
            name: value + self.params.keep * original.params[name]
            for name, value in start.params.items()
            if name.rpartition(".")[0] == layer
        }
        teachers = torch.stack([self._teacher(sets, k, context) for k in range(sets.replicas)])
        context.samples += min(self.params.candidates, sets.remaining_size)  # each is read once, without a gradient
        return context.minimise(self, start.with_tensors({**start.tensors, **first}), sets, teachers, training=True)

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert erased is not None
        assert remaining is not None
        training = models.scenario.training
        losses = image_losses(models.model, remaining, models.scenario.beta, training.kl_reduction, noise)
        w: float = min(1.0, self.params.weight * models.erased_size / models.remaining_size)
        return remaining.mean(losses) + w * self._contradicted(models, erased, state[erased.rows])

    def _contradicted(self, models: Models, erased: Batch, shares: Tensor) -> Tensor:
        """mean a_e * KL[t_e || p(y|x_e)] for shares f32[B, Y] of the classes among the neighbours."""
        others = shares.scatter(1, erased.labels[:, None], 0.0).amax(1)
        half_a_neighbour = 0.5 / self.params.neighbours  # tolerance for rounding
        a = (others > self.params.agreement - half_a_neighbour).to(shares.dtype)
        smoothed = shares + self.params.smoothing
        t = smoothed / smoothed.sum(1, keepdim=True)
        return erased.mean(a * kl_categorical(t.log(), F.log_softmax(models.model(erased.images), dim=-1)))

    def _teacher(self, sets: ErasureSets, replica: int, context: Context) -> Tensor:
        """Shares of the classes among each erased image's neighbours, f32[s, Y]."""
        remaining = sets.remaining(replica)
        order = stream(context.seeds[replica], "neighbours").permutation(len(remaining))[: self.params.candidates]
        rows = remaining[torch.from_numpy(order).to(remaining.device)]
        erased, candidates = (sets.pool.take(r).scaled.flatten(1) for r in (sets.erased[replica], rows))
        # Squared distances without the erased image's own length, which does not affect the order.
        distance = candidates.square().sum(1) - 2 * erased @ candidates.T
        nearest = distance.topk(min(self.params.neighbours, len(rows)), largest=False).indices
        labels = F.one_hot(sets.pool.labels[rows][nearest], context.classes)
        return labels.to(context.dtype).mean(1)
