"""Claims -> verdicts: of each check, of each dataset, of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnbench.claims import checks
from unlearnbench.claims.checks import Finding
from unlearnbench.claims.measured import Measured, in_one
from unlearnbench.claims.model import Claim, resolved

Verdict = Literal["reproduced", "not reproduced", "reproduced only under the paper's own protocol", "not run"]
REPRODUCED: Verdict = "reproduced"
MISSED: Verdict = "not reproduced"
PAPER_ONLY: Verdict = "reproduced only under the paper's own protocol"
NOT_RUN: Verdict = "not run"
VERDICTS = (REPRODUCED, PAPER_ONLY, MISSED, NOT_RUN)


@dataclass(frozen=True)
class Judged:
    """A claim on one dataset; `papers` is empty where the paper measured it in no other way."""

    dataset: str
    verdict: Verdict
    findings: Sequence[Finding]
    papers: Sequence[Finding] = ()

    @property
    def part(self) -> str:
        """The part of the data that it was measured on; empty if it is the whole, or was not measured."""
        return in_one(each.part for each in (*self.findings, *self.papers))

    @property
    def is_open(self) -> bool:
        """Whether it is not reproduced only because it is not shown: intervals reach to both sides."""
        failing = [each for each in self.findings if each.holds is False]
        return self.verdict == MISSED and not any(each.refuted for each in failing)

    @property
    def reason(self) -> str:
        """Why it was not run."""
        reasons = dict.fromkeys(each.reason for each in self.findings if each.holds is None)
        return "; ".join(reasons) if self.verdict == NOT_RUN else ""


@dataclass(frozen=True)
class Judgement:
    """A claim's verdict, on the datasets that were measured; what was not is named with its reason.

    What was measured on a part of a dataset has a verdict of its own, and does not decide about the claim.
    """

    claim: Claim
    verdict: Verdict
    datasets: Sequence[Judged]

    @property
    def is_missing(self) -> bool:
        """Whether a measurement is missing; a claim that nothing can decide misses none."""
        return self.verdict == NOT_RUN and self.claim.untestable is None


def judge(claim: Claim, measured: Measured) -> Judgement:
    """The verdict on a claim: it must hold on every dataset that was measured, and measured whole."""
    datasets = [_on(claim, measured, dataset) for dataset in claim.datasets]
    verdicts = {each.verdict for each in datasets if not each.part}
    order = (MISSED, PAPER_ONLY, REPRODUCED)
    return Judgement(claim, next((verdict for verdict in order if verdict in verdicts), NOT_RUN), datasets)


def _on(claim: Claim, measured: Measured, dataset: str) -> Judged:
    own, papers, differ = [], [], False
    for test in claim.checks:
        for each in test.each:
            found = checks.run(test, resolved(claim, test, each), claim.of, measured, dataset, conditions=True)
            own += found
            if test.paper is not None:
                differ = True
                chosen = resolved(claim, test, each, papers=True)
                found = checks.run(test, chosen, claim.of, measured, dataset, test.paper.conditions)
            papers += found
    verdict = _verdict(own)
    if verdict == MISSED and differ and _verdict(papers) == REPRODUCED:
        verdict = PAPER_ONLY
    return Judged(dataset, verdict, own, papers if differ else ())


def _verdict(findings: Sequence[Finding]) -> Verdict:
    """What is false decides, then what is unknown."""
    if any(each.holds is False for each in findings):
        return MISSED
    return NOT_RUN if any(each.holds is None for each in findings) else REPRODUCED
