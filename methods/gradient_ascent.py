"""Gradient ascent: unlearn by climbing the erased images' loss."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from unlearnbench.plugin import Batch, LossMethod, Models, Noise


class GradientAscent(LossMethod):
    """Minimises minus the cross-entropy of the erased images, on minibatches of them only:

        -CE(y_e|z),    z ~ p(Z|x_e)

    The loss is unbounded below and nothing holds the rest of the model: the scenario's stop rule is part of the method.
    Of the training loss only the cross-entropy is climbed; to climb its KL term too would blow the representation up
    without forgetting anything. The papers step with plain gradients, which vanish where the model is sure of what it
    must forget; the harness's Adam divides by their size, so that the first step is as long as any other.
    """

    paper = (
        "Golatkar, Achille, Soatto: Eternal Sunshine of the Spotless Net, CVPR 2020 (baseline);"
        " Thudi, Deza, Chandrasekaran, Papernot: Unrolling SGD, EuroS&P 2022"
    )

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert erased is not None
        return -erased.mean(F.cross_entropy(models.model(erased.images, noise), erased.labels, reduction="none"))
