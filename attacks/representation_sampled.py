"""The paper's Table 2 attacks as its code runs them: on one draw z ~ p(Z|X) of each image."""

from dataclasses import replace

from unlearnbench.plugin import Access

from .representation import Representation


class RepresentationSampled(Representation):
    """As `representation`, which looks at the mean of p(Z|X), where the released code looks at a draw.

    At a large beta most of a draw is noise: a server that answers so hides more than one that answers at the mean, as
    long as nobody asks twice about the same image. So this is the paper's own protocol, and a defence of its own, not a
    property of the model.
    """

    paper = "Wang et al.: CRFU, 2024, Table 2, as released"

    @property
    def access(self) -> Access:
        return replace(super().access, inference="sample")
