"""Scores of an attack's evidence: its metrics and those of trivial attackers, with intervals over images.

The harness computes them, never the attack: the truth stays here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unlearnbench.adversary.evidence import EvidenceError
from unlearnbench.metrics import label_sets, membership, reconstruction
from unlearnbench.metrics.catalog import given_by
from unlearnbench.metrics.intervals import Statistic, bootstrap
from unlearnbench.metrics.similarity import structural_similarity
from unlearnbench.plugin import Evidence, Measured
from unlearnbench.system.seeding import derive, stream

BOOTSTRAP_REPEATS = 1_000
_Rule = Callable[[np.ndarray, np.ndarray], float | None]  # of scores and who is a member
CALLABLE_REPEATS = 250  # fewer: a callable is evaluated once per resample


@dataclass(frozen=True)
class Score:
    """A metric's value, its 95 % bootstrap interval over images within this seed, and the number of images."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, eq=False)
class Truth:
    """What evidence is compared with.

    Attributes:
        images: f32[T, s, C, H, W], erased (or challenge images, with s = 1).
        labels: i64[T, s].
        membership: bool[T, c]: which candidates were erased (or bool[n, 1]: which challenge images are members).
        remaining: bool[T, c]: which candidates are remaining images; None if the access adds none.
        auxiliary, auxiliary_labels: the adversary's own images f32[m, C, H, W] and their labels, which trivial
            attackers use.
        classes: Y.
        seed: of bootstrap resamples and retrieval decoys.
    """

    images: Tensor
    labels: Tensor
    membership: Tensor
    auxiliary: Tensor
    auxiliary_labels: Tensor
    classes: int
    seed: int
    remaining: Tensor | None = None


class Compared(NamedTuple):
    """Membership as it is scored: f32[T, c] of images that are or are not what the evidence is about, bool[T, c]."""

    scores: Tensor
    members: Tensor
    baseline: Tensor | None = None


def compared(evidence: Evidence, truth: Truth) -> Compared:
    """Erased (or remaining) images against never-seen ones, without the third kind of candidates."""
    assert evidence.membership is not None
    shape = truth.membership.shape
    scores = _checked("membership", evidence.membership, shape)
    baseline = None if evidence.baseline is None else _checked("baseline", evidence.baseline, shape)
    if truth.remaining is None:
        return Compared(scores, truth.membership, baseline)
    members, others = truth.membership, truth.remaining
    if evidence.subject == "remaining":
        members, others = others, members
    chosen = None if baseline is None else _among(~others, baseline)
    return Compared(_among(~others, scores), _among(~others, members), chosen)


def _among(chosen: Tensor, values: Tensor) -> Tensor:
    """The chosen columns of each row, equally many in each."""
    return values[chosen].view(len(values), -1)


def score(evidence: Evidence, truth: Truth) -> dict[str, Score]:
    """All metrics that the evidence allows."""
    claims = (evidence.images, evidence.label_scores, evidence.membership)
    if all(part is None for part in claims) and not evidence.metrics:
        raise EvidenceError("the attack returned no evidence")
    scores: dict[str, Score] = {}
    if evidence.images is not None:
        scores |= _reconstruction(_checked("images", evidence.images, truth.images.shape), evidence, truth)
    if evidence.label_scores is not None:
        scores |= _labels(evidence.label_scores, truth)
    if evidence.membership is not None:
        scores |= _membership(compared(evidence, truth), evidence.threshold, truth)
        if truth.remaining is not None and evidence.subject == "erased":
            scores["auc_remaining"] = _auc_remaining(evidence, truth)
    return scores | {name: _measured(name, value) for name, value in evidence.metrics.items()}


def _measured(name: str, given: float | Measured) -> Score:
    """A metric that the attack has measured itself."""
    value, n, low, high = Measured.of(given)
    known = [number for number in (value, low, high) if number is not None]
    if name not in given_by("attack") or not all(math.isfinite(number) for number in known):
        raise EvidenceError(
            f"evidence.metrics: '{name}' = {given} is not a finite value of a metric that an attack measures itself"
        )
    if n < 0 or (low is None) != (high is None) or not (low is None or high is None or low <= value <= high):
        raise EvidenceError(f"evidence.metrics: '{name}' = {given} is no number of samples, or no interval, of a value")
    return Score(value, low, high, n)


def _checked(what: str, value: Tensor, shape: torch.Size) -> Tensor:
    if value.numel() != shape.numel() or value.shape[0] != shape[0]:
        raise EvidenceError(f"evidence.{what} has shape {tuple(value.shape)}, expected {tuple(shape)}")
    value = value.detach().cpu()
    if not bool(torch.isfinite(value).all()):
        raise EvidenceError(f"evidence.{what} holds values that are not finite")
    return value.float().view(shape)


