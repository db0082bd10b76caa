"""Remaining images: does erasing one image expose others that the model was trained on?"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from unlearnbench.adversary.thresholds import two_groups
from unlearnbench.metrics.distributions import margin
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, Level, PluginParams, Scenario

ROUNDED = 4  # decimals of a margin, in nat: the last bits of outputs depend on how they are computed


class RemainingMembership(Attack):
    """Membership of the remaining images, before unlearning alone and with the model after unlearning beside it.

    A model is surer of the images it was trained on: the score of an image is its margin phi = log p_y - log(1 - p_y),
    standardised by the mean and the standard deviation of the margins of images that the model has certainly never
    seen, which are the probe images. The classical attack on the original alone is the baseline; this one has the
    margin in two models that were trained on the remaining images. Where unlearning changes nothing, both say the same
    about every image. What erasing one image adds is the difference of the two AUCs, and DegCount and DegRate of Chen
    et al., which ask the same question of the erased image.
    """

    paper = (
        "Carlini et al.: The Privacy Onion Effect: Memorization is Relative, NeurIPS 2022 (erasing exposes others);"
        " Yeom et al.: Privacy Risk in Machine Learning, CSF 2018 (membership from the loss)"
    )
    ranks_by = ()

    class Params(PluginParams):
        observe: Level = Field("log_probabilities", description="observation level: (log-)probabilities")
        uses: Literal["both", "after"] = Field(
            "both", description="the mean of the standardised margins before and after unlearning, or after alone"
        )

    @property
    def access(self) -> Access:
        return Access(level=self.params.observe, remaining=True)

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "remaining_membership needs a leak experiment"
        if self.params.observe not in ("log_probabilities", "probabilities"):
            return f"margins need the probability of every class, which level {self.params.observe} does not show"
        return None

    def run(self, view: AttackView) -> Evidence:
        updates, probes = view.updates(), view.probe.labels

        def standard(probe: Tensor, candidates: Tensor) -> Tensor:
            """The candidates' margins f64[T, c] in standard deviations of the probes' margins from their mean."""
            unseen, asked = (
                margin(outputs, labels, self.params.observe).round(decimals=ROUNDED)
                for outputs, labels in ((probe, probes), (candidates, updates.candidate_labels))
            )
            deviation = unseen.std(1, keepdim=True)
            return (asked - unseen.mean(1, keepdim=True)) / torch.where(deviation > 0, deviation, 1.0)

        before = standard(updates.probe_before, updates.candidates_before)
        after = standard(updates.probe_after, updates.candidates_after)
        score = after if self.params.uses == "after" else (before + after) / 2
        cut = torch.tensor(two_groups(score), dtype=score.dtype)
        likely, baseline, threshold = (torch.special.ndtr(value) for value in (score, before, cut))
        return Evidence(membership=likely, threshold=float(threshold), subject="remaining", baseline=baseline)
