"""Membership beside the attack's own baseline, and evidence that is a distance only."""

import numpy as np
import pytest
import torch

from unlearnbench.adversary.evidence import EvidenceError
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.metrics.membership import confidence_gains
from unlearnbench.plugin import Evidence, Measured
from unlearnbench.stages.scoring import Score, Truth, score

T, C = 6, 4
MEMBERS = (torch.arange(C) < C // 2).expand(T, -1)
NOTHING = torch.zeros(T, C // 2, 1, 2, 2)
TRUTH = Truth(NOTHING, torch.zeros(T, C // 2), MEMBERS, NOTHING[0], torch.zeros(C // 2), classes=2, seed=0)


def test_gains_by_hand():
    gains = confidence_gains([0.9, 0.2, 0.3, 0.5], [0.6, 0.4, 0.2, 0.5], [True, True, False, False])
    assert gains == pytest.approx([0.3, -0.2, -0.1, 0.0])


def test_deg_count_and_deg_rate_by_hand():
    """Of 4 candidates a target 1 is told surer by 0.4, 1 less sure by 0.2, 2 as before."""
    baseline = torch.full((T, C), 0.5)
    attack = torch.tensor([0.9, 0.3, 0.5, 0.5]).expand(T, -1)
    scores = score(Evidence(membership=attack, baseline=baseline), TRUTH)
    assert scores["deg_count"].value == pytest.approx(0.5)
    assert scores["deg_rate"].value == pytest.approx(0.05)
    assert scores["auc_classical"].value == 0.5
    surer = score(Evidence(membership=torch.where(MEMBERS, 0.75, 0.25), baseline=baseline), TRUTH)
    assert (surer["deg_count"].value, surer["deg_rate"].value, surer["auc"].value) == (1, 0.25, 1)


def test_an_attack_beside_itself_gains_nothing():
    attack = torch.rand(T, C, generator=torch.Generator().manual_seed(0))
    scores = score(Evidence(membership=attack, baseline=attack), TRUTH)
    for name in ("deg_count", "deg_rate"):
        assert scores[name].value == METRICS[name].trivial
    assert scores["auc_classical"].value == scores["auc"].value


def test_gains_of_one_target_are_resampled_together():
    """One target is told surer, the others as before: some resamples lack it."""
    attack = torch.full((T, C), 0.5)
    attack[0] = MEMBERS[0].float()
    scores = score(Evidence(membership=attack, baseline=torch.full((T, C), 0.5)), TRUTH)
    for name, nothing in (("deg_count", 0.5), ("deg_rate", 0.0)):
        assert scores[name].low == pytest.approx(nothing)
        assert scores[name].high > scores[name].value > nothing
        assert scores[name].n == T * C


def test_groups_are_scored_candidate_by_candidate():
    members = (torch.arange(18) < 9).expand(3, -1)
    truth = Truth(NOTHING, torch.zeros(3, 9), members, NOTHING[0], torch.zeros(2), classes=2, seed=0)
    scores = score(Evidence(membership=members.float(), threshold=0.5, baseline=1 - members.float()), truth)
    assert (scores["auc"].value, scores["auc_classical"].value, scores["deg_rate"].value) == (1, 0, 1)
    assert scores["auc"].n == 54


@pytest.mark.parametrize(
    ("attack", "baseline", "what"),
    [(2.0, 0.5, "membership.*probabilities"), (0.5, -0.1, "baseline.*probabilities"), (0.5, np.nan, "not finite")],
)
def test_only_probabilities_are_compared(attack, baseline, what):
    evidence = Evidence(membership=torch.full((T, C), attack), baseline=torch.full((T, C), baseline))
    with pytest.raises(EvidenceError, match=what):
        score(evidence, TRUTH)


def test_without_a_baseline_scores_need_not_be_probabilities():
    scores = score(Evidence(membership=40 * MEMBERS.float() - 20, threshold=0.0), TRUTH)
    assert scores["balanced_accuracy"].value == 1
    assert not {"auc_classical", "deg_count", "deg_rate"} & set(scores)


@pytest.mark.parametrize("negatives", [1, 2, 9, 40])
def test_any_number_of_never_seen_images_stands_beside_each_erased_one(negatives):
    members = (torch.arange(1 + negatives) < 1).expand(30, -1)
    nothing = torch.zeros(30, 1, 1, 2, 2)
    truth = Truth(nothing, torch.zeros(30, 1), members, nothing[0], torch.zeros(1), classes=2, seed=0)
    right = 0.25 + members / 2
    scores = score(Evidence(membership=right, threshold=0.5, baseline=torch.full(right.shape, 0.5)), truth)
    for name, value in {"auc": 1, "balanced_accuracy": 1, "deg_count": 1, "deg_rate": 0.25}.items():
        assert scores[name].value == pytest.approx(value)
        assert (scores[name].low, scores[name].high) == pytest.approx((value, value))
        assert scores[name].n == members.numel()
    one_sided = score(Evidence(membership=torch.full(right.shape, 1.0), threshold=0.5, baseline=right), truth)
    assert one_sided["balanced_accuracy"].value == 0.5
    assert one_sided["deg_count"].value == pytest.approx(
        0.5
    )  # surer of all erased, less sure of all others: as many of each


def test_rates_are_null_unless_there_are_images_for_them():
    members = (torch.arange(6) < 1).expand(200, -1)
    nothing = torch.zeros(200, 1, 1, 2, 2)
    truth = Truth(nothing, torch.zeros(200, 1), members, nothing[0], torch.zeros(1), classes=2, seed=0)
    scores = score(Evidence(membership=members.float()), truth)
    assert scores["tpr_at_1pct_fpr"].value == scores["tnr_at_95pct_tpr"].value == 1
    assert scores["tpr_at_0_1pct_fpr"].value is None
    small = score(Evidence(membership=MEMBERS.float()), TRUTH)
    assert small["tpr_at_1pct_fpr"].value is small["tnr_at_95pct_tpr"].value is None


def test_an_attack_counts_what_it_measured():
    metrics = {"klom_erased": Measured(0.7, 24), "epsilon_erased": Measured(0.5, 24, 0.25, 1.0)}
    expected = {"klom_erased": Score(0.7, None, None, 24), "epsilon_erased": Score(0.5, 0.25, 1.0, 24)}
    assert score(Evidence(metrics=metrics), TRUTH) == expected


@pytest.mark.parametrize(
    "wrong", [Measured(0.5, -1), Measured(0.5, 3, 0.6, 0.7), Measured(0.5, 3, 0.4), Measured(0.5, 3, None, 0.6),
              Measured(0.5, 3, float("nan"), 0.6), Measured(float("inf"), 3)],
)  # fmt: skip
def test_impossible_measurements_are_refused(wrong):
    with pytest.raises(EvidenceError, match="klom_erased"):
        score(Evidence(metrics={"klom_erased": wrong}), TRUTH)


def test_evidence_may_be_metrics_alone():
    metrics = {"klom_erased": 0.7, "epsilon_erased": 2.0}
    expected = {name: Score(value, None, None, 0) for name, value in metrics.items()}
    assert score(Evidence(metrics=metrics), TRUTH) == expected
