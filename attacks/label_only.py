"""Labels alone: which images have come nearer to the decision boundary?"""

import torch
from pydantic import Field
from torch import Tensor

from unlearnbench.adversary.boundary import SMALLEST, distances
from unlearnbench.adversary.thresholds import two_groups
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, PluginParams, Scenario

OTHERS = 32  # images of her own from which the searches set out


class LabelOnly(Attack):
    """The fall of each candidate's distance to the decision boundary (Lu et al.), from the answered labels alone.

    A model is surest of what it was trained on, so that an erased image was far from the boundary and has come near.
    The distance is the length of the smallest perturbation that changes the answered label. It is searched with
    HopSkipJump, which asks for labels only, in the model before and in the one after, with half of the budget and the
    same random steps for each: where unlearning has changed nothing, no distance changes. An image that is answered
    otherwise after unlearning counts as beyond the boundary: its distance is negative.

    No shadows, and no threshold is known: scores are cut into the two groups that differ most.
    """

    paper = (
        "Lu et al.: Label-only membership inference attacks on machine unlearning without dependence of posteriors,"
        " International Journal of Intelligent Systems 2022; Chen et al.: HopSkipJumpAttack, S&P 2020"
    )
    ranks_by = ("auc",)

    class Params(PluginParams):
        budget: int = Field(
            4000, ge=1, description="images that each target's two models are asked about, both together"
        )

    @property
    def access(self) -> Access:
        return Access(level="label", budget=self.params.budget)

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "label_only needs a leak experiment"
        candidates = (scenario.erased_count or 1) * (1 + scenario.negatives)
        least = 2 * (candidates * SMALLEST + OTHERS)
        if self.params.budget < least:
            return f"{candidates} candidates need a budget of at least {least}, and it is {self.params.budget}"
        return None

    def run(self, view: AttackView) -> Evidence:
        updates = view.updates()
        images = updates.candidates.flatten(2).float() / 255
        labels = updates.candidates_before.argmax(2)
        others = view.auxiliary.pixels[:OTHERS].flatten(1).float() / 255
        questions = (self.params.budget // 2 - len(others)) // images.shape[1]

        def distance(after: bool) -> Tensor:
            def answer(asked: Tensor) -> Tensor:
                pixels = asked.unflatten(2, view.shape)
                return view.ask("after" if after else "before", pixels).argmax(2)

            generator = torch.Generator().manual_seed(view.torch_seed("steps"))
            return distances(answer, images, labels, others, questions, generator)

        fall = distance(after=False) - distance(after=True)
        return Evidence(membership=fall, threshold=two_groups(fall))
