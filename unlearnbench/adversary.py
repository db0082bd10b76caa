"""What an attack declares, is handed and claims. Shapes as in plugin.py, which contributors import these from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from unlearnbench.settings import Draw, Inference, Level, Tier

PARTS = ("erased", "remaining", "unseen")
"""Of the images that retrained models are compared on."""


@dataclass(frozen=True)
class Access:
    """What an attack needs; the view refuses everything else.

    Attributes:
        level: the observation level of model outputs. `parameters`: all weights before and after; outputs come as
            log-probabilities with them.
        temperature: a defence: probabilities are softmax(logits / temperature), at every level that shows any.
        shadows: how many erasures of the adversary's own images, computed with the method under attack.
        tier: `same`: shadows start from the target's original and erase members that the adversary knows; `disjoint`:
            from originals trained on the adversary's own images, so that nothing of the target's is known.
        shadow_models: originals of the tier `disjoint`; shadows are spread evenly over them, and whole models (a
            quarter, at least one) are held out for validation.
        in_and_out: models trained with and without each candidate and made to forget it (per-example attacks).
        retrained: originals that forget each target, and twice as many models that never saw it; outputs of all levels
            but `representation`.
        members: images whose membership is known to the adversary (the paper's Table 2 attack).
        inference: `mean`: models answer at the mean of p(Z|X); `sample`: with a draw z ~ p(Z|X), anew for each answer.
            Only the models before and after can be asked so; updates and shadows are outputs at the mean.
        queries: `sample`: how often a model answers about one image.
    """

    level: Level = "log_probabilities"
    temperature: float = 1.0
    shadows: int = 0
    tier: Tier = "same"
    shadow_models: int = 0
    in_and_out: int = 0
    retrained: int = 0
    members: bool = False
    inference: Inference = "mean"
    queries: int = 1

    def __post_init__(self) -> None:
        """Raises ValueError for what can't be had together."""
        if sum(count > 0 for count in (self.shadows, self.in_and_out, self.retrained)) > 1:
            raise ValueError("an attack has one kind of shadows: shadows, in_and_out or retrained")
        if (self.tier == "disjoint") != (self.shadow_models > 0) or self.shadow_models > self.shadows:
            raise ValueError(
                "the tier disjoint needs shadow_models, and at least as many shadows; other tiers have none"
            )

        if self.retrained and self.level == "representation":
            raise ValueError("retrained models show what they answer, not its representation: level representation")
        if self.inference == "sample" and self.draw is not None:
            raise ValueError("shadows answer at the mean of p(Z|X): inference sample has none")

    @property
    def draw(self) -> Draw | None:
        """Which models and erasures of hers the adversary learns from; None: none."""
        if self.shadows:
            return self.tier
        return "in_and_out" if self.in_and_out else "retrained" if self.retrained else None

    @property
    def models(self) -> int:
        """Shadow originals of her own, or retrained models."""
        return self.shadow_models or self.in_and_out or self.retrained


class Updates(NamedTuple):
    """n erasures as the adversary sees them. Outputs have D numbers per image at the declared level."""

    probe_before: Tensor  # f32[1 or n, P, D]
    probe_after: Tensor  # f32[n, P, D]
    candidates: Tensor  # u8[n, c, C, H, W]: erased and never-seen images of the same classes, shuffled
    candidate_labels: Tensor  # i64[n, c]
    candidates_before: Tensor  # f32[n, c, D]
    candidates_after: Tensor  # f32[n, c, D]
    # Level `parameters` only, by the parameter's name: what unlearning changed, f32[n, ...], after - before.
    parameter_changes: Mapping[str, Tensor] = {}


class ShadowUpdates(NamedTuple):
    """Updates whose answers the adversary knows, having erased the images herself."""

    updates: Updates
    images: Tensor  # u8[n, s, C, H, W], what was erased
    labels: Tensor  # i64[n, s]
    erased: Tensor  # bool[n, c]: which candidates were erased
    validation: Tensor  # bool[n]: shadows whose images (tier `disjoint`: and models) no other shadow used
    model: Tensor  # i64[n]: which original a shadow started from; all 0 in the tier `same`


class InAndOut(NamedTuple):
    """M models' outputs on the targets' candidates; each was trained on a random half of them.

    A model that had a candidate was made to forget it, a model that had not forgot another of its class.
    """

    before: Tensor  # f32[M, T, c, D], outputs of models before unlearning
    after: Tensor  # f32[M, T, c, D], and after
    was_in: Tensor  # bool[M, T, c], whether the model was trained with it


class RetrainedModels(NamedTuple):
    """For each of T targets, N originals that forgot it, and 2N models that never saw it, all of other seeds: one
    question is whether the two kinds can be told apart.

    Had an original forgotten perfectly, it would be one more of the models that never saw the target: they are trained
    on images drawn alike. Each target's models are asked about n images, its own erased ones first; targets share the
    models that are retrained, and an original forgets several targets, each time from the start.
    """

    unlearned: Tensor  # f32[T, N, n, D]
    retrained: Tensor  # f32[T, N, n, D]
    null: Tensor  # f32[T, N, n, D], further retrained models: in place of the unlearned ones they differ by chance only
    labels: Tensor  # i64[T, n]
    part: Sequence[str]  # of each of the n images, alike for all targets: erased, remaining or unseen


class Measured(NamedTuple):
    """A number that an attack has measured itself."""

    value: float
    n: int = 0  # samples behind it; 0: not counted
    low: float | None = None  # of its 95 % interval within this seed
    high: float | None = None

    @classmethod
    def of(cls, value: float | Measured) -> Measured:
        """A bare number is one that was not counted."""
        return value if isinstance(value, Measured) else cls(float(value))


class Evidence(NamedTuple):
    """What an attack claims. Give what it infers, leave the rest None.

    `subject` says about whom: the T targets' erased images, or the view's challenge images.
    """

    images: Tensor | None = None  # f32[T, s, C, H, W] or f32[n, C, H, W], in [0, 1]
    label_scores: Tensor | None = None  # f32[T, s, Y]
    membership: Tensor | None = None  # f32[T, c] or f32[n]: higher means more likely erased (or a member)
    threshold: float | None = None  # membership above it is a yes; chosen without looking at the targets' truth
    subject: Literal["erased", "challenge"] = "erased"
    # Further numbers, by names of the metric catalogue, with the number of samples behind each.
    metrics: Mapping[str, float | Measured] = {}
    # Membership, of the same shape, by the attack's own baseline that ignores the update. Both must be probabilities:
    # the gain in confidence of the true answer is scored.
    baseline: Tensor | None = None
