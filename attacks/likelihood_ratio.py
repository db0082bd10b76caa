"""U-LiRA: was this image erased? Asked of models that did and did not learn that very image."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import MultivariateNormal

from unlearnbench.metrics.distributions import margin
from unlearnbench.plugin import Access, Attack, Evidence
from unlearnbench.settings import Level, PluginParams, Scenario
from unlearnbench.view import AttackView

# Models a side that a variance of a candidate's own needs; with fewer, all candidates share one (Carlini et al., VI.C).
OWN_VARIANCE = 64
_FLOOR = 1e-4  # nat^2, added to variances: an output that never changes has none


class LikelihoodRatio(Attack):
    """Per-example likelihood ratios (Hayes et al., section 4), after Carlini et al.'s LiRA.

    For each candidate, normal distributions are fitted to the margin phi = log p_y - log(1 - p_y) under models that
    learned and forgot it, and under models that never saw it: random halves of the same models. The score is the log
    of their ratio at the target's margin. U-LiRA as published looks `after` unlearning only; the default is stronger:
    jointly `both` before and after, which also sees what the original alone gives away (retraining's value shows it).
    """

    paper = (
        "Hayes et al.: Inexact Unlearning Needs More Careful Evaluations to Avoid a False Sense of Privacy, SaTML 2025;"
        " Carlini et al.: Membership Inference Attacks From First Principles, S&P 2022"
    )

    class Params(PluginParams):
        observe: Level = Field("log_probabilities", description="observation level: (log-)probabilities")
        models: int = Field(32, ge=32, multiple_of=2, description="models, half of them a side of each candidate")
        uses: Literal["after", "both", "change"] = Field(
            "both", description="margins after unlearning, jointly before and after, or after - before"
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
        known = self._margins(models.before, models.after, target.candidate_labels)
        asked = self._margins(target.candidates_before, target.candidates_after, target.candidate_labels)
        erased, unseen = (_log_density(asked, known, side) for side in (models.was_in, ~models.was_in))
        return Evidence(membership=erased - unseen, threshold=0.0)

    def _margins(self, before: Tensor, after: Tensor, labels: Tensor) -> Tensor:
        """What is compared, f64[..., T, c, d], of outputs f32[..., T, c, Y]; d = 2 with `both`, else 1."""
        first, second = (margin(outputs, labels, self.params.observe) for outputs in (before, after))
        # Before and change hold the same as before and after, and stay apart when unlearning changes little.
        parts = {"after": [second], "change": [second - first], "both": [first, second - first]}
        return torch.stack(parts[self.params.uses], -1)


def _log_density(asked: Tensor, known: Tensor, side: Tensor) -> Tensor:
    """log N(asked; mean, covariance) of each candidate's models on one side, f64[T, c].

    Args:
        asked: f64[T, c, d], of the target.
        known: f64[M, T, c, d], of the models.
        side: bool[M, T, c], which models count for which candidate; at least 1 for each.
    """
    weight = side[..., None].to(known.dtype)
    count = weight.sum(0)
    mean = (known * weight).sum(0) / count
    apart = (known - mean) * weight
    scatter = torch.einsum("mtcd,mtce->tcde", apart, apart)
    if float(count.min()) < OWN_VARIANCE:
        covariance = scatter.sum((0, 1)) / (count - 1).sum()
    else:
        covariance = scatter / (count - 1)[..., None]
    floor = _FLOOR * torch.eye(known.shape[-1], dtype=known.dtype)
    density: Tensor = MultivariateNormal(mean, covariance + floor).log_prob(asked)
    return density
