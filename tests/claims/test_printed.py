"""Every check runs first on the paper's own numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from sample_claims import OF, at_beta, claims_file, reported_file, values
from sample_records import write_cells

from unlearnbench.claims import comparison
from unlearnbench.claims.printed import ABSENT
from unlearnbench.claims.verdicts import Judgement

BETAS = {"kind": "monotone", "over": "scenario.beta", "values": [0, 0.1, 1]}
FIRST, LAST = {"scenario": {"beta": 0}}, {"scenario": {"beta": 1}}


def compared(
    folder: Path,
    check: Mapping[str, Any],
    columns: Sequence[Mapping[str, Any]],
    made: Sequence[Mapping[str, Any]] = (),
    of: Mapping[str, Any] | None = None,
    **table: Any,
) -> Judgement:
    write_cells(folder / "records", made)
    datasets = table.get("datasets", ["mnist"])
    claim = {"checks": [check], "datasets": datasets, **({"of": of} if of else {})}
    path = claims_file(folder, claim, reported=reported_file(folder, *columns, **table))
    return comparison.compare(folder, path).judgements[0]


def printed(*numbers: float | None, **column: Any) -> dict[str, Any]:
    return {"reported": {"mnist": list(numbers)}, **column}


def measured(*levels: float) -> list[Any]:
    return [
        each
        for number, (beta, level) in enumerate(zip((0, 0.1, 1), levels, strict=True))
        for each in values("crfu", "accuracy", level, jitter=number, **at_beta(beta))
    ]


@pytest.mark.parametrize(
    ("numbers", "levels", "verdict"),
    [
        ((0.5, 0.6, 0.7), (0.5, 0.6, 0.7), "reproduced"),
        ((0.5, 0.6, 0.7), (0.7, 0.6, 0.5), "contradicted"),
        ((0.7, 0.6, 0.5), (0.7, 0.6, 0.5), "contradicted by its own table"),
        ((0.7, 0.6, 0.5), (0.5, 0.6, 0.7), "contradicted by its own table"),  # whatever was measured
        ((0.5, 0.8, 0.7), (0.7, 0.6, 0.5), "contradicted by its own table"),  # at one step
        ((0.5, 0.5, 0.7), (0.7, 0.6, 0.5), "contradicted"),  # a tie is no step the other way
        ((0.5, 0.6, 0.5), (0.7, 0.6, 0.5), "contradicted by its own table"),  # but no rise from first to last
        ((0.5, None, 0.7), (0.7, 0.6, 0.5), "contradicted"),  # a number that is not there says nothing
    ],
)
def test_a_check_that_the_papers_own_numbers_fail_is_not_held_against_it(
    tmp_path: Path, numbers: Any, levels: Any, verdict: str
) -> None:
    found = compared(tmp_path, {**BETAS, "direction": "rises"}, [printed(*numbers)], measured(*levels))
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("check", "answer", "mean"),
    [
        ({"kind": "value", "of": LAST, "at_most": 0.6}, "yes", 0.6),
        ({"kind": "value", "of": LAST, "at_most": 0.59}, "no", 0.6),
        ({"kind": "difference", "first": FIRST, "second": LAST, "at_most": 0.3}, "yes", 0.3),
        ({"kind": "difference", "first": FIRST, "second": LAST, "at_most": 0.29}, "no", 0.3),
        ({"kind": "ratio", "first": FIRST, "second": LAST, "at_least": 1.5}, "yes", 1.5),
        ({"kind": "ratio", "first": FIRST, "second": LAST, "at_least": 1.6}, "no", 1.5),
        ({"kind": "ordering", "greater": [FIRST], "less": [LAST]}, "yes", 0.3),
        ({"kind": "ordering", "greater": [LAST], "less": [FIRST]}, "no", -0.3),
    ],
)
def test_every_kind_of_check_takes_printed_numbers_as_exact(
    tmp_path: Path, check: Any, answer: str, mean: float
) -> None:
    found = compared(tmp_path, check, [printed(0.9, 0.7, 0.6)])
    (finding,) = found.datasets[0].reported
    assert (finding.answer, finding.mean) == (answer, pytest.approx(mean))
    assert (finding.low, finding.high, finding.n) == (None, None, 0)
    assert found.verdict == ("contradicted by its own table" if answer == "no" else "not run")


@pytest.mark.parametrize(
    ("number", "trivial", "answer"), [(668, 1058, "no"), (1200, 1058, "yes"), (668, None, "not run")]
)
def test_an_attack_worse_than_the_trivial_one_on_the_tables_scale(
    tmp_path: Path, number: float, trivial: float | None, answer: str
) -> None:
    column = printed(100, 200, number, of={"attack": "ridge", "metric": "mse_batch20"})
    column["trivial"] = {} if trivial is None else {"mnist": trivial}
    of = {**OF, "attack": "ridge", "metric": "mse"}
    check = {"kind": "trivial", "of": LAST, "paper": {"reported": {"metric": "mse_batch20"}}}
    (finding,) = compared(tmp_path, check, [column], of=of).datasets[0].reported
    assert finding.answer == answer


def test_an_auc_is_held_to_the_catalogues_constant(tmp_path: Path) -> None:
    column = printed(0.6, 0.5, 0.4, of={"attack": "ridge", "metric": "auc"})
    of = {**OF, "attack": "ridge", "metric": "auc"}
    check = {"kind": "trivial", "each": [FIRST, LAST]}
    findings = compared(tmp_path, check, [column], of=of).datasets[0].reported
    assert [finding.answer for finding in findings] == ["no", "yes"]


@pytest.mark.parametrize(
    "check",
    [
        {"kind": "value", "of": {"method": "vbu", **LAST}, "at_least": 0.9},
        {"kind": "value", "of": {"params": {"lr": 1}, **LAST}, "at_least": 0.9},  # the table does not say of which
        {"kind": "value", "of": {"course": {"to": 5}, **LAST}, "at_least": 0.9},
        {"kind": "value", "of": {"metric": "remaining_accuracy", **LAST}, "at_least": 0.9},
    ],
)
def test_what_the_tables_do_not_hold_is_said(tmp_path: Path, check: Any) -> None:
    found = compared(tmp_path, check, [printed(0.5, 0.6, 0.7)])
    (finding,) = found.datasets[0].reported
    assert (finding.answer, finding.reason) == ("not run", ABSENT)
    assert found.verdict == "not run"


def test_a_selection_that_several_numbers_fit_picks_none(tmp_path: Path) -> None:
    found = compared(tmp_path, {"kind": "value", "at_least": 0.9}, [printed(0.5, 0.6, 0.7)])
    assert "3 of the paper's numbers fit" in found.datasets[0].reported[0].reason


def test_without_a_file_of_them_there_are_no_reported_checks(tmp_path: Path) -> None:
    write_cells(tmp_path / "records", values("crfu", "accuracy", 0.6))
    path = claims_file(tmp_path, {"checks": [{"kind": "value", "at_least": 0.5}]})
    assert comparison.compare(tmp_path, path).judgements[0].datasets[0].reported == []


def test_the_papers_own_protocol_is_looked_for_first(tmp_path: Path) -> None:
    as_published = printed(0.6, 0.5, 0.4, of={"metric": "remaining_accuracy"})
    check = {**BETAS, "direction": "falls", "paper": {"of": {"metric": "remaining_accuracy"}}}
    both = compared(tmp_path, check, [printed(0.4, 0.5, 0.6), as_published])
    assert both.datasets[0].reported[0].answer == "yes"
    alone = compared(tmp_path, check, [printed(0.4, 0.5, 0.6)])
    assert alone.datasets[0].reported[0].answer == "no"


def test_a_table_of_another_unit_decides_nothing(tmp_path: Path) -> None:
    check = {"kind": "value", "of": LAST, "at_least": 0.9}
    found = compared(tmp_path, check, [printed(0.5, 0.6, 0.7)], undecided="x is a step, not an epoch")
    assert found.verdict == "not run"
    assert found.datasets[0].reported[0].reason == "x is a step, not an epoch"


def test_conditions_hold_for_printed_numbers_too(tmp_path: Path) -> None:
    columns = [printed(0.5, 0.6, 0.7), printed(0, 0, 0.5, of={"metric": "backdoor_accuracy"})]
    check = {
        "kind": "value",
        "of": LAST,
        "at_least": 0.6,
        "given": [{"metric": "backdoor_accuracy", "at_most": 0.02}],
    }
    found = compared(tmp_path, check, columns)
    assert found.verdict == "contradicted by its own table"
    assert found.datasets[0].reported[0].reason.endswith("backdoor_accuracy at most 0.02 is not met")
    free = compared(tmp_path, {**check, "paper": {"conditions": False}}, columns)
    assert free.datasets[0].reported[0].answer == "yes"


@pytest.mark.parametrize("part", [False, True])
def test_its_own_table_decides_where_nothing_or_a_part_was_measured(tmp_path: Path, part: bool) -> None:
    other = {"dataset": "cifar10", "scenario": '{"beta":1,"train_size":500}'}
    made = [*values("crfu", "accuracy", 0.7, **at_beta(1)), *(values("crfu", "accuracy", 0.7, **other) if part else [])]
    column = {"reported": {"mnist": [0.7, 0.7, 0.7], "cifar10": [0.4, 0.4, 0.4]}}
    check = {"kind": "value", "of": LAST, "at_least": 0.5}
    found = compared(tmp_path, check, [column], made, datasets=["mnist", "cifar10"])
    assert found.verdict == "contradicted by its own table"
    assert [each.verdict for each in found.datasets] == ["reproduced", "contradicted by its own table"]


def test_no_difference_to_the_papers_number_is_made_of_a_part(tmp_path: Path) -> None:
    part = {"scenario": '{"beta":1,"train_size":500}'}
    write_cells(tmp_path / "records", values("crfu", "accuracy", 0.4, **part))
    name = reported_file(tmp_path, printed(0.7, 0.7, 0.7))
    path = claims_file(tmp_path, {"checks": [{"kind": "value", "at_least": 0.5}]}, reported=name)
    entry = comparison.compare(tmp_path, path).tables[0].entries[2]
    assert entry.mean == pytest.approx(0.4)
    assert (entry.difference, entry.part) == (None, "500 training images only")
    said = comparison.as_json(comparison.compare(tmp_path, path))
    assert [each["difference"] for each in said["tables"][0]["entries"]] == [None] * 3
