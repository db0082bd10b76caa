"""What each metric means, how it is shown and checked, and what a trivial attacker would get.

Every name allowed in the `metric` column of a record is here; docs/protocol.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from unlearnbench.system.errors import suggest

Good = Literal["privacy", "utility", "cost", "info"]
Better = Literal["higher", "lower", "none"]

View = Literal["attacked", "pages", "beside", "unattacked", "tuned", "tradeoff", "beta", "ratio"]
"""Where metrics are shown by default: in tables of attacked contenders ("pages": only in those of the site), beside the
metrics of an attack, in tables of contenders without an attack, in the choices of `tune`, and in the site's figures of
leakage against accuracy, over beta and over the erased ratio."""

LARGEST = 3.4e38
"""The largest 32-bit float, so that sums and squares of such values stay finite in 64 bits."""

_RANGES = {
    "share": (0.0, 1.0), "probability": (0.0, 1.0), "quantile": (-1.0, 1.0), "quantile^2": (-1.0, 1.0),
    "-1 to 1": (-1.0, 1.0),
}  # fmt: skip
"""By unit; all others lie between 0 and `LARGEST`."""

# Of 40 cells of the suite `attacks` on digits, recorded on one processor and computed again on another with the same
# packages, 8 were equal to the last bit. The others' shares were at most 3 images of 48 apart (a decision tree), skills
# 0.004, and everything else at most 1.3 % of its value.
SHARE = 0.005  # for shares and skills: the half point of accuracy of rule 13
SAMPLES = 4  # or this many of the images behind a share, if half a point is less
RELATIVE = 0.02  # for everything else


class Rate(NamedTuple):
    """A rate at few errors: the true positive rate at a false positive rate of `at`, or the true negative rate at a
    true positive rate of `at`."""

    of: Literal["tpr", "tnr"]
    at: float


@dataclass(frozen=True)
class Metric:
    """One number that a cell may report, with everything that the suite knows about it.

    Attributes:
        name: as in the records.
        unit: of the value; "share" is a proportion from 0 to 1.
        good: what a better value is good for. Privacy metrics measure the attacker's success or error.
        better: which direction is good for that; "none" if neither is.
        description: one line for tables and documentation.
        trivial: the value for the best attacker that looks at no model output and knows no label: a constant, or the
            name of the metric that measures it on the same erasures; None if there is no such attacker.
        short: its name over a narrow column of text; empty: its name.
        title: its name in a heading or at an axis; empty: its name.
        bounds: the smallest and the largest value, if they differ from those of its unit.
        images: "own" if the images behind it are drawn anew for each seed, "test" if all seeds share the test images,
            "seed" if it is a yes or no for the seed as a whole.
        given_by: what records it: only the harness, or a method or an attack itself.
        needs_backdoor: whether it is measured only in scenarios with a backdoor.
        leak: whether leaks are shown by it, as something that the attack infers about erased images or as a distance
            to retrained models. If only distances were measured, the last one in the catalogue ranks.
        superseded_by: the metric that replaces it if both were measured.
        rate: the rate that it is, if it is computed from the scores of all seeds together.
        shown: the views that show it, with its position in each; the smallest comes first.
    """

    name: str
    unit: str
    good: Good
    better: Better
    description: str
    trivial: str | float | None = None
    short: str = ""
    title: str = ""
    bounds: tuple[float, float] | None = None
    images: Literal["own", "test", "seed"] = "own"
    given_by: Literal["harness", "method", "attack"] = "harness"
    needs_backdoor: bool = False
    leak: Literal["inferred", "distance"] | None = None
    superseded_by: str | None = None
    rate: Rate | None = None
    shown: Mapping[View, int] = field(default_factory=dict, hash=False)

    @property
    def header(self) -> str:
        """Its name over a narrow column."""
        return self.short or self.name

    @property
    def heading(self) -> str:
        """Its name where there is room."""
        return self.title or self.name.replace("_", " ")

    @property
    def is_share(self) -> bool:
        """Whether it is a proportion of images (or seeds) between 0 and 1. Skills are not: they have no lower bound."""
        return self.unit == "share" and self.range == (0.0, 1.0)

    @property
    def is_time(self) -> bool:
        """Whether it is a time: times on several kinds of machines are never compared or averaged."""
        return self.unit == "s"

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest value that it can have, or that a model with 32-bit floats can produce."""
        return self.bounds or _RANGES.get(self.unit, (0.0, LARGEST))

    @property
    def direction(self) -> str:
        """The text of a record's `direction` column, e.g. ``privacy: higher is better``."""
        return self.good if self.better == "none" else f"{self.good}: {self.better} is better"

    def tolerance(self, value: float, samples: int | None) -> float:
        """How far two values may be apart if they were computed on different kinds of machines.

        Args:
            value: one of the two values.
            samples: images, or attacked erasures, behind it.
        """
        if self.unit not in ("share", "probability"):
            return RELATIVE * abs(value)
        if self.range == _SKILL:  # may be close to 0, where a relative tolerance means nothing
            return max(SHARE, RELATIVE * abs(value))
        return max(SHARE, SAMPLES / samples if samples else 0.0)


