"""Fine-tuning: train on with the remaining data, and hope that the rest is overwritten."""

from typing import Any

from pydantic import Field
from torch import Tensor

from unlearnbench.plugin import Batch, Context, LossMethod, Models, Noise, Phase, UnlearnParams
from unlearnbench.training.objectives import training_loss


class FineTune(LossMethod):
    """Goes on with the loss of training, on minibatches of the remaining set only:

        CE(y_r|z) + beta * KL[p(Z|x_r) || N(0, I)],    z ~ p(Z|x_r)

    Nothing asks for forgetting; what happens is what further training overwrites (catastrophic forgetting), so it is
    the least that a method with access to the remaining data must beat. The literature gives it a share of training's
    epochs and often a larger learning rate; the default is two epochs, a tenth of a scenario's usual training, at the
    rate of training. Adam starts with fresh moments. The length is fixed: the scenario's stop rule is not applied.
    Batch normalisation keeps the statistics of the original, as under every method here.
    """

    paper = "Golatkar, Achille, Soatto: Eternal Sunshine of the Spotless Net, CVPR 2020 (baseline)"

    class Params(UnlearnParams):
        epochs: int = Field(2, ge=1, description="passes over the remaining images")

    def phases(self, context: Context) -> list[Phase]:
        p, training = self.params, context.scenario.training
        return [
            Phase(
                over="remaining",
                batch=p.batch or training.batch,
                epochs=p.epochs,
                lr=p.lr or training.lr,
                clip=training.clip,
                stop=False,
            )
        ]

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert remaining is not None
        return training_loss(models, remaining, noise)
