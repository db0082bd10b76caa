"""What is known, what is not, and what a verdict is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from sample_claims import OF, at_beta, claims_file, first, judged, values
from sample_records import later, row, write_cells

from unlearnbench.claims import comparison
from unlearnbench.claims.model import ValueSelection


def test_fewer_than_three_seeds_are_no_verdict(tmp_path: Path) -> None:
    made = values("crfu", "accuracy", 0.6, seeds=2)
    found = judged(tmp_path, made, [{"kind": "value", "at_most": 0.9}])
    assert (found.verdict, first(found).reason) == ("not run", "fewer than three seeds (2)")


def test_pairs_are_of_the_seeds_that_both_have(tmp_path: Path) -> None:
    made = [*values("crfu", "accuracy", 0.6), *values("vbu", "accuracy", 0.5, seeds=2)]
    found = judged(tmp_path, made, [{"kind": "ordering", "greater": [{}], "less": [{"method": "vbu"}]}])
    assert found.verdict == "not run"


def test_missing_datasets_are_named_and_do_not_decide(tmp_path: Path) -> None:
    write_cells(tmp_path / "records", values("crfu", "accuracy", 0.6))
    claim = {"datasets": ["mnist", "cifar10", "stl10"], "checks": [{"kind": "value", "at_least": 0.5}]}
    path = claims_file(tmp_path, claim, unavailable={"stl10": "data not available"})
    found = comparison.compare(tmp_path, path).judgements[0]
    assert found.verdict == "reproduced"
    assert [each.reason for each in found.datasets] == ["", "no records of one on cifar10", "data not available"]


def test_what_is_not_available_counts_if_it_is_there_after_all(tmp_path: Path) -> None:
    write_cells(tmp_path / "records", values("crfu", "accuracy", 0.6))
    claim = {"checks": [{"kind": "value", "at_least": 0.5}]}
    path = claims_file(tmp_path, claim, unavailable={"mnist": "data not available"})
    assert comparison.compare(tmp_path, path).judgements[0].verdict == "reproduced"


def test_one_dataset_that_fails_decides(tmp_path: Path) -> None:
    made = [*values("crfu", "accuracy", 0.6), *values("crfu", "accuracy", 0.4, dataset="cifar10")]
    found = judged(tmp_path, made, [{"kind": "value", "at_least": 0.5}], datasets=["mnist", "cifar10"])
    assert found.verdict == "contradicted"
    assert [each.verdict for each in found.datasets] == ["reproduced", "contradicted"]


@pytest.mark.parametrize(
    ("own", "papers", "verdict"),
    [
        (0.7, 0.7, "reproduced"),
        (0.4, 0.7, "only under the paper's protocol"),
        (0.4, 0.4, "contradicted"),
        (0.7, 0.4, "reproduced"),
    ],
)
def test_the_papers_own_protocol(tmp_path: Path, own: float, papers: float, verdict: str) -> None:
    made = [
        *values("crfu", "auc", own, attack="r"),
        *values("original", "auc_on_attack_training_data", papers, attack="r"),
    ]
    check = {
        "kind": "value",
        "at_least": 0.5,
        "paper": {"of": {"method": "original", "metric": "auc_on_attack_training_data"}},
    }
    claim_of = {**OF, "metric": "auc", "attack": "r", "params": {"beta_u": None}}
    found = judged(tmp_path, made, [check], of=claim_of)
    assert found.verdict == verdict
    assert found.datasets[0].papers[0].mean == pytest.approx(papers)


def test_times_of_several_machines_are_not_compared(tmp_path: Path) -> None:
    made = [
        *values("crfu", "unlearn_seconds", 0.6, device="cpu"),
        *values("hbu", "unlearn_seconds", 9, device="cuda"),
    ]
    check = {"kind": "ratio", "first": {"method": "hbu"}, "second": {}, "at_least": 10}
    found = judged(tmp_path, made, [check], of={**OF, "metric": "unlearn_seconds"})
    assert "several kinds of machines" in first(found).reason


def test_what_failed_is_the_reason(tmp_path: Path) -> None:
    made = [row("crfu", 0, "cell", None, status="failed", error="OutOfMemory", experiment="one")]
    found = judged(tmp_path, made, [{"kind": "value", "at_least": 0}])
    assert first(found).reason == "failed: OutOfMemory"


def test_of_measurements_that_contradict_each_other_none_counts(tmp_path: Path) -> None:
    made = [
        *values("crfu", "accuracy", 0.9, started_at=later(0)),
        *values("crfu", "accuracy", 0.6, started_at=later(1)),
    ]
    found = first(judged(tmp_path, made, [{"kind": "value", "at_most": 0.7}]))
    assert (found.mean, found.reason) == (None, "records of seed 0 contradict each other; merge the folder and decide")


def test_an_ambiguous_selection_is_no_verdict(tmp_path: Path) -> None:
    made = [*values("crfu", "accuracy", 0.6, **at_beta(0)), *values("crfu", "accuracy", 0.6, **at_beta(1))]
    found = judged(tmp_path, made, [{"kind": "value", "at_least": 0}])
    assert "2 contenders fit crfu" in first(found).reason


def test_what_is_not_asked_for_is_at_its_default(tmp_path: Path) -> None:
    made = values("crfu", "accuracy", 0.6, method_params='{"lr":0.001}')
    made += values("crfu", "accuracy", 0.9, method_params='{"lr":0.1}', method_id="crfu[lr=0.1]", cell_key="other")
    found = judged(tmp_path, made, [{"kind": "value", "at_most": 0.7}])
    assert (found.verdict, first(found).mean) == ("reproduced", pytest.approx(0.6))
    other = judged(tmp_path, [], [{"kind": "value", "of": {"params": {"lr": 0.1}}, "at_most": 0.7}])
    assert (other.verdict, first(other).mean) == ("contradicted", pytest.approx(0.9))


def test_bounds_and_numbers_are_said_as_people_write_them(tmp_path: Path) -> None:
    made = [*values("crfu", "accuracy", 0.6), *values("crfu", "auc", 0.6, attack="r")]
    checks = [
        {"kind": "value", "at_most": 0.7},
        {"kind": "difference", "first": {}, "second": {}, "at_most": 0.02},
        {"kind": "ratio", "first": {}, "second": {}, "at_least": 0.5, "at_most": 2},
        {"kind": "value", "of": {"attack": "r", "metric": "auc"}, "at_most": 0.7},
    ]
    found = judged(tmp_path, made, checks)
    asked = [finding.asked for finding in found.datasets[0].findings]
    assert asked == ["at most 70 %", "at most 2 points", "at least 0.5 and at most 2", "at most 0.7"]


def test_how_many_models_were_computed_at_a_time_parts_no_contenders(tmp_path: Path) -> None:
    made = values("crfu", "accuracy", 0.6, scenario='{"replicas":1}', seeds=2)
    more = values("crfu", "accuracy", 0.6, scenario='{"replicas":64}')[2:]
    assert first(judged(tmp_path, [*made, *more], [{"kind": "value", "at_least": 0}])).n == 5


def test_a_part_of_the_data_is_marked_and_decides_no_claim(tmp_path: Path) -> None:
    part = {"scenario": '{"test_size":200,"train_size":5000}'}
    made = [*values("crfu", "accuracy", 0.6), *values("crfu", "accuracy", 0.4, dataset="cifar10", **part)]
    found = judged(tmp_path, made, [{"kind": "value", "at_least": 0.5}], datasets=["mnist", "cifar10"])
    assert found.verdict == "reproduced"
    assert [(each.verdict, each.part) for each in found.datasets] == [
        ("reproduced", ""),
        ("contradicted", "5000 training and 200 test images only"),
    ]


def test_a_part_is_marked_with_its_precision_and_with_parameters_that_nobody_asked_for(tmp_path: Path) -> None:
    scenario = '{"train_size":500,"training":{"precision":"bfloat16"}}'
    params = {"method_params": '{"lr":0.1,"form":"paper"}', "method_id": "crfu[form=paper,lr=0.1]"}
    made = values("crfu", "accuracy", 0.6, scenario=scenario, **params)
    found = judged(tmp_path, made, [{"kind": "value", "of": {"params": {"form": "paper"}}, "at_least": 0}])
    assert found.datasets[0].part == "500 training images only, in bfloat16, lr=0.1"


def test_a_part_as_the_paper_measured_it_decides_nothing_either(tmp_path: Path) -> None:
    made = values("crfu", "auc", 0.4, attack="r")
    made += values("original", "auc", 0.7, attack="r", scenario='{"train_size":500}')
    check = {"kind": "value", "at_least": 0.5, "paper": {"of": {"method": "original"}}}
    found = judged(tmp_path, made, [check], of={**OF, "metric": "auc", "attack": "r"})
    assert found.verdict == "not run"
    assert (found.datasets[0].verdict, found.datasets[0].part) == (
        "only under the paper's protocol",
        "500 training images only",
    )


def test_a_part_alone_is_no_verdict(tmp_path: Path) -> None:
    made = values("crfu", "accuracy", 0.6, scenario='{"train_size":5000}')
    found = judged(tmp_path, made, [{"kind": "value", "at_least": 0}])
    assert (found.verdict, found.is_missing) == ("not run", True)
    assert (found.datasets[0].verdict, found.datasets[0].part) == ("reproduced", "5000 training images only")


@pytest.mark.parametrize("whole", [False, True])
def test_a_part_stands_in_where_the_experiment_was_not_run(tmp_path: Path, whole: bool) -> None:
    made = values("crfu", "accuracy", 0.6, experiment="one_part", scenario='{"train_size":5000}')
    made += values("crfu", "accuracy", 0.8) if whole else []
    write_cells(tmp_path / "records", made)
    path = claims_file(tmp_path, {"checks": [{"kind": "value", "at_least": 0}]}, parts={"one": "one_part"})
    found = comparison.compare(tmp_path, path).judgements[0].datasets[0]
    assert found.findings[0].mean == pytest.approx(0.8 if whole else 0.6)
    assert found.part == ("" if whole else "5000 training images only")


def test_another_method_has_none_of_the_parameters_below() -> None:
    below = ValueSelection(
        method="crfu", params={"beta_u": 1}, attack="a", attack_params={"x": 1}, scenario={"beta": 0}
    )
    over = ValueSelection(method="original", scenario={"erased_count": 9}).over(below)
    assert (over.params, over.attack_params) == ({}, {"x": 1})
    assert over.scenario == {"beta": 0, "erased_count": 9}
    assert ValueSelection(method="crfu", params={"lr": 1}).over(below).params == {"beta_u": 1, "lr": 1}


RELEASED = {"paper": {"methods": {"crfu": {"form": "released"}}}}


def of_form(form: str, level: float | None, **other: object) -> list[dict[str, object]]:
    """A method's accuracy in one of its forms: at a level, spread wide around 0.5 (None), or not run (NaN)."""
    if level is not None and level != level:
        return []
    made = values("crfu", "accuracy", level or 0.5, method_params=f'{{"form":"{form}"}}', cell_key=form, **other)
    return [{**each, "value": 0.2 * each["seed"]} for each in made] if level is None else made