_SKILL = (-LARGEST, 1.0)
_DIFFERENCE = (-1.0, 1.0)


def _utility(name: str, description: str, better: Better = "higher", unit: str = "share", **facts: Any) -> Metric:
    return Metric(name, unit, "utility", better, description, **facts)


def _privacy(
    name: str, unit: str, better: Better, description: str, trivial: str | float | None = None, **facts: Any
) -> Metric:
    return Metric(name, unit, "privacy", better, description, trivial, **facts)


def _cost(name: str, unit: str, description: str, **facts: Any) -> Metric:
    return Metric(name, unit, "cost", "lower", description, **facts)


def _info(name: str, unit: str, description: str, **facts: Any) -> Metric:
    return Metric(name, unit, "info", "none", description, **facts)


# In the order of the columns of a leaderboard.
# fmt: off
_ALL = (
    # What the model can still do, and whether it forgot.
    _utility("accuracy", "accuracy on the test images",
             short="acc.", images="test", shown={"beside": 10, "unattacked": 10, "tuned": 10, "beta": 50, "ratio": 40}),
    _utility("remaining_accuracy", "accuracy on the remaining training images", short="remain."),
    _info("erased_accuracy", "share", "accuracy on the erased images; retraining keeps that of never-seen images",
          short="erased", title="on erased", shown={"beside": 20, "unattacked": 50}),
    _utility("target_class_accuracy", "accuracy on test images of the backdoor's target class",
             short="target", title="target class", images="test", needs_backdoor=True,
             shown={"unattacked": 20, "tuned": 30}),
    _utility("other_classes_accuracy", "accuracy on test images of all classes but the backdoor's target class",
             images="test", needs_backdoor=True, shown={"tuned": 20}),
    _utility("backdoor_accuracy", "stamped training images classified as the backdoor's target", "lower",
             short="bd.acc.", title="backdoor, train", needs_backdoor=True, shown={"unattacked": 30, "ratio": 50}),
    _utility("backdoor_success", "stamped test images of the base class classified as the target", "lower",
             short="bd.succ.", title="backdoor, test", images="test", needs_backdoor=True,
             shown={"unattacked": 40, "ratio": 60}),
    _utility("backdoor_success_any", "stamped test images of all classes but the target classified as it", "lower",
             short="bd.any", images="test", needs_backdoor=True),
    _utility("forgot", "1 if accuracy on stamped images fell under the stop rule's threshold; share of seeds",
             images="seed", shown={"tuned": 50}),
    # The owner's audit of a backdoor, if the scenario has one (MIB: Hu et al., 2022; exact where they approximate).
    _utility("owner_forgot", "1 if the owner's audit no longer finds her mark at 5 %; share of seeds",
             short="owner", title="owner's audit", images="seed", needs_backdoor=True, shown={"unattacked": 45}),
    _utility("other_owners_found", "1 if every other owner's audit still finds her mark; share of seeds",
             short="others", title="other owners", images="seed", needs_backdoor=True, shown={"unattacked": 46}),
    _utility("owner_p_value", "chance of as many targets in her answers if 1 in K were expected at most",
             unit="probability", needs_backdoor=True),
    _utility("owner_p_value_paired", "the same if her mark changed no answers: beside the same images without it",
             unit="probability", needs_backdoor=True),
    _info("owner_p_value_original", "probability", "owner_p_value of the original: whether there was a mark to find",
          needs_backdoor=True),
    _utility("other_owners_p_value", "owner_p_value of those who did not ask for erasure, the largest", "lower",
             unit="probability", needs_backdoor=True),
    _info("owner_queries", "images", "fewest queries at which her audit finds what is left, with power 0.95",
          needs_backdoor=True),
    _info("memory", "quantile", "standing of the erased images among never-seen ones, beyond that in retrained models"),
    _info("memory_original", "quantile", "the same in the original: what there is to forget"),
    _info("memory_square", "quantile^2", "mean square of the same, image by image, beyond that of a retrained model"),
    _info("memory_square_original", "quantile^2", "the same in the original"),
    _info("retrained_accuracy", "share", "accuracy of the retrained models that forgetting is judged beside",
          images="test"),
    _info("original_accuracy", "share", "accuracy before unlearning, of a method that trains an original of its own",
          images="test"),
    _info("kld_to_prior", "nat", "KL[p(Z|X) || N(0, I)] per latent dimension", shown={"beta": 60}),
    # What a certified method guarantees (Guo et al., 2020; Sekhari et al., 2021).
    _info("certified_epsilon", "nat", "epsilon of certified removal: models with and without erasing are this alike",
          given_by="method"),
    _info("certified_delta", "probability", "delta of certified removal: chance that epsilon does not hold",
          given_by="method"),
    # What erasing cost.
    _cost("unlearn_seconds", "s", "time of one erasure: one replica, nothing else running, median of 5",
          short="seconds", title="seconds", shown={"unattacked": 70, "ratio": 30}),
    _cost("train_seconds", "s", "time of training the original", short="train s"),
    _cost("gradient_steps", "steps", "optimiser steps of one erasure",
          short="steps", title="steps", shown={"unattacked": 60, "tuned": 40, "ratio": 10}),
    _cost("samples_processed", "images", "images whose gradient one erasure computed, repetitions counted",
          short="samples", shown={"ratio": 20}),
    # Reconstruction of the erased images, or of the attacked ones.
    _privacy("mse", "per pixel", "higher", "mean squared error of reconstructions", "mse_mean_image",
             short="MSE", title="MSE", shown={"attacked": 20, "beta": 10}),
    _privacy("sse", "per image", "higher", "summed squared error of reconstructions", "sse_mean_image", short="SSE"),
    _privacy("mse_batch20", "per batch", "higher", "reconstruction error on the paper's scale: 20 images summed"),
    _privacy("skill_mean", "share", "lower", "1 - SSE / SSE of the adversary's mean image", 0.0,
             short="skill", title="skill", bounds=_SKILL, leak="inferred", superseded_by="skill_blind_set",
             shown={"attacked": 30, "tradeoff": 40, "beta": 20}),
    _privacy("skill_class_true", "share", "lower", "1 - SSE / SSE of the mean image of the true class", 0.0,
             short="skill c.", bounds=_SKILL),
    _privacy("skill_class_inferred", "share", "lower", "1 - SSE / SSE of the mean image of the inferred class", 0.0,
             short="skill i.", bounds=_SKILL),
    _privacy("skill_blind_set", "share", "lower", "1 - SSE / SSE of the best answer that looks at no output", 0.0,
             short="skill s.", title="skill (sets)", bounds=_SKILL, leak="inferred",
             shown={"attacked": 40, "tradeoff": 30}),
    _privacy("ssim", "-1 to 1", "lower", "structural similarity of reconstructions", short="SSIM"),
    _privacy("retrieval_top1", "share", "lower", "erased image found among 100 by its reconstruction", 0.01,
             short="top-1"),
    _privacy("retrieval_top1_class", "share", "lower", "the same among 100 images of the erased image's own class",
             0.01),
    _privacy("label_accuracy", "share", "lower", "labels of erased images inferred, in any order",
             "label_accuracy_majority", short="label", title="label", leak="inferred",
             shown={"attacked": 50, "tradeoff": 50, "beta": 40}),
    _privacy("label_kl", "nat", "higher", "KL[shares of a set's true labels || shares of inferred ones]",
             "label_kl_prior", short="label KL", title="label KL", shown={"attacked": 60}),
    _info("nearest_sse", "per image", "SSE of the nearest adversary's image: an oracle that sees the erased image"),
    # Membership in the erased set.
    _privacy("auc", "share", "lower", "area under the ROC curve: erased (or member) against never-seen images", 0.5,
             short="AUC", title="AUC", leak="inferred", shown={"attacked": 70, "tradeoff": 20, "beta": 30}),
    _privacy("balanced_accuracy", "share", "lower", "mean of true positive and true negative rate", 0.5,
             short="bal.acc."),
    _privacy("tpr_at_1pct_fpr", "share", "lower", "erased (or member) images found at 1 % false alarms", 0.01,
             short="TPR@1%", title="TPR at 1 % FPR", rate=Rate("tpr", 0.01), shown={"attacked": 80}),
    _privacy("tpr_at_0_1pct_fpr", "share", "lower", "erased (or member) images found at 0.1 % false alarms", 0.001,
             short="TPR@.1%", title="TPR at 0.1 % FPR", rate=Rate("tpr", 0.001), shown={"pages": 85}),
    _privacy("tnr_at_95pct_tpr", "share", "lower",
             "never-seen images cleared while 95 % of erased (or member) ones are found", 0.05,
             short="TNR@95%", rate=Rate("tnr", 0.95)),
    _info("auc_remaining", "share", "auc of the same scores: erased images against remaining ones of their classes",
          short="AUC rem."),
    _info("queries", "images", "images that each target's models were asked about, before and after together"),
    _privacy("auc_on_attack_training_data", "share", "lower", "AUC on the data the attack was fitted to (Table 2)", 0.5,
             short="AUC tr.", given_by="attack"),
    # Against the attack on the original model alone (Chen et al., 2021, section 3.3).
    _info("auc_classical", "share", "auc of the same attack without the model after unlearning", short="AUC cl."),
    _privacy("deg_count", "share", "lower", "candidates it is surer of than the classical attack; equal: half", 0.5),
    _privacy("deg_rate", "probability", "lower", "mean gain in confidence over the classical attack", 0.0,
             bounds=_DIFFERENCE),
    # The largest share, over what the attack infers, of all that there is to gain.
    _privacy("advantage", "share", "lower", "(score - trivial) / (1 - trivial), largest of what the attack infers", 0.0,
             short="adv.", shown={"attacked": 10, "tradeoff": 10}),
    # What all others see (deletion compliance: Gao et al., 2022; Garg et al., 2020).
    _privacy("compliance_change", "probability", "lower",
             "mean total variation between the answers before and after, on never-seen images", given_by="attack"),
    # Distance to a distribution of retrained models.
    _privacy("klom_erased", "nat", "lower", "KL of margins to retrained models, erased images, 95th percentile",
             "klom_null", given_by="attack",
             short="KLoM", title="KLoM", leak="distance", shown={"attacked": 90, "tradeoff": 60}),
    _privacy("klom_remaining", "nat", "lower", "the same on remaining training images", given_by="attack"),
    _privacy("klom_unseen", "nat", "lower", "the same on never-seen images", given_by="attack"),
    _info("klom_null", "nat", "klom_erased of as many further retrained models: what chance alone gives",
          given_by="attack"),
    _info("klom_ceiling", "nat", "the largest KLoM that so many models can show, however far apart", given_by="attack"),
    _privacy("epsilon_erased", "nat", "lower", "lower 95 % bound on an erased image's epsilon: the median of images",
             "epsilon_null", given_by="attack",
             short="epsilon >=", title="ε", leak="distance", shown={"attacked": 100}),
    _info("epsilon_null", "nat", "epsilon_erased of as many further retrained models: what chance alone gives",
          given_by="attack"),
    _info("epsilon_ceiling", "nat", "the largest bound on epsilon that so many models can show, however far apart",
          given_by="attack"),
    _privacy("epsilon_share", "share", "lower", "erased images whose 95 % bound on epsilon is above 0", 0.05,
             given_by="attack"),
    _info("epsilon_share_null", "share", "epsilon_share of as many further retrained models", given_by="attack"),
    _info("epsilon_fitted", "nat", "epsilon under fitted normal distributions, median of erased images: no bound",
          given_by="attack"),
    # Settings inferred from weights (Wang and Gong, 2018). An error of 1 is that of answering 0.
    _info("stolen_beta", "weight", "weight of the KL in training, as inferred from the original", given_by="attack"),
    _info("stolen_l2", "weight", "weight of the squared parameters, inferred likewise", given_by="attack"),
    _info("stolen_steps", "steps", "steps of an erasure, as inferred from the change of weights", given_by="attack"),
    _privacy("stolen_beta_error", "relative", "higher", "relative error of stolen_beta", 1.0, short="beta err.",
             title="error of beta", shown={"attacked": 110}),
    _privacy("stolen_l2_error", "relative", "higher", "relative error of stolen_l2", 1.0, short="l2 err.",
             title="error of l2", shown={"attacked": 120}),
    _privacy("stolen_steps_error", "relative", "higher", "relative error of stolen_steps", 1.0, short="steps err.",
             title="error of steps", shown={"attacked": 130}),
    # Trivial attackers: they look at no model output.
    _info("mse_mean_image", "per pixel", "mse of answering with the adversary's mean image"),
    _info("mse_class_mean", "per pixel", "mse of answering with the mean image of the true class"),
    _info("mse_blind_set", "per pixel", "mse of answering all sets with the best set that looks at no output"),
    _info("sse_mean_image", "per image", "sse of answering with the adversary's mean image"),
    _info("sse_class_mean", "per image", "sse of answering with the mean image of the true class"),
    _info("label_accuracy_majority", "share", "label_accuracy of always answering with the adversary's largest class"),
    _info("label_kl_prior", "nat", "label_kl of answering with the shares of the adversary's own labels"),
)
# fmt: on

_BY_NAME = {metric.name: metric for metric in _ALL}

METRICS: Mapping[str, Metric] = MappingProxyType(_BY_NAME)
"""All metrics by name, in the order of the columns of a leaderboard."""


def shown_in(*views: View) -> list[Metric]:
    """The metrics of one view, or of several merged, in the order in which they are shown."""
    places = [
        (min(own), metric)
        for metric in METRICS.values()
        if (own := [metric.shown[v] for v in views if v in metric.shown])
    ]
    return [metric for _, metric in sorted(places, key=lambda each: each[0])]


def given_by(giver: Literal["method", "attack"]) -> frozenset[str]:
    """The metrics that a method (its guarantees) or an attack (distances to retrained models, and its score on its own
    data) may record itself. The harness measures all others from what they return."""
    return frozenset(name for name, metric in METRICS.items() if metric.given_by == giver)


def describe(name: str) -> Metric:
    """The metric called `name`. Raises KeyError naming the nearest valid name."""
    try:
        return METRICS[name]
    except KeyError:
        raise KeyError(f"unknown metric '{name}'{suggest(name, METRICS)}") from None