# --- reconstruction --------------------------------------------------------------------------------------------------


def _reconstruction(images: Tensor, evidence: Evidence, truth: Truth) -> dict[str, Score]:
    """Sets have no order: the answers of the attack and of trivial attackers are matched to the truth in the same
    way."""
    true, labels = truth.images.flatten(0, 1), truth.labels.flatten()
    matched = reconstruction.match_sets(images, truth.images).flatten(0, 1)
    means = reconstruction.class_means(truth.auxiliary, truth.auxiliary_labels, truth.classes)

    def errors_of_classes(labels: Tensor) -> Tensor:
        answer = reconstruction.match_sets(means[labels], truth.images).flatten(0, 1)
        return reconstruction.squared_errors(answer, true)

    errors = {
        "mean_image": reconstruction.squared_errors(reconstruction.mean_image(truth.auxiliary).expand_as(true), true),
        "class_mean": errors_of_classes(truth.labels),
    }
    pixels = true[0].numel()
    own = reconstruction.squared_errors(matched, true)
    similarity = structural_similarity(matched, true)
    scores = {
        "mse": _by_erasure(own / pixels, truth, "mse"),
        "sse": _by_erasure(own, truth, "sse"),
        "mse_batch20": _by_erasure(20 * own, truth, "mse_batch20"),
        "ssim": _by_erasure(similarity, truth, "ssim"),
        "nearest_sse": _by_erasure(reconstruction.nearest_errors(true, truth.auxiliary), truth, "nearest_sse"),
        "skill_mean": _skill(own, errors["mean_image"], truth, "skill_mean"),
        "skill_class_true": _skill(own, errors["class_mean"], truth, "skill_class_true"),
    }
    for reference in ("mean_image", "class_mean"):
        scores[f"mse_{reference}"] = _by_erasure(errors[reference] / pixels, truth, f"mse_{reference}")
        scores[f"sse_{reference}"] = _by_erasure(errors[reference], truth, f"sse_{reference}")
    if truth.labels.shape[1] > 1:
        blind = reconstruction.blind_set(truth.auxiliary, truth.labels.shape[1], derive(truth.seed, "blind set"))
        answer = reconstruction.match_sets(blind.expand_as(truth.images), truth.images).flatten(0, 1)
        blind_errors = reconstruction.squared_errors(answer, true)
        scores["mse_blind_set"] = _by_erasure(blind_errors / pixels, truth, "mse_blind_set")
        scores["skill_blind_set"] = _skill(own, blind_errors, truth, "skill_blind_set")
    if evidence.label_scores is not None:
        reference_errors = errors_of_classes(_inferred(evidence.label_scores, truth))
        scores["skill_class_inferred"] = _skill(own, reference_errors, truth, "skill_class_inferred")
    for name, decoy_labels in (("retrieval_top1", None), ("retrieval_top1_class", truth.auxiliary_labels)):
        generator = stream(truth.seed, "retrieval")
        found = reconstruction.retrieved(matched, true, truth.auxiliary, generator, labels, decoy_labels)
        if found is not None:
            scores[name] = _by_erasure(found.double(), truth, name)
    return scores


def _skill(own: Tensor, reference: Tensor, truth: Truth, name: str) -> Score:
    """1 - sum SSE / sum SSE of a reference: a ratio of sums over erasures (docs/protocol.md#skill)."""
    # Images of one erasure were rebuilt from one update, so their sums are resampled.
    pairs = torch.stack([own, reference], 1).view(len(truth.labels), -1, 2).sum(1).numpy()
    estimate = _bootstrap(pairs, lambda x: float(1 - x[:, 0].sum() / x[:, 1].sum()), truth, name)
    return replace(estimate, n=len(own))


def _by_erasure(values: Tensor, truth: Truth, name: str) -> Score:
    """Mean of f64[T * s]; images of one erasure are resampled together."""
    return replace(_mean(values.view(len(truth.labels), -1).mean(1), truth, name), n=len(values))


# --- labels ---------------------------------------------------------------------------------------------------------


def _labels(label_scores: Tensor, truth: Truth) -> dict[str, Score]:
    """A set's labels, regardless of order; for single images the share of correct answers."""
    inferred = _inferred(label_scores, truth)
    majority = truth.auxiliary_labels.mode().values.expand_as(truth.labels)
    values = {
        "label_accuracy": label_sets.overlap(inferred, truth.labels, truth.classes),
        "label_accuracy_majority": label_sets.overlap(majority, truth.labels, truth.classes),
    }
    if truth.labels.shape[1] > 1:
        prior = torch.bincount(truth.auxiliary_labels, minlength=truth.classes)[None]
        counts = label_sets.counts(inferred, truth.classes)
        values["label_kl"] = label_sets.divergence(truth.labels, counts)
        values["label_kl_prior"] = label_sets.divergence(truth.labels, prior)
    return {name: replace(_mean(each, truth, name), n=truth.labels.numel()) for name, each in values.items()}


