"""Membership beside the attack's own baseline, and evidence that is a distance only."""

import numpy as np
import pytest
import torch

from unlearnbench.metrics.catalog import METRICS
from unlearnbench.metrics.membership import confidence_gains
from unlearnbench.plugin import Evidence
from unlearnbench.scoring import EvidenceError, Score, Truth, score

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


def test_evidence_may_be_metrics_alone():
    metrics = {"klom_erased": 0.7, "epsilon_erased": 2.0}
    expected = {name: Score(value, None, None, 0) for name, value in metrics.items()}
    assert score(Evidence(metrics=metrics), TRUTH) == expected
