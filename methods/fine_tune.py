"""Fine-tuning: continue training on the remaining data, in the hope that the rest is overwritten."""

from dataclasses import replace
from typing import Any

from pydantic import Field
from torch import Tensor

from unlearnbench.plugin import Batch, Context, LossMethod, Models, Noise, Phase, UnlearnParams
from unlearnbench.training.objectives import training_loss


class FineTune(LossMethod):
    """Continues with the training loss, on minibatches of the remaining set only:

        CE(y_r|z) + beta * KL[p(Z|x_r) || N(0, I)],    z ~ p(Z|x_r)

    Nothing in the loss asks for forgetting; the model forgets only what further training overwrites (catastrophic
    forgetting). So this is the least that a method with access to the remaining data must beat. The literature gives it
    a fraction of the epochs of training, and often a larger learning rate; the default is two epochs, a tenth of a
    scenario's usual training, at the training rate. Adam starts with fresh moments. The length is fixed: the scenario's
    stop rule is not applied. Batch normalisation keeps the original's statistics, as for every method here.
    """

    paper = "Golatkar, Achille, Soatto: Eternal Sunshine of the Spotless Net, CVPR 2020 (baseline)"

    class Params(UnlearnParams):
        epochs: int = Field(2, ge=1, description="passes over the remaining images")

    def phases(self, context: Context) -> list[Phase]:
        phase = context.default_phase(self.params)
        return [replace(phase, over="remaining", epochs=self.params.epochs, stop=False)]

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert remaining is not None
        return training_loss(models, remaining, noise)