MISSING = float("nan")


@pytest.mark.parametrize(
    ("own", "papers", "verdict"),
    [
        (0.7, 0.3, "reproduced"),
        (0.7, MISSING, "reproduced"),
        (0.3, 0.7, "only under the paper's protocol"),
        (None, 0.7, "only under the paper's protocol"),
        (0.3, 0.3, "contradicted"),
        (0.3, None, "open"),  # the paper's way may yet show it
        (0.3, MISSING, "not run"),  # and here nobody has looked
        (None, 0.3, "open"),
        (None, MISSING, "open"),
        (MISSING, 0.7, "not run"),
    ],
)
def test_our_measurement_alone_contradicts_nothing_that_the_paper_measured_otherwise(
    tmp_path: Path, own: float | None, papers: float | None, verdict: str
) -> None:
    made = [*of_form("paper", own), *of_form("released", papers)]
    check = {"kind": "value", "of": {"params": {"form": "paper"}}, "at_least": 0.5, **RELEASED}
    found = judged(tmp_path, made, [check])
    assert found.verdict == verdict
    if own == 0.3 and verdict == "not run":
        assert found.datasets[0].reason == (
            "contradicted by our measurement;"
            " as the paper measured it: no records of crfu[form=released] in one on mnist"
        )


def test_the_papers_forms_are_those_of_its_methods_and_not_of_others(tmp_path: Path) -> None:
    made = [*values("retrain", "accuracy", 0.9), *of_form("paper", 0.3), *of_form("released", 0.4)]
    sides = {"first": {"method": "retrain"}, "second": {"params": {"form": "paper"}}}
    found = judged(tmp_path, made, [{"kind": "difference", **sides, "at_most": 0.4, **RELEASED}])
    assert [each.mean for each in found.datasets[0].papers] == [pytest.approx(0.5)]


