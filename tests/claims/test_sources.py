"""Numbers that are not one quantity: several versions of the code, several datasets of one name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sample_claims import OF, at_beta, claims_file, first, judged, reported_file, values
from sample_records import row, write_cells

from unlearnbench.claims import comparison
from unlearnbench.claims.intervals import interval
from unlearnbench.report import paper

OLD, NEW = {"plugin_sha256": "a" * 64}, {"plugin_sha256": "b" * 64}
BOUND = {"kind": "value", "at_least": 0.5}


# --- versions of the code --------------------------------------------------------------------------------------------


def test_seeds_of_two_versions_of_the_code_are_not_averaged(tmp_path: Path) -> None:
    made = [*values("hbu", "accuracy", 0.6, seeds=2, **OLD), *values("hbu", "accuracy", 0.9, **NEW)[2:]]
    found = judged(tmp_path, made, [BOUND], of={**OF, "method": "hbu"})
    assert found.verdict == "not run"
    assert first(found).reason == (
        "its seeds come from 2 versions of the code of method hbu (accuracy: aaaaaaaa; accuracy: bbbbbbbb): not one"
        " quantity"
    )
    assert first(found).mean is None


def test_two_versions_of_an_attack_are_not_averaged_either(tmp_path: Path) -> None:
    code = [{"plugin_sha256": f"{'a' * 64}+{letter * 64}"} for letter in "cd"]
    made = [
        *values("hbu", "auc", 0.6, seeds=2, attack="ridge", **code[0]),
        *values("hbu", "auc", 0.6, attack="ridge", **code[1])[2:],
    ]
    found = judged(tmp_path, made, [BOUND], of={**OF, "method": "hbu", "attack": "ridge", "metric": "auc"})
    assert "versions of the code of attack ridge" in first(found).reason
    assert "method" not in first(found).reason


@pytest.mark.parametrize(("code", "answer"), [(NEW, "not run"), (OLD, "yes")])
def test_a_check_does_not_compare_two_versions_of_a_method(tmp_path: Path, code: Any, answer: str) -> None:
    made = [*values("crfu", "accuracy", 0.6, **at_beta(0), **OLD)]
    made += values("crfu", "accuracy", 0.8, **at_beta(1), **code)
    sides = [{"scenario": {"beta": beta}} for beta in (1, 0)]
    found = judged(tmp_path, made, [{"kind": "ordering", "greater": sides[:1], "less": sides[1:]}])
    assert first(found).answer == answer
    assert (answer == "yes") or "what differs may be the code" in first(found).reason


def test_different_methods_have_different_code(tmp_path: Path) -> None:
    made = [*values("crfu", "accuracy", 0.8, **OLD), *values("hbu", "accuracy", 0.6, **NEW)]
    found = judged(tmp_path, made, [{"kind": "ordering", "greater": [{}], "less": [{"method": "hbu"}]}])
    assert (found.verdict, found.datasets[0].note) == ("reproduced", "")


def test_several_quantities_of_several_versions_are_judged_and_marked(tmp_path: Path) -> None:
    """Times that were measured after the code had changed, beside the accuracy that was measured before."""
    made = [*values("crfu", "accuracy", 0.6, **at_beta(1), **OLD)]
    made += values("crfu", "unlearn_seconds", 3, **at_beta(1), **NEW)
    write_cells(tmp_path / "records", made)
    columns = ({"of": {"metric": name}, "reported": {"mnist": [1, 1, 1]}} for name in ("accuracy", "unlearn_seconds"))
    checks = [BOUND, {"kind": "value", "of": {"metric": "unlearn_seconds"}, "at_most": 10}]
    path = claims_file(tmp_path, {"checks": checks}, reported=reported_file(tmp_path, *columns))
    found = comparison.compare(tmp_path, path)
    judgement = found.judgements[0]
    said = "2 versions of the code of method crfu (accuracy: aaaaaaaa; unlearn_seconds: bbbbbbbb)"
    assert (judgement.verdict, judgement.datasets[0].note) == ("reproduced", f"its numbers come from {said}")
    assert found.tables[0].notes == [f"Its numbers come from {said}."]
    text = paper.markdown(found).replace("\\", "")
    assert "- numbers of several versions of a plugin's code, as the notes to them say: claim0\n" in text
    assert f"- mnist: its numbers come from {said}" in text
    assert f"- Its numbers come from {said}." in text
    plain = comparison.as_json(found)
    assert plain["claims"][0]["datasets"][0]["note"] == f"its numbers come from {said}"
    assert json.dumps(plain)


# --- datasets --------------------------------------------------------------------------------------------------------


def of_images(path: str, level: float, **other: Any) -> list[Any]:
    params = {"dataset": "images", "dataset_params": json.dumps({"path": path, "size": 28})}
    return values("crfu", "accuracy", level, **{**params, **other})


def test_two_datasets_of_one_name_are_named_and_none_is_taken(tmp_path: Path) -> None:
    found = judged(tmp_path, [*of_images("a", 0.6), *of_images("b", 0.9)], [BOUND], datasets=["images"])
    assert found.verdict == "not run"
    assert first(found).reason == "2 datasets fit images in one: images[path=a] and images[path=b]"


def test_a_dataset_is_not_taken_because_the_other_has_no_result_or_another_parameter(tmp_path: Path) -> None:
    params = {"dataset": "images", "dataset_params": '{"path":"a"}', "experiment": "one"}
    failed = [row("crfu", 0, "cell", None, status="failed", error="OutOfMemory", cell_key="x", **params)]
    found = judged(tmp_path / "failed", [*failed, *of_images("b", 0.9)], [BOUND], datasets=["images"])
    assert "2 datasets fit" in first(found).reason
    other = of_images("a", 0.6, method_params='{"lr":0.1}', method_id="crfu[lr=0.1]")
    found = judged(tmp_path / "other", [*other, *of_images("b", 0.9)], [BOUND], datasets=["images"])
    assert "2 datasets fit" in first(found).reason


@pytest.mark.parametrize(("path", "verdict"), [("a", "contradicted"), ("b", "reproduced")])
def test_a_selection_may_name_which_dataset_it_means(tmp_path: Path, path: str, verdict: str) -> None:
    of = {**OF, "dataset_params": {"path": path}}
    made = [*of_images("a", 0.4), *of_images("b", 0.9)]
    assert judged(tmp_path, made, [BOUND], datasets=["images"], of=of).verdict == verdict


def test_where_it_was_run_tells_two_datasets_of_one_name_apart(tmp_path: Path) -> None:
    write_cells(tmp_path / "records", [*of_images("a", 0.6), *of_images("b", 0.9, seeds=3)])
    path = claims_file(tmp_path, {"checks": [BOUND]})
    runs = comparison.compare(tmp_path, path).runs
    assert [(run.dataset, run.cells) for run in runs] == [("images[path=a,size=28]", 5), ("images[path=b,size=28]", 3)]


# --- intervals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "metric", "least", "most"),
    [
        ("value", "accuracy", 0, 1),
        ("value", "auc", 0, 1),
        ("difference", "accuracy", -1, 1),
        ("value", "mse", None, None),
        ("ratio", "accuracy", None, None),
    ],
)
def test_intervals_of_shares_do_not_leave_what_a_share_can_be(
    form: Any, metric: str, least: float | None, most: float | None
) -> None:
    assert interval([0.1, 0.9, 0.9], form, metric)[1:] == pytest.approx(
        (-0.5142 if least is None or form == "difference" else least, 1.7809 if most is None else most), abs=1e-3
    )
    assert interval([0.1, 0.9], form, metric) == (0.5, None, None)


def test_a_difference_of_shares_is_at_most_all_of_them() -> None:
    mean, low, high = interval([-0.9, 0.9, 0.9], "difference", "accuracy")
    assert (mean, low, high) == (pytest.approx(0.3), -1, 1)


def test_a_share_with_a_wide_interval_is_shown_within_it(tmp_path: Path) -> None:
    wide = [
        {**each, "value": value} for each, value in zip(values("crfu", "accuracy", 0, 3), (0.1, 0.9, 0.9), strict=True)
    ]
    finding = first(judged(tmp_path, wide, [{"kind": "value", "at_most": 1}]))
    assert (finding.low, finding.high, finding.answer) == (0, 1, "yes")
