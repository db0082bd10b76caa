"""Gradient ascent: unlearn by maximising the erased images' loss."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from unlearnbench.plugin import Batch, LossMethod, Models, Noise


class GradientAscent(LossMethod):
    """Minimises the negative cross-entropy of the erased images, on minibatches of these only:

        -CE(y_e|z),    z ~ p(Z|x_e)

    The loss is unbounded below and nothing protects the rest of the model: the scenario's stop rule is part of the
    method. Only the cross-entropy of the training loss is maximised; maximising its KL term, too, would blow up the
    representation without forgetting anything. The papers use plain gradient steps, which vanish where the model is
    sure of what it must forget; the harness's Adam divides by the gradients' size, so that the first step is as long as
    any other.
    """

    paper = (
        "Golatkar, Achille, Soatto: Eternal Sunshine of the Spotless Net, CVPR 2020 (baseline);"
        " Thudi, Deza, Chandrasekaran, Papernot: Unrolling SGD, EuroS&P 2022"
    )

    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        assert erased is not None
        return -erased.mean(F.cross_entropy(models.model(erased.images, noise), erased.labels, reduction="none"))
