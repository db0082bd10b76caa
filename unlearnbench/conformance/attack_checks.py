"""Rules for inference attacks."""

from __future__ import annotations

from collections.abc import Mapping

from unlearnbench.adversary.evidence import EvidenceError
from unlearnbench.conformance.attack_case import AttackCase, AttackResult, nothing_changed
from unlearnbench.conformance.case import Odd
from unlearnbench.conformance.rulings import Ruling, failed, passed
from unlearnbench.registry.plugin_facts import described
from unlearnbench.stages.attacking import Seen
from unlearnbench.stages.scoring import Score, score

# Metrics that show whether an attack has found anything.
SHOWN_METRICS = {"auc": "AUC", "skill_mean": "skill over the mean image", "label_accuracy": "label accuracy"}
SHAPES = (
    "images f32[T, s, C, H, W] in [0, 1], label_scores f32[T, s, Y], membership f32[T, c] (challenge: f32[n]); give"
    " None for what the attack does not infer"
)


def declares_access(case: AttackCase) -> Ruling:
    """`access` is an Access, and the same each time."""
    access = case.declared()
    if isinstance(access, Odd):
        return failed(f"access is {access.type}", "return Access(level=..., ...): see unlearnbench/settings/access.py")
    if access != case.declared():
        return failed("access differs when it is asked for again", "let it depend on self.params only")
    return passed(described(access))


def attacks(case: AttackCase) -> Ruling:
    """One attack on digits ends without an error."""
    _ = case.first_claim
    assert case.scenario is not None
    return passed(f"kind {case.scenario.kind}, erased_count {case.scenario.erased_count}")


def evidence_fits(case: AttackCase) -> Ruling:
    """Evidence of the expected shapes, finite, with metrics of the catalogue."""
    return _scored(case, case.seen, case.first_claim, "", SHAPES)


def survives_nothing(case: AttackCase) -> Ruling:
    """It ends without an error where unlearning changes nothing (the contender `original` is in every suite); what it
    finds is for information."""
    seen = nothing_changed(case.seen)
    advice = "outputs before and after may be equal: avoid dividing by a change of 0, and return a trivial answer"
    return _scored(case, seen, case.attack(seen), "where unlearning changed nothing, ", advice)


def _scored(case: AttackCase, seen: Seen, evidence: AttackResult, where: str, advice: str) -> Ruling:
    if isinstance(evidence, Odd):
        return failed(f"run returned {evidence.type}", "return unlearnbench.plugin.Evidence(...)")
    try:
        if isinstance(evidence, EvidenceError):
            raise evidence
        found = score(evidence, case.truth(evidence, seen))
    except EvidenceError as error:
        return failed(f"{where}{error}", advice)
    return passed(_summary(found))


def _summary(found: Mapping[str, Score]) -> str:
    shown = [f"{words} {found[name].value:.2f}" for name, words in SHOWN_METRICS.items()
             if name in found and found[name].value is not None]  # fmt: skip
    return ", ".join(shown)
