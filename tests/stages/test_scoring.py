import math

import pytest
import torch

from unlearnbench.adversary.evidence import EvidenceError
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.plugin import Evidence
from unlearnbench.stages.scoring import Truth, _measured, as_json, score

T, S, C, Y = 6, 2, 8, 4


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def make_truth(sets=S, own=120):
    labels = (torch.arange(T * sets) % Y).view(T, sets)
    # Each class has its own brightness: class means are better than the mean of all.
    brightness = torch.tensor([0.1, 0.3, 0.6, 0.9])
    own_labels = torch.arange(own) % Y
    return Truth(
        images=(brightness[labels][..., None, None, None] + 0.2 * rand(T, sets, 1, 5, 5) - 0.1).clamp(0, 1),
        labels=labels,
        membership=torch.arange(C).expand(T, -1) < C // 2,
        auxiliary=(brightness[own_labels][:, None, None, None] + 0.2 * rand(own, 1, 5, 5, seed=1) - 0.1).clamp(0, 1),
        auxiliary_labels=own_labels,
        classes=Y,
        seed=3,
    )


TRUTH = make_truth()


def test_a_perfect_reconstruction():
    scores = score(Evidence(images=TRUTH.images), TRUTH)
    for name in ("mse", "sse", "mse_batch20"):
        assert scores[name].value == 0
    for name in ("skill_mean", "skill_class_true", "retrieval_top1"):
        assert scores[name].value == 1
    assert (scores["skill_mean"].low, scores["skill_mean"].high, scores["skill_mean"].n) == (1, 1, T * S)


def test_the_mean_image_has_no_skill():
    scores = score(Evidence(images=TRUTH.auxiliary.mean(0).expand_as(TRUTH.images)), TRUTH)
    assert scores["skill_mean"].value == pytest.approx(0, abs=1e-6)
    assert scores["mse"].value == pytest.approx(scores["mse_mean_image"].value)
    assert scores["sse"].value == pytest.approx(scores["sse_mean_image"].value)
    assert scores["skill_class_true"].value < -1


def test_class_means_have_no_skill_beyond_the_class():
    means = torch.stack([TRUTH.auxiliary[TRUTH.auxiliary_labels == label].mean(0) for label in range(Y)])
    label_scores = torch.nn.functional.one_hot(TRUTH.labels, Y).float()
    scores = score(Evidence(images=means[TRUTH.labels], label_scores=label_scores), TRUTH)
    assert scores["skill_class_true"].value == pytest.approx(0, abs=1e-6)
    assert scores["skill_class_inferred"].value == pytest.approx(0, abs=1e-6)
    assert scores["sse"].value == pytest.approx(scores["sse_class_mean"].value)
    assert scores["skill_mean"].value > 0.5
    assert scores["label_accuracy"].value == 1


def test_error_scales_are_per_pixel_per_image_and_per_twenty_images():
    scores = score(Evidence(images=TRUTH.images + 0.1), TRUTH)
    assert scores["mse"].value == pytest.approx(0.01, rel=1e-5)
    assert scores["sse"].value == pytest.approx(0.25, rel=1e-5)
    assert scores["mse_batch20"].value == pytest.approx(5, rel=1e-5)


def test_skill_is_a_ratio_of_sums():
    guess = TRUTH.images.clone()
    guess[0] = 0
    scores = score(Evidence(images=guess), TRUTH)
    own = float(TRUTH.images[0].square().sum())
    reference = float((TRUTH.images - TRUTH.auxiliary.mean(0)).square().sum())
    assert scores["skill_mean"].value == pytest.approx(1 - own / reference, rel=1e-5)


def test_the_order_within_a_set_does_not_matter():
    straight, reversed_ = (score(Evidence(images=part), TRUTH) for part in (TRUTH.images, TRUTH.images.flip(1)))
    assert straight == reversed_


def test_labels_by_hand_beside_the_majority():
    label_scores = torch.zeros(T, S, Y)
    label_scores[..., 1] = 1
    scores = score(Evidence(label_scores=label_scores), TRUTH)
    assert scores["label_accuracy"].value == pytest.approx(float((TRUTH.labels == 1).float().mean()))
    majority = int(TRUTH.auxiliary_labels.mode().values)
    assert scores["label_accuracy_majority"].value == pytest.approx(float((TRUTH.labels == majority).float().mean()))


def test_labels_of_a_set_have_no_order():
    truth = Truth(TRUTH.images, TRUTH.labels.flip(1), TRUTH.membership, TRUTH.auxiliary, TRUTH.auxiliary_labels, Y, 3)
    label_scores = torch.nn.functional.one_hot(TRUTH.labels, Y).float()
    scores = score(Evidence(images=TRUTH.images, label_scores=label_scores), truth)
    assert scores["label_accuracy"].value == 1
    assert scores["skill_class_inferred"].value == scores["skill_class_true"].value
    assert scores["label_kl"].value < scores["label_kl_prior"].value


def test_single_images_have_no_label_shares():
    truth = make_truth(sets=1)
    assert "label_kl" not in score(Evidence(label_scores=rand(T, 1, Y)), truth)


def test_images_of_one_erasure_are_resampled_together():
    """One erasure of six is rebuilt badly: resamples of whole erasures leave it out in a third of the cases."""
    guess = TRUTH.images.clone()
    guess[0] += 1
    scores = score(Evidence(images=guess), TRUTH)
    assert (scores["sse"].low, scores["sse"].n) == (0, T * S)
    assert scores["skill_mean"].high == 1
    per_erasure = float((guess - TRUTH.images).square().sum(dim=(2, 3, 4)).mean(1)[0])
    # Means of whole erasures are multiples of a sixth; images on their own would give twelfths as well.
    assert scores["sse"].high * T / per_erasure == pytest.approx(round(scores["sse"].high * T / per_erasure), abs=1e-6)


