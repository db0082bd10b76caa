"""What an attack may see: declared by the attack, enforced by its view."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from unlearnbench.settings.scenario import Draw, Inference, Level, Tier

Rounding = Literal["float32", "bfloat16"]


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
            quarter of them, at least one) are held out for validation.
        in_and_out: models trained with and without each candidate and made to forget it (per-example attacks).
        retrained: originals that forget each target, and twice as many models that never saw it; outputs of all levels
            but `representation`.
        members: images whose membership is known to the adversary (the paper's Table 2 attack).
        inference: `mean`: models answer at the mean of p(Z|X); `sample`: with a new draw z ~ p(Z|X) for each answer.
            Only the models before and after offer this; updates and shadows are outputs at the mean.
        queries: `sample`: how often a model answers about one image.
        budget: how many images `ask` may ask each target's two models about, both together.
        before: whether the model before unlearning is seen, in updates and in shadows too.
        remaining: whether candidates are of three kinds: also remaining images of the classes of the erased ones.
        rounding: a defence at level `parameters`: the precision of the weights that are shown.
        noise: a defence at level `parameters`: standard deviation of the Gaussian noise on each weight that is shown,
            drawn anew for each model. Neither changes what the models answer.
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
    budget: int = 0
    before: bool = True
    remaining: bool = False
    rounding: Rounding = "float32"
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError for needs that exclude each other."""
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
        if self.inference == "sample" and (self.budget or self.remaining):
            raise ValueError("updates and `ask` answer at the mean of p(Z|X): inference sample has neither")
        if (self.rounding != "float32" or self.noise) and self.draw is not None:
            raise ValueError("rounding and noise are on the targets' weights, not on those of shadows: declare none")
        if self.level != "parameters" and (self.rounding != "float32" or self.noise):
            raise ValueError("rounding and noise are of weights, which only level parameters shows")
        if self.rounding not in get_args(Rounding) or not 0 <= self.noise < math.inf:
            raise ValueError(
                f"rounding {self.rounding!r} or noise {self.noise}: a precision, and a finite number from 0 on"
            )
        if self.budget < 0:
            raise ValueError(f"a budget of {self.budget} images")

    @property
    def draw(self) -> Draw | None:
        """The kind of her own models and erasures that the adversary learns from; None if she has none."""
        if self.shadows:
            return self.tier
        return "in_and_out" if self.in_and_out else "retrained" if self.retrained else None

    @property
    def tier_recorded(self) -> str | None:
        """What is recorded as an attack's tier: where its shadows come from; that it has none, and compares both models
        or sees the one after only; None for attacks on known members."""
        if self.draw is not None or self.members:
            return self.draw
        return "no_shadows" if self.before else "after_only"

    @property
    def keeps(self) -> bool:
        """Whether the models of all targets are needed, not only what they answer about probes and candidates."""
        return self.level == "parameters" or self.budget > 0 or self.remaining

    @property
    def models(self) -> int:
        """The number of the adversary's own originals, or of retrained models."""
        return self.shadow_models or self.in_and_out or self.retrained
