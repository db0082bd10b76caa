"""U-LiRA: was this image erased? Judged by models that did and models that did not learn this image."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import MultivariateNormal

from unlearnbench.metrics.distributions import margin
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, InAndOut, Level, PluginParams, Scenario

# Models per side needed for a separate variance per candidate; with fewer, candidates share one (Carlini et al., VI.C).
OWN_VARIANCE = 64
_FLOOR = 1e-4  # nat^2, added to variances: an output that never changes has variance 0
_SMALLEST = 1e-12  # least probability that a logarithm is taken of


class LikelihoodRatio(Attack):
    """Per-example likelihood ratios (Hayes et al., section 4), after Carlini et al.'s LiRA.

    For each candidate, normal distributions are fitted to the margin phi = log p_y - log(1 - p_y) under models that
    learned and unlearned it, and under models that never saw it: random halves of the same models. The score is the log
    of the ratio of their densities at the target's margin. U-LiRA as published uses only the outputs `after`
    unlearning; `both` uses the joint distribution before and after.

    The default is stronger: `boosted` trees (scikit-learn's) see the ratios for the margin before and for its change
    (each shadow observation is left out of its own fit), and the log-probabilities before and their change, both sorted
    by the log-probabilities before. They are fitted to the models' outputs on all candidates, and applied to the
    target's. All choices but `after` also see what the original alone reveals; the value for retraining shows how much
    that is.
    """

    paper = (
        "Hayes et al.: Inexact Unlearning Needs More Careful Evaluations to Avoid a False Sense of Privacy, SaTML 2025;"
        " Carlini et al.: Membership Inference Attacks From First Principles, S&P 2022"
    )
    ranks_by = ("auc",)
    version = 2

    class Params(PluginParams):
        observe: Level = Field("log_probabilities", description="observation level: (log-)probabilities")
        models: int = Field(32, ge=32, multiple_of=2, description="models, half of them per side of each candidate")
        uses: Literal["boosted", "after", "before", "both", "change"] = Field(
            "boosted", description="margins after (or before) unlearning, jointly before and after, after - before; or"
            " boosted trees on ratios and outputs"
        )  # fmt: skip

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
        asked = target.candidates_before, target.candidates_after
        if self.params.uses == "boosted":
            seed = view.torch_seed("trees") % 2**32
            return Evidence(membership=self._boosted(models, asked, target.candidate_labels, seed), threshold=0.5)
        known, questions = (
            self._margins(self.params.uses, *outputs, target.candidate_labels)
            for outputs in ((models.before, models.after), asked)
        )
        return Evidence(membership=_log_ratio(questions, known, models.was_in), threshold=0.0)

    def _boosted(self, models: InAndOut, asked: tuple[Tensor, Tensor], labels: Tensor, seed: int) -> Tensor:
        """Probability that each of the target's candidates was erased, f64[T, c]."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        known, questions = self._sorted(models.before, models.after), self._sorted(*asked)
        for uses in ("before", "change"):
            margins = self._margins(uses, models.before, models.after, labels)
            own = _log_ratio(margins, margins, models.was_in, left_out=True)
            ratio = _log_ratio(self._margins(uses, *asked, labels), margins, models.was_in)
            known, questions = (
                torch.cat([part, more[..., None]], -1) for part, more in ((known, own), (questions, ratio))
            )
        trees = HistGradientBoostingClassifier(
            learning_rate=0.05, max_iter=100, early_stopping=False, random_state=seed
        )
        trees.fit(known.flatten(0, 2).numpy(), models.was_in.flatten().numpy())
        return torch.from_numpy(trees.predict_proba(questions.flatten(0, 1).numpy())[:, 1]).view(labels.shape)

    def _sorted(self, before: Tensor, after: Tensor) -> Tensor:
        """Log-probabilities before and their change, f64[..., 2 Y], sorted by the log-probabilities before."""
        if self.params.observe == "probabilities":
            before, after = (part.double().clamp_min(_SMALLEST).log() for part in (before, after))
        order = before.argsort(-1, descending=True)
        return torch.cat([before.gather(-1, order), (after - before).gather(-1, order)], -1).double()

    def _margins(self, uses: str, before: Tensor, after: Tensor, labels: Tensor) -> Tensor:
        """The margins that are compared, f64[..., T, c, d], from outputs f32[..., T, c, Y]; d = 2 with `both`, else
        1."""
        first, second = (margin(outputs, labels, self.params.observe) for outputs in (before, after))
        # Before and change hold the same information as before and after, and are less correlated when changes are
        # small.
        parts = {"before": [first], "after": [second], "change": [second - first], "both": [first, second - first]}
        return torch.stack(parts[uses], -1)


def _log_ratio(asked: Tensor, known: Tensor, was_in: Tensor, left_out: bool = False) -> Tensor:
    """log N(asked; models that unlearned it) - log N(asked; models that never saw it); see `_log_density`."""
    erased, unseen = (_log_density(asked, known, side, left_out) for side in (was_in, ~was_in))
    return erased - unseen


def _log_density(asked: Tensor, known: Tensor, side: Tensor, left_out: bool) -> Tensor:
    """log N(asked; mean, covariance) of each candidate's models on one side, f64[T, c] or f64[M, T, c].

    Args:
        asked: f64[T, c, d], the target's margins; or `known` itself.
        known: f64[M, T, c, d], the models' margins.
        side: bool[M, T, c], which models count for which candidate; at least 2 for each.
        left_out: whether each model's own value is left out of the mean that it is compared with; otherwise a model
            would look more like its side than a target does.
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
    if left_out:
        mean = (mean * count - known * weight) / (count - weight)
    floor = _FLOOR * torch.eye(known.shape[-1], dtype=known.dtype)
    density: Tensor = MultivariateNormal(mean, covariance + floor).log_prob(asked)
    return density
