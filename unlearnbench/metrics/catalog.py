"""What each metric means, which way is good and what a trivial attacker would get.

Every name that may stand in a record's `metric` column is here; docs/protocol.md section 11 has the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from unlearnbench.system.errors import suggest

Good = Literal["privacy", "utility", "cost", "info"]
Better = Literal["higher", "lower", "none"]


LARGEST = 3.4e38
"""The largest number of 32 bits, so that of values of 64 bits sums and squares stay finite."""


@dataclass(frozen=True)
class Metric:
    """One number that a cell may report.

    Attributes:
        name: as in the records.
        unit: of the value; "share" is a proportion from 0 to 1.
        good: what a better value is good for. Privacy metrics are the attacker's success or error.
        better: which way is good for that; "none" where neither is.
        description: one line for tables and documentation.
        trivial: what the best attacker who looks at no model output and knows no label gets: a constant, or the
            name of the metric that measured it on the same erasures; None where there is no such attacker.
    """

    name: str
    unit: str
    good: Good
    better: Better
    description: str
    trivial: str | float | None = None

    @property
    def is_share(self) -> bool:
        """Whether it is a proportion of images (or seeds), between 0 and 1; a skill is not, it has no lower end."""
        return self.unit == "share" and not self.name.startswith("skill")

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest value that it can have, or that a model with numbers of 32 bits can give it."""
        if self.name.startswith("skill_"):
            return -LARGEST, 1.0
        if self.name in ("ssim", "deg_rate") or self.unit.startswith("quantile"):  # differences
            return -1.0, 1.0
        if self.unit in ("share", "accuracy", "probability"):
            return 0.0, 1.0
        return 0.0, LARGEST

    @property
    def direction(self) -> str:
        """The text of a record's `direction` column, e.g. ``privacy: higher is better``."""
        return self.good if self.better == "none" else f"{self.good}: {self.better} is better"


def _utility(name: str, description: str, better: Better = "higher", unit: str = "share") -> Metric:
    return Metric(name, unit, "utility", better, description)


def _privacy(name: str, unit: str, better: Better, description: str, trivial: str | float | None = None) -> Metric:
    return Metric(name, unit, "privacy", better, description, trivial)


def _cost(name: str, unit: str, description: str) -> Metric:
    return Metric(name, unit, "cost", "lower", description)


def _info(name: str, unit: str, description: str) -> Metric:
    return Metric(name, unit, "info", "none", description)


