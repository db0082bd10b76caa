"""RULI: was this image erased? Judged by densities of one score under models that kept, unlearned or never saw it."""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from unlearnbench.adversary.change_statistics import of_label
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, Level, PluginParams, Scenario

_FLOOR = 1e-2  # nat, least bandwidth: a score that never changes has deviation 0


class Ruli(Attack):
    """RULI's per-example likelihood ratios (Naderloui et al.), from kernel densities instead of normal ones.

    Each candidate has three kinds of models: those that learned it (in), those that learned and unlearned it
    (unlearned), and those that never saw it (out); they are the models of likelihood_ratio, in before and unlearned
    after the same erasures. The score of a model is the margin phi = log p_y - log(1 - p_y). Its density on each side
    is estimated by Gaussian kernels of Scott's bandwidth, and the evidence is the logarithm of the ratio of two
    densities at the target's margin after unlearning.

    `unlearned` against out is the question of privacy. `in` against out is that of efficacy: does the unlearned model
    still look as if it had been trained on the image? An erasure that overshoots shows in the first only.
    """

    paper = (
        "Naderloui et al.: Rectifying Privacy and Efficacy Measurements in Machine Unlearning: A New Inference Attack"
        " Perspective, USENIX Security 2025"
    )
    ranks_by = ("auc",)

    class Params(PluginParams):
        observe: Level = Field("log_probabilities", description="observation level: (log-)probabilities")
        models: int = Field(32, ge=32, multiple_of=2, description="models, half of them per side of each candidate")
        against_out: Literal["unlearned", "in"] = Field(
            "unlearned", description="the models that are compared with those that never saw the candidate"
        )

    @property
    def access(self) -> Access:
        return Access(level=self.params.observe, in_and_out=self.params.models)

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "likelihood ratios need a leak experiment"
        if self.params.observe not in ("log_probabilities", "probabilities"):
            return f"margins need the probability of every class, which level {self.params.observe} does not show"
        return None

    def run(self, view: AttackView) -> Evidence:
        models, target = view.in_and_out(), view.updates()
        labels, level = target.candidate_labels, self.params.observe
        asked = of_label("margin", target.candidates_after, labels, level)
        out = of_label("margin", models.after, labels, level)
        known = out if self.params.against_out == "unlearned" else of_label("margin", models.before, labels, level)
        ratio = _log_density(asked, known, models.was_in) - _log_density(asked, out, ~models.was_in)
        return Evidence(membership=ratio, threshold=0.0)


def _log_density(asked: Tensor, known: Tensor, side: Tensor) -> Tensor:
    """Log-density f64[T, c] at the target's margins f64[T, c], by kernels at the margins f64[M, T, c] of one side.

    scipy's gaussian_kde does the same for one candidate at a time, and refuses margins that are all equal.
    """
    count = side.sum(0)
    mean = torch.where(side, known, 0.0).sum(0) / count
    variance = torch.where(side, known - mean, 0.0).square().sum(0) / (count - 1)
    width = (variance.sqrt() * count ** (-1 / 5)).clamp_min(_FLOOR)
    kernels = -((asked - known) / width).square() / 2 - (width * count).log() - math.log(2 * math.pi) / 2
    density: Tensor = kernels.masked_fill(~side, -math.inf).logsumexp(0)
    return density
