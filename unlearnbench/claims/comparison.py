"""Everything that `unlearnbench compare` says about a results folder, before it is rendered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unlearnbench.claims import measured, model, reported, verdicts
from unlearnbench.claims.findings import Finding
from unlearnbench.claims.printed import PrintedValues
from unlearnbench.claims.reported import ComparedTable
from unlearnbench.claims.verdicts import Judgement
from unlearnbench.settings.naming import dataset_id


@dataclass(frozen=True)
class Run:
    """Where and with what one experiment was run on one dataset."""

    experiment: str
    dataset: str
    cells: int
    without_result: int
    seeds: Sequence[int]
    images: Sequence[str]
    batches: Sequence[int]
    devices: Sequence[str]
    commits: Sequence[str]
    versions: Sequence[str]
    first: str
    last: str


@dataclass(frozen=True)
class Comparison:
    """A paper beside what was measured: its claims, its numbers, and the runs behind them."""

    paper: str
    source: str
    judgements: Sequence[Judgement]
    targets: Sequence[Judgement]
    tables: Sequence[ComparedTable]
    runs: Sequence[Run]

    @property
    def is_complete(self) -> bool:
        """Whether every claim that can be tested has a verdict."""
        return not any(judgement.is_missing for judgement in self.judgements)


def compare(results: Path, path: Path) -> Comparison:
    """Compare the records of a results folder with a claims file and the reported numbers that it names.

    Raises:
        InputError: a file can't be read or breaks a rule, or the records do not belong to the claims.
    """
    claims = model.load(path)
    paper = reported.load(path, claims.reported) if claims.reported else None
    tables = PrintedValues(paper) if paper else None
    found = measured.read(results / "records", claims.suite, claims.unavailable, claims.parts)
    return Comparison(
        paper.paper if paper else claims.suite,
        paper.source if paper else "",
        [verdicts.judge(claim, found, tables) for claim in claims.claims],
        [verdicts.judge(claim, found, tables) for claim in claims.targets],
        reported.compared_tables(paper, found) if paper else [],
        _runs(found.rows),
    )


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values."""
    tables = [
        {"id": each.published.id, "title": each.published.title, "dataset": each.dataset,
         "entries": [{"row": entry.row.label, "column": entry.column.label, "metric": entry.metric,
                      "reported": entry.reported, "mean": entry.mean, "low": entry.low, "high": entry.high,
                      "n": entry.n, "difference": entry.difference, "reason": entry.reason or None,
                      "part": entry.part or None}
                     for entry in each.entries],
         "notes": each.notes}
        for each in comparison.tables
    ]  # fmt: skip
    return {
        "paper": comparison.paper,
        "tables": tables,
        "claims": [_judgement_as_json(judgement) for judgement in comparison.judgements],
        "targets": [_judgement_as_json(judgement) for judgement in comparison.targets],
        "runs": [asdict(run) for run in comparison.runs],
    }


def _judgement_as_json(judgement: Judgement) -> dict[str, Any]:
    claim = judgement.claim
    said = ("id", "words", "place", "tested", "paper_protocol", "comment", "untestable")
    return {
        **{name: getattr(claim, name) for name in said},
        "verdict": judgement.verdict,
        "datasets": [
            {"dataset": each.dataset, "verdict": each.verdict, "part": each.part or None,
             "note": each.note or None, "reason": each.reason or None,
             "checks_of_reported": [_finding_as_json(one) for one in each.reported],
             "checks": [_finding_as_json(one) for one in each.findings],
             "checks_of_paper": [_finding_as_json(one) for one in each.papers]}
            for each in judgement.datasets
        ],
    }  # fmt: skip


def _finding_as_json(finding: Finding) -> dict[str, Any]:
    said = asdict(finding)
    del said["codes"]  # the dataset's note has them where they differ
    return {**said, "answer": finding.answer}


# --- where it was run ------------------------------------------------------------------------------------------------


def _runs(rows: Sequence[Mapping[str, Any]]) -> list[Run]:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        dataset = dataset_id(row["dataset"], json.loads(row["dataset_params"]))
        groups.setdefault((row["experiment"], dataset), []).append(row)
    return [_run(experiment, dataset, part) for (experiment, dataset), part in sorted(groups.items())]


def _run(experiment: str, dataset: str, rows: Sequence[Mapping[str, Any]]) -> Run:
    scenarios = [json.loads(text) for text in {row["scenario"] for row in rows}]
    training = [scenario.get("training") or {} for scenario in scenarios]
    return Run(
        experiment,
        dataset,
        cells=len({row["cell_key"] for row in rows}),
        without_result=len({row["cell_key"] for row in rows if row["status"] != "ok"}),
        seeds=sorted({row["seed"] for row in rows}),
        images=sorted({measured.part_of(scenario) or "all" for scenario in scenarios}),
        batches=sorted({each["batch"] for each in training if isinstance(each.get("batch"), int)}),
        devices=sorted({row["device"] for row in rows}),
        commits=sorted({_commit(row) for row in rows}),
        versions=sorted({versions_in_words(text) for text in {row["versions"] for row in rows}}),
        first=f"{min(row['started_at'] for row in rows):%Y-%m-%d}",
        last=f"{max(row['started_at'] for row in rows):%Y-%m-%d}",
    )


def _commit(row: Mapping[str, Any]) -> str:
    return f"{row['git_sha'][:10]}{' with changes' if row['git_dirty'] else ''}" if row["git_sha"] else "unknown"


def versions_in_words(text: str) -> str:
    """A record's versions of packages: ``numpy 2.3, torch 2.13``."""
    return ", ".join(f"{name} {version}" for name, version in sorted(json.loads(text).items()))
