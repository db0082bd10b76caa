"""Threshold: an image that lost more of its likelihood than erased ones usually do was erased."""

from pydantic import Field
from torch import Tensor

from unlearnbench.plugin import Access, Attack, AttackView, Evidence, PluginParams, Scenario


class Threshold(Attack):
    """Membership of the erased set by the loss of log p(y|x), with a threshold from the adversary's own erasures.

    The threshold lies half-way between the mean loss of erased and of never-seen candidates of her shadows. An image's
    label, which a shadow's candidate does not carry, is taken to be the most likely class before.
    """

    version = 1
    paper = "unlearnbench's example"

    class Params(PluginParams):
        shadows: int = Field(16, ge=4, description="erasures of the adversary's own images to learn from")

    @property
    def access(self) -> Access:
        return Access(level="log_probabilities", shadows=self.params.shadows)

    def skip(self, scenario: Scenario) -> str | None:
        return None if scenario.kind == "leak" else "example_threshold needs a leak experiment"

    def run(self, view: AttackView) -> Evidence:
        shadow, target = view.shadow_updates(), view.updates()
        known = loss(shadow.updates.candidates_before, shadow.updates.candidates_after)
        threshold = (known[shadow.erased].mean() + known[~shadow.erased].mean()) / 2
        asked = loss(target.candidates_before, target.candidates_after)
        return Evidence(membership=asked, threshold=float(threshold))


def loss(before: Tensor, after: Tensor) -> Tensor:
    """What the most likely class has lost, f32[n, c] of f32[n, c, Y]."""
    top = before.argmax(-1, keepdim=True)
    return (before - after).gather(-1, top).squeeze(-1)