@pytest.mark.parametrize(
    ("levels", "verdict"),
    [
        ((0.7, 0.7), "reproduced"),
        ((0.7, MISSING), "reproduced"),  # what was not run does not decide
        ((0.7, None), "open"),
        ((0.7, 0.3), "contradicted"),
        ((None, 0.3), "contradicted"),
        ((MISSING, None), "open"),
        ((MISSING, MISSING), "not run"),
    ],
)
def test_of_several_datasets_the_worst_decides(tmp_path: Path, levels: Sequence[float | None], verdict: str) -> None:
    datasets = ["mnist", "cifar10"]
    made = [each for name, level in zip(datasets, levels, strict=True) for each in of_form("x", level, dataset=name)]
    made += values("vbu", "accuracy", 0.5)
    made = [{**each, "cell_key": f"{each['dataset']} {each['cell_key']}"} for each in made]
    assert judged(tmp_path, made, [{"kind": "value", "at_least": 0.5}], datasets=datasets).verdict == verdict


def test_a_dataset_on_which_only_ours_was_run_and_failed_keeps_a_claim_from_being_reproduced(tmp_path: Path) -> None:
    made = [*of_form("paper", 0.7), *of_form("paper", 0.3, dataset="cifar10")]
    made = [{**each, "cell_key": f"{each['dataset']} {each['cell_key']}"} for each in made]
    check = {"kind": "value", "of": {"params": {"form": "paper"}}, "at_least": 0.5, **RELEASED}
    found = judged(tmp_path, made, [check], datasets=["mnist", "cifar10"])
    assert [each.verdict for each in found.datasets] == ["reproduced", "not run"]
    assert found.verdict == "not run"


def test_one_check_that_is_refuted_decides_before_one_that_is_open_or_unknown(tmp_path: Path) -> None:
    wide = {"kind": "value", "of": {"metric": "remaining_accuracy"}, "at_least": 0.5}
    spread = [{**each, "value": 0.2 * each["seed"]} for each in values("crfu", "remaining_accuracy", 0.5)]
    made = [*values("crfu", "accuracy", 0.4), *spread]
    unknown = {"kind": "value", "of": {"method": "vbu"}, "at_least": 0.5}
    refuted = {"kind": "value", "at_least": 0.5}
    assert judged(tmp_path, made, [unknown, wide, refuted]).verdict == "contradicted"
    assert judged(tmp_path, [], [unknown, wide]).verdict == "open"
    assert judged(tmp_path, [], [unknown]).verdict == "not run"
