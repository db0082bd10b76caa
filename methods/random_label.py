"""Random labels: teach wrong labels for the erased images."""

from dataclasses import replace
from typing import Any

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.plugin import Batch, Context, LossMethod, Models, Noise, Phase, UnlearnParams
from unlearnbench.training.objectives import training_loss, wrong_labels


class RandomLabel(LossMethod):
    """Every erased image gets one wrong label y' at random, once and for all, and the model continues training with

        CE(y'|z_e) + weight * (CE(y_r|z_r) + beta * KL[p(Z|x_r) || N(0, I)])

    on one minibatch of each set per step. Graves et al. mix the relabelled images with the remaining ones and train on
    the union: there a minibatch holds both in proportion; here each step takes equally many of both, and the scenario's
    stop rule ends it. weight 0 is Golatkar et al.'s baseline, which trains on the relabelled images alone and never
    uses remaining data. The wrong label is never the right one by chance, as the papers' texts say (released code often
    draws from all classes).
    """

    paper = (
        "Graves, Nagisetty, Ganesh: Amnesiac Machine Learning, AAAI 2021;"
        " Golatkar, Achille, Soatto: Eternal Sunshine of the Spotless Net, CVPR 2020 (baseline)"
    )

    class Params(UnlearnParams):
        weight: float = Field(1.0, ge=0, description="weight of the remaining images' loss; 0: erased images only")
        steps: int | None = Field(None, ge=1, description="most gradient steps; null: until the stop rule ends it")

    def phases(self, context: Context) -> list[Phase]:
        return [replace(context.default_phase(self.params), other=self.params.weight > 0, steps=self.params.steps)]

    def prepare(self, models: Models, erased: Batch, noise: Noise) -> Tensor:
        return wrong_labels(models, erased, noise)

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert erased is not None
        logits = models.model(erased.images, noise)
        value = erased.mean(F.cross_entropy(logits, state[erased.rows], reduction="none"))
        return value if remaining is None else value + self.params.weight * training_loss(models, remaining, noise)