def _inferred(label_scores: Tensor, truth: Truth) -> Tensor:
    """i64[T, s]."""
    shape = torch.Size((*truth.labels.shape, truth.classes))
    return _checked("label_scores", label_scores, shape).argmax(-1)


# --- membership -----------------------------------------------------------------------------------------------------


def _membership(given: Compared, threshold: float | None, truth: Truth) -> dict[str, Score]:
    """Over all candidates of all targets; candidates of one target are resampled together."""
    scores, baseline, clusters = given.scores, given.baseline, _clusters(given.scores)
    members = given.members.flatten().float()

    def measure(name: str, own: Tensor, function: _Rule) -> Score:
        return _measure(name, own, members, function, truth)

    measured = {
        "auc": measure("auc", scores, membership.auc),
        "balanced_accuracy": measure(
            "balanced_accuracy", scores,
            lambda s, m: None if threshold is None else membership.balanced_accuracy(s, m, threshold),
        ),
        "tpr_at_1pct_fpr": measure("tpr_at_1pct_fpr", scores, lambda s, m: membership.tpr_at_fpr(s, m, 0.01)),
        "tpr_at_0_1pct_fpr": measure("tpr_at_0_1pct_fpr", scores, lambda s, m: membership.tpr_at_fpr(s, m, 0.001)),
        "tnr_at_95pct_tpr": measure("tnr_at_95pct_tpr", scores, lambda s, m: membership.tnr_at_tpr(s, m, 0.95)),
    }  # fmt: skip
    if baseline is None:
        return measured
    for name, values in (("membership", scores), ("baseline", baseline)):
        if float(values.min()) < 0 or float(values.max()) > 1:
            raise EvidenceError(f"evidence.{name} beside a baseline must hold probabilities, from 0 to 1")
    gains = membership.confidence_gains(scores.flatten().numpy(), baseline.flatten().numpy(), members.numpy() > 0)
    higher = (np.sign(gains) + 1) / 2
    # Members make up half of each mean, however many non-members there are per member.
    share = float(members.mean())
    weight = np.where(members.numpy() > 0, 0.5 / share, 0.5 / (1 - share))
    return measured | {
        "auc_classical": measure("auc_classical", baseline, membership.auc),
        "deg_count": _bootstrap(weight * higher, "mean", truth, "deg_count", clusters),
        "deg_rate": _bootstrap(weight * gains, "mean", truth, "deg_rate", clusters),
    }


def _auc_remaining(evidence: Evidence, truth: Truth) -> Score:
    """AUC of erased against remaining images."""
    assert truth.remaining is not None
    assert evidence.membership is not None
    scores = _checked("membership", evidence.membership, truth.membership.shape)
    learned = truth.membership | truth.remaining
    own, erased = _among(learned, scores), _among(learned, truth.membership)
    return _measure("auc_remaining", own, erased.flatten().float(), membership.auc, truth)


def _measure(name: str, own: Tensor, members: Tensor, function: _Rule, truth: Truth) -> Score:
    """A number of scores f32[T, c] and of who is a member, f32[T c], with its interval."""
    pairs = torch.stack([own.flatten(), members], 1).double().numpy()
    value = function(pairs[:, 0], pairs[:, 1] > 0)
    if value is None:
        return Score(None, None, None, len(pairs))

    def resampled(x: np.ndarray) -> float:
        drawn = x[:, 1] > 0
        if drawn.all() or not drawn.any():
            return float("nan")
        result = function(x[:, 0], drawn)
        return float("nan") if result is None else result

    return _bootstrap(pairs, resampled, truth, name, _clusters(own))


def _clusters(scores: Tensor) -> np.ndarray | None:
    return np.repeat(np.arange(scores.shape[0]), scores.shape[1]) if scores.shape[1] > 1 else None


# --- intervals ------------------------------------------------------------------------------------------------------


def _mean(values: Tensor, truth: Truth, name: str) -> Score:
    return _bootstrap(values.numpy(), "mean", truth, name, repeats=BOOTSTRAP_REPEATS)


def _bootstrap(
    values: np.ndarray, statistic: Statistic, truth: Truth, name: str,
    clusters: np.ndarray | None = None, repeats: int = CALLABLE_REPEATS,
) -> Score:  # fmt: skip
    generator = stream(truth.seed, "bootstrap", name)
    estimate, low, high = bootstrap(values, statistic, generator, repeats=repeats, clusters=clusters)
    return Score(estimate, low, high, len(values))


def as_json(scores: Mapping[str, Score]) -> dict[str, list[float | int | None]]:
    """Scores as plain values for an artifact."""
    return {name: [s.value, s.low, s.high, s.n] for name, s in scores.items()}
