"""Random labels: teach the erased images wrong ones."""

from dataclasses import replace
from typing import Any

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.plugin import Batch, Context, LossMethod, Models, Noise, Phase, UnlearnParams
from unlearnbench.training.objectives import training_loss, wrong_labels


class RandomLabel(LossMethod):
    """Every erased image is given one wrong label y' at random, for good, and the model is trained on with

        CE(y'|z_e) + weight * (CE(y_r|z_r) + beta * KL[p(Z|x_r) || N(0, I)])

    on one minibatch of each set a step. Graves et al. put the relabelled images among the remaining ones and train on
    the union: there a minibatch holds them in proportion, here each step takes as many of both, and the scenario's stop
    rule ends it. weight 0 is Golatkar et al.'s baseline, which trains on the relabelled images alone and never asks for
    remaining data. The wrong label never is the right one by chance, as the papers' words have it (released code often
    draws from all classes).
    """

    paper = (
        "Graves, Nagisetty, Ganesh: Amnesiac Machine Learning, AAAI 2021;"
        " Golatkar, Achille, Soatto: Eternal Sunshine of the Spotless Net, CVPR 2020 (baseline)"
    )

    class Params(UnlearnParams):
        weight: float = Field(1.0, ge=0, description="of the remaining images' loss; 0: only the erased are trained on")
        steps: int | None = Field(None, ge=1, description="most gradient steps; null: as many as the stop rule wants")

    def phases(self, context: Context) -> list[Phase]:
        return [replace(context.default_phase(self.params), other=self.params.weight > 0, steps=self.params.steps)]

    def prepare(self, models: Models, erased: Batch, noise: Noise) -> Tensor:
        return wrong_labels(models, erased, noise)

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert erased is not None
        logits = models.model(erased.images, noise)
        value = erased.mean(F.cross_entropy(logits, state[erased.rows], reduction="none"))
        return value if remaining is None else value + self.params.weight * training_loss(models, remaining, noise)
