"""The paper's Table 2 attacks as its code runs them: on draws z ~ p(Z|X), new in each epoch of training."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from torch import Tensor

from unlearnbench.plugin import Access

from .representation import Representation


class RepresentationSampled(Representation):
    """As `representation`, but on draws like the released code, where `representation` uses the mean of p(Z|X).

    Each training image is queried once per epoch for each of the two networks, and once for the scale of Z. What is
    rebuilt and inferred comes from one draw. At a large beta most of a draw is noise: a server that answers with draws
    hides more than one that answers with the mean, as long as nobody asks often about one image. So this is the paper's
    protocol, and in effect a defence, not a property of the model.
    """

    version = 2
    paper = "Wang et al.: CRFU, 2024, Table 2, as released"

    @property
    def access(self) -> Access:
        return replace(super().access, inference="sample", queries=2 * self.params.epochs + 1)

    def answers(self, first: Tensor, ask: Callable[[], Tensor]) -> Iterator[Tensor]:
        while True:
            yield ask()