_ALL = (
    # What the model still can do, and whether it forgot.
    _utility("accuracy", "accuracy on the test images"),
    _utility("remaining_accuracy", "accuracy on the remaining training images"),
    _info("erased_accuracy", "share", "accuracy on the erased images; retraining keeps that of never-seen images"),
    _utility("target_class_accuracy", "accuracy on test images of the backdoor's target class"),
    _utility("other_classes_accuracy", "accuracy on test images of all classes but the backdoor's target class"),
    _utility("backdoor_accuracy", "stamped training images classified as the backdoor's target", "lower"),
    _utility("backdoor_success", "stamped test images of the base class classified as the target", "lower"),
    _utility("backdoor_success_any", "stamped test images of all classes but the target classified as it", "lower"),
    _utility("forgot", "1 if accuracy on stamped images fell under the stop rule's threshold; share of seeds"),
    _info("memory", "quantile", "standing of the erased images among never-seen ones, beyond that in retrained models"),
    _info("memory_original", "quantile", "the same in the original: what there is to forget"),
    _info("memory_square", "quantile^2", "mean square of the same, image by image, beyond that of a retrained model"),
    _info("memory_square_original", "quantile^2", "the same in the original"),
    _info("retrained_accuracy", "share", "accuracy of the retrained models that forgetting is judged beside"),
    _info("original_accuracy", "share", "accuracy before unlearning, of a method that trains an original of its own"),
    _info("kld_to_prior", "nat", "KL[p(Z|X) || N(0, I)] per latent dimension"),
    # What a certified method guarantees (Guo et al., 2020; Sekhari et al., 2021).
    _info("certified_epsilon", "nat", "epsilon of certified removal: models with and without erasing are this alike"),
    _info("certified_delta", "probability", "delta of certified removal: chance that epsilon does not hold"),
    # What it cost.
    _cost("unlearn_seconds", "s", "time of one erasure: one replica, nothing else running, median of 5"),
    _cost("train_seconds", "s", "time of training the original"),
    _cost("gradient_steps", "steps", "optimiser steps of one erasure"),
    _cost("samples_processed", "images", "images whose gradient one erasure computed, repetitions counted"),
    # Reconstruction of the erased images, or of the attacked ones.
    _privacy("mse", "per pixel", "higher", "mean squared error of reconstructions", "mse_mean_image"),
    _privacy("sse", "per image", "higher", "summed squared error of reconstructions", "sse_mean_image"),
    _privacy("mse_batch20", "per batch", "higher", "reconstruction error on the paper's scale: 20 images summed"),
    _privacy("skill_mean", "share", "lower", "1 - SSE / SSE of the adversary's mean image", 0.0),
    _privacy("skill_class_true", "share", "lower", "1 - SSE / SSE of the mean image of the true class", 0.0),
    _privacy("skill_class_inferred", "share", "lower", "1 - SSE / SSE of the mean image of the inferred class", 0.0),
    _privacy("skill_blind_set", "share", "lower", "1 - SSE / SSE of the best answer that looks at no output", 0.0),
    _privacy("ssim", "-1 to 1", "lower", "structural similarity of reconstructions"),
    _privacy("retrieval_top1", "share", "lower", "erased image found among 100 by its reconstruction", 0.01),
    _privacy(
        "retrieval_top1_class", "share", "lower", "the same among 100 images of the erased image's own class", 0.01
    ),
    _privacy(
        "label_accuracy", "share", "lower", "labels of erased images inferred, in any order", "label_accuracy_majority"
    ),
    _privacy(
        "label_kl", "nat", "higher", "KL[shares of a set's true labels || shares of inferred ones]", "label_kl_prior"
    ),
    _info("nearest_sse", "per image", "SSE of the nearest adversary's image: an oracle that sees the erased image"),
    # Membership in the erased set.
    _privacy("auc", "share", "lower", "area under the ROC curve: erased (or member) against never-seen images", 0.5),
    _privacy("balanced_accuracy", "share", "lower", "mean of true positive and true negative rate", 0.5),
    _privacy("tpr_at_1pct_fpr", "share", "lower", "erased (or member) images found at 1 % false alarms", 0.01),
    _privacy("tpr_at_0_1pct_fpr", "share", "lower", "erased (or member) images found at 0.1 % false alarms", 0.001),
    _privacy(
        "tnr_at_95pct_tpr",
        "share",
        "lower",
        "never-seen images cleared while 95 % of erased (or member) ones are found",
        0.05,
    ),
    _privacy(
        "auc_on_attack_training_data", "share", "lower", "AUC on the data the attack was fitted to (Table 2)", 0.5
    ),
    # Against the attack on the original model alone (Chen et al., 2021, section 3.3).
    _info("auc_classical", "share", "auc of the same attack without the model after unlearning"),
    _privacy("deg_count", "share", "lower", "candidates it is surer of than the classical attack; equal: half", 0.5),
    _privacy("deg_rate", "probability", "lower", "mean gain in confidence over the classical attack", 0.0),
    # Of what the attack infers, the largest share gained of all that there is to gain.
    _privacy(
        "advantage", "share", "lower", "(score - trivial) / (1 - trivial), largest of what the attack infers", 0.0
    ),
    # Distance to a distribution of retrained models.
    _privacy(
        "klom_erased", "nat", "lower", "KL of margins to retrained models, erased images, 95th percentile", "klom_null"
    ),
    _privacy("klom_remaining", "nat", "lower", "the same on remaining training images"),
    _privacy("klom_unseen", "nat", "lower", "the same on never-seen images"),
    _info("klom_null", "nat", "klom_erased of as many further retrained models: what chance alone gives"),
    _info("klom_ceiling", "nat", "the largest KLoM that so many models can show, however far apart"),
    _privacy(
        "epsilon_erased",
        "nat",
        "lower",
        "lower 95 % bound on an erased image's epsilon: the median of images",
        "epsilon_null",
    ),
    _info("epsilon_null", "nat", "epsilon_erased of as many further retrained models: what chance alone gives"),
    _info("epsilon_ceiling", "nat", "the largest bound on epsilon that so many models can show, however far apart"),
    _privacy("epsilon_share", "share", "lower", "erased images whose 95 % bound on epsilon is above 0", 0.05),
    _info("epsilon_share_null", "share", "epsilon_share of as many further retrained models"),
    _info("epsilon_fitted", "nat", "epsilon under fitted normal distributions, median of erased images: no bound"),
    # Trivial attackers: they look at no model output.
    _info("mse_mean_image", "per pixel", "mse of answering with the adversary's mean image"),
    _info("mse_class_mean", "per pixel", "mse of answering with the mean image of the true class"),
    _info("mse_blind_set", "per pixel", "mse of answering all sets with the best set that looks at no output"),
    _info("sse_mean_image", "per image", "sse of answering with the adversary's mean image"),
    _info("sse_class_mean", "per image", "sse of answering with the mean image of the true class"),
    _info("label_accuracy_majority", "share", "label_accuracy of always answering with the adversary's largest class"),
    _info("label_kl_prior", "nat", "label_kl of answering with the shares of the adversary's own labels"),
)

ON_TEST_IMAGES = frozenset(
    ("accuracy", "target_class_accuracy", "other_classes_accuracy", "backdoor_success", "backdoor_success_any",
     "original_accuracy", "retrained_accuracy")
)  # fmt: skip
"""Metrics whose images are the same in all seeds; the others' are drawn anew for each."""

OF_SEEDS = frozenset(("forgot",))
"""Metrics that say yes or no of a seed as a whole."""

RECORDED_BY_METHODS = frozenset(("certified_epsilon", "certified_delta"))
"""Metrics that a method may record: what it guarantees. All else about it is measured by the harness alone."""


def may_be_claimed(name: str) -> bool:
    """Whether an attack may give a metric itself: distances to retrained models, and its score on its own data. All
    that the harness scores from evidence is scored by the harness alone."""
    return name in METRICS and (name.startswith(("klom_", "epsilon_")) or name == "auc_on_attack_training_data")


METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})
"""All metrics by name, in the order that tables show them."""


def describe(name: str) -> Metric:
    """The metric called `name`. Raises KeyError naming the nearest valid name."""
    try:
        return METRICS[name]
    except KeyError:
        raise KeyError(f"unknown metric '{name}'{suggest(name, METRICS)}") from None
