"""From claims to verdicts: for each check, for each dataset, and for the whole claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnbench.claims import checks
from unlearnbench.claims.findings import Finding
from unlearnbench.claims.model import Check, Claim, ValueSelection, in_tables, resolved
from unlearnbench.claims.values import ValueSource, in_one, versions

Verdict = Literal[
    "reproduced", "only under the paper's protocol", "open", "contradicted", "contradicted by its own table", "not run"
]
REPRODUCED: Verdict = "reproduced"
PAPER_ONLY: Verdict = "only under the paper's protocol"
OPEN: Verdict = "open"
CONTRADICTED: Verdict = "contradicted"
OWN_TABLE: Verdict = "contradicted by its own table"
NOT_RUN: Verdict = "not run"
VERDICTS = (REPRODUCED, PAPER_ONLY, CONTRADICTED, OWN_TABLE, OPEN, NOT_RUN)


@dataclass(frozen=True)
class Judged:
    """A claim on one dataset.

    Attributes:
        dataset: its name.
        verdict: on this dataset alone.
        findings: from the measurement that the claim describes.
        papers: from the paper's own way to measure it; empty where that is the same.
        reported: from the paper's printed numbers; empty without a file of them.
    """

    dataset: str
    verdict: Verdict
    findings: Sequence[Finding]
    papers: Sequence[Finding] = ()
    reported: Sequence[Finding] = ()

    @property
    def part(self) -> str:
        """The part of the data that it was measured on; empty for all of it, or if it was not measured."""
        return in_one(each.part for each in (*self.findings, *self.papers))

    @property
    def decides(self) -> bool:
        """Whether it counts for the claim: a part of the data counts only where the paper's own table decides."""
        return not self.part or self.verdict == OWN_TABLE

    @property
    def is_failed_alone(self) -> bool:
        """Whether our measurement contradicts it and the paper's own, which might not, is missing."""
        return self.verdict == NOT_RUN and _answer(self.findings) == CONTRADICTED

    @property
    def reason(self) -> str:
        """Why it was not run."""
        if self.verdict != NOT_RUN:
            return ""
        missing = self.papers if self.is_failed_alone else self.findings
        said = "; ".join(dict.fromkeys(each.reason for each in missing if each.holds is None))
        return f"contradicted by our measurement; as the paper measured it: {said}" if self.is_failed_alone else said

    @property
    def note(self) -> str:
        """A note if its numbers come from several versions of a plugin, though each is judged."""
        several = versions(code for each in (*self.findings, *self.papers) for code in each.codes)
        return f"its numbers come from {several}" if several else ""


@dataclass(frozen=True)
class Judgement:
    """A claim's verdict, with those on each dataset; one that was not measured is named with the reason.

    What was measured on a part of a dataset has a verdict of its own, and does not decide the claim.
    """

    claim: Claim
    verdict: Verdict
    datasets: Sequence[Judged]

    @property
    def is_missing(self) -> bool:
        """Whether a measurement is missing, for a claim that measurements can decide."""
        return self.verdict == NOT_RUN and self.claim.untestable is None


def judge(claim: Claim, measured: ValueSource, printed: ValueSource | None = None) -> Judgement:
    """The verdict on a claim.

    Args:
        claim: with its checks.
        measured: the records.
        printed: the paper's own numbers, on which every check runs as well.
    """
    datasets = [_on(claim, measured, printed, dataset) for dataset in claim.datasets]
    return Judgement(claim, _over(datasets), datasets)


def _over(datasets: Sequence[Judged]) -> Verdict:
    """A claim must hold on every dataset: the worst verdict decides, among the datasets that were measured in full.

    The paper's own table comes first: a check that the paper's numbers fail is not what the paper says, and a
    measurement that fails it says nothing about the paper. A dataset on which our measurement fails and the paper's
    was not tried keeps the claim from being reproduced on the others; any other dataset that was not run does not.
    """
    deciding = [each for each in datasets if each.decides]
    verdicts = {each.verdict for each in deciding}
    worst = next((verdict for verdict in (OWN_TABLE, CONTRADICTED, OPEN) if verdict in verdicts), None)
    if worst is not None:
        return worst
    if any(each.is_failed_alone for each in deciding):
        return NOT_RUN
    return next((verdict for verdict in (PAPER_ONLY, REPRODUCED) if verdict in verdicts), NOT_RUN)


def _on(claim: Claim, measured: ValueSource, printed: ValueSource | None, dataset: str) -> Judged:
    own: list[Finding] = []
    papers: list[Finding] = []
    reported: list[Finding] = []
    differ = False
    for test in claim.checks:
        for each in test.each:
            found = checks.run(test, resolved(claim, test, each), claim.of, measured, dataset, conditions=True)
            own += found
            if test.paper is not None:
                differ = True
                chosen = resolved(claim, test, each, papers=True)
                found = checks.run(test, chosen, claim.of, measured, dataset, test.paper.conditions)
            papers += found
            reported += _in_tables(claim, test, each, printed, dataset) if printed is not None else []
    verdict = _together(_answer(own), _answer(papers) if differ else None)
    if _answer(reported) == CONTRADICTED:
        verdict = OWN_TABLE
    return Judged(dataset, verdict, own, papers if differ else (), reported)


def _in_tables(claim: Claim, test: Check, each: ValueSelection, printed: ValueSource, dataset: str) -> list[Finding]:
    """A check on the paper's printed numbers, in the first way in which its tables hold any of them."""
    conditions = test.paper is None or test.paper.conditions
    found: list[Finding] = []
    for chosen in in_tables(claim, test, each):
        found = checks.run(test, chosen, claim.of, printed, dataset, conditions)
        if any(one.holds is not None for one in found):
            break
    return found


def _answer(findings: Sequence[Finding]) -> Verdict:
    """All checks must hold: a refuted check decides first, then an open one, then an unknown one."""
    answers = {each.answer for each in findings}
    order: tuple[tuple[str, Verdict], ...] = (("no", CONTRADICTED), ("open", OPEN), ("not run", NOT_RUN))
    return next((verdict for answer, verdict in order if answer in answers), REPRODUCED)


def _together(own: Verdict, papers: Verdict | None) -> Verdict:
    """Our measurement and the paper's, if that differs: a claim is contradicted only if both contradict it."""
    if papers is None or own in (REPRODUCED, NOT_RUN):
        return own
    if papers == REPRODUCED:
        return PAPER_ONLY
    return papers if own == CONTRADICTED else OPEN