def test_retrieval_among_the_own_class_needs_enough_of_it():
    assert "retrieval_top1_class" not in score(Evidence(images=TRUTH.images), TRUTH)
    enough = make_truth(own=400)
    assert score(Evidence(images=enough.images), enough)["retrieval_top1_class"].value == 1


def test_similarity_is_scored():
    scores = score(Evidence(images=TRUTH.images), TRUTH)
    assert scores["ssim"].value == pytest.approx(1)
    assert score(Evidence(images=1 - TRUTH.images), TRUTH)["ssim"].value < 0.5


@pytest.mark.parametrize(
    ("membership", "auc", "balanced"),
    [(TRUTH.membership.float(), 1.0, 1.0), (1 - TRUTH.membership.float(), 0.0, 0.0),
     (torch.full((T, C), 0.7), 0.5, 0.5)],
    ids=["perfect", "inverted", "constant"],
)  # fmt: skip
def test_membership_by_hand(membership, auc, balanced):
    scores = score(Evidence(membership=membership, threshold=0.5), TRUTH)
    assert scores["auc"].value == auc
    assert scores["balanced_accuracy"].value == balanced
    assert scores["auc"].n == T * C
    assert score(Evidence(membership=membership), TRUTH)["balanced_accuracy"].value is None


def test_rates_at_few_false_alarms_are_null_with_few_negatives():
    scores = score(Evidence(membership=TRUTH.membership.float()), TRUTH)
    for name in ("tpr_at_1pct_fpr", "tpr_at_0_1pct_fpr"):
        assert scores[name].value is None
        assert scores[name].n == T * C


def test_candidates_of_one_target_are_resampled_together():
    """One target is told apart, the others not at all: over targets that is little certainty."""
    membership = torch.full((T, C), 0.5)
    membership[0] = TRUTH.membership[0].float()
    scores = score(Evidence(membership=membership), TRUTH)
    assert scores["auc"].low == pytest.approx(0.5)  # resamples without the first target
    assert scores["auc"].high > scores["auc"].value > 0.5


def test_a_challenge_is_scored_image_by_image():
    truth = make_truth(sets=1)
    truth = Truth(truth.images, truth.labels, torch.arange(T)[:, None] < 3, truth.auxiliary, truth.auxiliary_labels,
                  Y, 3)  # fmt: skip
    evidence = Evidence(images=truth.images[:, 0], membership=(torch.arange(T) < 3).float(), subject="challenge")
    scores = score(evidence, truth)
    assert scores["auc"].value == 1
    assert scores["sse"].value == 0


def test_few_own_images_give_no_retrieval():
    assert "retrieval_top1" not in score(Evidence(images=TRUTH.images), make_truth(own=98))


def test_every_score_is_in_the_catalogue():
    evidence = Evidence(images=TRUTH.images, label_scores=rand(T, S, Y), membership=rand(T, C))
    assert set(score(evidence, TRUTH)) <= set(METRICS)


def test_a_seed_is_an_interval():
    evidence = Evidence(membership=rand(T, C))
    assert score(evidence, TRUTH) == score(evidence, TRUTH)
    low, high = (getattr(score(evidence, TRUTH)["auc"], end) for end in ("low", "high"))
    assert low < score(evidence, TRUTH)["auc"].value < high


def test_further_metrics_are_passed_on():
    scores = score(Evidence(membership=rand(T, C), metrics={"auc_on_attack_training_data": 0.75}), TRUTH)
    assert as_json(scores)["auc_on_attack_training_data"] == [0.75, None, None, 0]


def test_evidence_in_any_memory_layout_is_scored():
    turned = TRUTH.images.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert not turned.is_contiguous()
    assert score(Evidence(images=turned), TRUTH)["sse"].value == 0


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(),
        Evidence(images=rand(T, S, 1, 5, 4)),
        Evidence(images=rand(S, T, 1, 5, 5)),
        Evidence(images=rand(T + 1, S, 1, 5, 5)),
        Evidence(label_scores=rand(T, S, Y + 1)),
        Evidence(label_scores=rand(T, Y)),
        Evidence(images=rand(T, S, 1, 5, 5), label_scores=rand(T, S, Y + 1)),
        Evidence(images=rand(T, S, 1, 5, 5), label_scores=rand(T + 1, S, Y)),
        Evidence(membership=rand(T, C - 1)),
        Evidence(membership=rand(C, T)),
        Evidence(images=torch.full((T, S, 1, 5, 5), math.nan)),
        Evidence(label_scores=torch.full((T, S, Y), math.inf)),
        Evidence(membership=torch.full((T, C), math.nan)),
    ],
    ids=["nothing", "pixels", "swapped", "targets", "classes", "no sets", "images and classes", "images and targets",
         "candidates", "swapped members", "nan pixels", "infinite labels", "nan members"],
)  # fmt: skip
def test_evidence_of_the_wrong_shape_or_not_finite_is_refused(evidence):
    with pytest.raises(EvidenceError):
        score(evidence, TRUTH)


@pytest.mark.parametrize(("name", "value"), [("acu", 0.5), ("auc", float("nan"))])
def test_metrics_of_evidence_must_be_known_and_finite(name, value):
    with pytest.raises(EvidenceError, match=name):
        score(Evidence(images=TRUTH.images, metrics={name: value}), TRUTH)


@pytest.mark.parametrize("name", ["auc", "advantage", "memory", "accuracy", "skill_mean", "tpr_at_1pct_fpr"])
def test_what_the_harness_measures_an_attack_can_not_claim(name: str) -> None:
    with pytest.raises(EvidenceError, match="not a finite value of a metric that an attack measures itself"):
        _measured(name, 0.5)
