"""SCRUB: a student that in turn disobeys the original on the erased data and obeys it on the remaining data."""

from dataclasses import replace
from typing import Any, Self

from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.plugin import Batch, Context, LossMethod, Models, Noise, Phase, UnlearnParams
from unlearnbench.training.divergences import kl_categorical


class Scrub(LossMethod):
    """The student starts as the original; the teacher p_fix is the original. Each of `max_epochs` epochs has a pass
    over the erased set (max-steps) and one over the remaining set (min-steps); min-steps alone follow, up to `epochs`.
    They minimise

        max-steps:  -KL[p_fix(y|x_e) || p(y|x_e)]
        min-steps:  alpha * KL[p_fix(y|x_r) || p(y|x_r)] + gamma * CE(y_r|x_r)

    The teacher answers at the mean of p(Z|x), the student at a sample from it, as in the published code, where the
    student is in training mode and the teacher is not. This matters: at equal answers the first max-step has no
    gradient, and Adam would step along rounding errors. KLs are computed from logits divided by `temperature`, and
    multiplied by its square, as in the code but not in the paper's formula. alpha, gamma, temperature, epochs and Adam
    at 5e-4 are those of the code's small-scale experiments; its weight decay and falling learning rate are left out,
    and every pass starts with fresh moments. The length is fixed, but a pass over the erased set ends early if the
    scenario's stop rule is met. Rewinding to the step at which the erased error equals that of never-seen data
    (SCRUB+R) is not offered.
    """

    paper = "Kurmanji, Triantafillou, Hayes, Triantafillou: Towards Unbounded Machine Unlearning, NeurIPS 2023"

    class Params(UnlearnParams):
        lr: float | None = Field(5e-4, gt=0, description="Adam's learning rate; null: the scenario's training lr")
        alpha: float = Field(0.5, ge=0, description="weight of the remaining images' KL to the original")
        gamma: float = Field(1.0, ge=0, description="weight of the remaining images' cross-entropy")
        temperature: float = Field(2.0, gt=0, description="by which logits are divided inside the KLs")
        max_epochs: int = Field(3, ge=1, description="passes over the erased set")
        epochs: int = Field(10, ge=1, description="passes over the remaining set, at least `max_epochs`")

        @model_validator(mode="after")
        def _min_steps_come_last(self) -> Self:
            if self.epochs < self.max_epochs:
                raise ValueError(f"epochs is {self.epochs}, less than max_epochs, which is {self.max_epochs}")
            return self

    def phases(self, context: Context) -> list[Phase]:
        p, phase = self.params, replace(context.default_phase(self.params), epochs=1)
        disobey, obey = replace(phase, loss=self._disobey), replace(phase, over="remaining", stop=False)
        return [disobey, obey] * p.max_epochs + [obey] * (p.epochs - p.max_epochs)

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        """The loss of the min-steps."""
        assert remaining is not None
        logits = models.model(remaining.images, noise)
        cross_entropy = F.cross_entropy(logits, remaining.labels, reduction="none")
        distance = self._distance(models.frozen(remaining.images), logits)
        return remaining.mean(self.params.alpha * distance + self.params.gamma * cross_entropy)

    def _disobey(
        self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise
    ) -> Tensor:
        assert erased is not None
        return -erased.mean(self._distance(models.frozen(erased.images), models.model(erased.images, noise)))

    def _distance(self, teacher: Tensor, student: Tensor) -> Tensor:
        """T^2 KL[teacher || student] of logits f32[B, Y] divided by T, f32[B]."""
        t: float = self.params.temperature
        return t * t * kl_categorical(F.log_softmax(teacher / t, dim=-1), F.log_softmax(student / t, dim=-1))
