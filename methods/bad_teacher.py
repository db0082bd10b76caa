"""Bad teaching: follow the original on the remaining data, and an ignorant model on the erased."""

from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from unlearnbench.plugin import Batch, Context, ErasureSets, LossMethod, Models, Noise, Phase, Stack, UnlearnParams
from unlearnbench.training.divergences import kl_of_logits

IMAGES = 500  # in one forward pass of the incompetent teacher


class BadTeacher(LossMethod):
    """The student starts as the original and minimises, on one minibatch of each set a step,

        KL[t(y|x_e) || p(y|x_e)] + KL[p_fix(y|x_r) || p(y|x_r)]

    where the incompetent teacher t is a freshly initialised model, another one for each erasure, and the competent
    teacher p_fix is the original. All are evaluated at the mean of p(Z|x) and softened by `temperature`. No label is
    used. The paper draws a minibatch from the union of the erased set and 30 % of the remaining set, and images of both
    count alike; here each step takes equally many of both, from all remaining images. The paper runs one epoch of Adam
    at 1e-4 with minibatches of 256; here learning rate and minibatch size are the scenario's, and its stop rule ends
    unlearning.
    """

    paper = "Chundawat, Tarun, Mandal, Kankanhalli: Can Bad Teaching Induce Forgetting? AAAI 2023"

    class Params(UnlearnParams):
        temperature: float = Field(1.0, gt=0, description="by which the logits of teachers and student are divided")
        steps: int | None = Field(None, ge=1, description="most gradient steps; null: until the stop rule ends it")

    def phases(self, context: Context) -> list[Phase]:
        return [replace(context.default_phase(self.params), other=True, steps=self.params.steps)]

    def unlearn_many(self, before: Stack, sets: ErasureSets, context: Context) -> Stack:
        # What the incompetent teacher says about an image never changes: it is queried once, and the model is dropped.
        ignorant = context.fresh()
        said = [ignorant.own_outputs(sets.pool.pixels[rows])[1] for rows in sets.erased.split(IMAGES, 1)]
        # A copy of the original for each student, so that both go through the same kernels: from differences by
        # rounding alone, Adam would make full-length steps.
        return context.minimise(self, before.expand(sets.replicas), sets, torch.cat(said, 1))

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert erased is not None
        assert remaining is not None
        forget = self._distance(state[erased.rows], models.model(erased.images))
        keep = self._distance(models.frozen(remaining.images), models.model(remaining.images))
        return erased.mean(forget) + remaining.mean(keep)

    def _distance(self, teacher: Tensor, student: Tensor) -> Tensor:
        """KL[teacher || student] of softened logits f32[B, Y], f32[B]."""
        return kl_of_logits(teacher / self.params.temperature, student / self.params.temperature)
