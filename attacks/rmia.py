"""RMIA: was this image erased? Judged by how its likelihood ratio stands among those of a population."""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from unlearnbench.adversary.change_statistics import of_label
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, InAndOut, Level, PluginParams, Scenario, Updates

THRESHOLD = 0.95  # of the score, which is a share of the population: 5 % false alarms at gamma 1


class Rmia(Attack):
    """Pairwise likelihood ratios (Zarifzadeh et al., section 3): an image x against each image z of a population.

    LR(x, z) = [Pr(x | theta) / Pr(x)] / [Pr(z | theta) / Pr(z)], where Pr(. | theta) is the label's probability under
    the target's model, and Pr(.) its mean over the reference models: those of likelihood_ratio, half of which learned
    and unlearned x. The population is the probe images, which nobody learned. The score is the share of z with LR(x, z)
    >= gamma; where it ties, the ratio of x decides, which orders them in the same way.

    As published it looks for members of one model, so `after` sees only what unlearning left of an image. `change`, the
    default, divides the ratio before by the ratio after: how much of its likelihood beyond the references x has lost.
    """

    paper = "Zarifzadeh et al.: Low-Cost High-Power Membership Inference Attacks, ICML 2024"
    ranks_by = ("auc",)

    class Params(PluginParams):
        observe: Level = Field("log_probabilities", description="observation level: (log-)probabilities")
        models: int = Field(32, ge=32, multiple_of=2, description="models, half of them per side of each candidate")
        uses: Literal["change", "after", "before"] = Field(
            "change", description="ratios after (or before) unlearning, or ratios before divided by ratios after"
        )
        gamma: float = Field(2, gt=0, description="the ratio from which x counts as more likely than z")

    @property
    def access(self) -> Access:
        return Access(level=self.params.observe, in_and_out=self.params.models)

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "likelihood ratios need a leak experiment"
        if self.params.observe not in ("log_probabilities", "probabilities"):
            return f"likelihoods need the label's probability, which level {self.params.observe} does not always show"
        return None

    def run(self, view: AttackView) -> Evidence:
        models, target = view.in_and_out(), view.updates()
        of_x, of_z = self._ratios(models, target, view.probe.labels)
        share = (of_x[..., None] - of_z[:, None] >= math.log(self.params.gamma)).double().mean(-1)
        ties = torch.sigmoid(of_x) / of_z.shape[1]  # less than one z
        return Evidence(membership=share + ties, threshold=THRESHOLD)

    def _ratios(self, models: InAndOut, target: Updates, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of Pr(. | theta) / Pr(.) of the candidates, f64[T, c], and of the population, f64[T, P]."""
        candidates, level = target.candidate_labels, self.params.observe
        before, after = (
            (_ratio(asked, known, candidates, level), _ratio(population, reference, labels, level))
            for asked, known, population, reference in (
                (target.candidates_before, models.before, target.probe_before, models.population_before),
                (target.candidates_after, models.after, target.probe_after, models.population_after),
            )
        )
        if self.params.uses == "change":
            return before[0] - after[0], before[1] - after[1]
        of_x, of_z = before if self.params.uses == "before" else after
        return of_x, of_z.expand(len(of_x), -1)


def _ratio(asked: Tensor, known: Tensor, labels: Tensor, level: Level) -> Tensor:
    """log Pr(x | theta) - log Pr(x), f64[T, n], from outputs f32[T, n, Y] and those of reference models,
    f32[M, ., n, Y]."""
    mean = of_label("loss", known, labels, level).logsumexp(0) - math.log(len(known))
    ratio: Tensor = of_label("loss", asked, labels, level) - mean
    return ratio
