"""Claims of a paper against records: every kind of check in both directions, verdicts, and bad claims files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from sample_records import later, row, rows, write_cells

from unlearnbench import cli
from unlearnbench.claims import comparison, model, reported
from unlearnbench.claims.model import Selection, selections
from unlearnbench.claims.verdicts import Judgement
from unlearnbench.errors import InputError
from unlearnbench.registry import discover
from unlearnbench.settings import canonical
from unlearnbench.suite import Setting, load_suite

ROOT = Path(__file__).parent.parent
CLAIMS = ROOT / "suites" / "paper.claims.yaml"
NOISE = [0.001, -0.002, 0.0, 0.002, -0.001]
JITTER = [0.0005, 0.0, -0.0005, 0.0002, -0.0002]
OF = {"experiment": "one", "method": "crfu", "metric": "accuracy"}


def values(method: str, metric: str, level: float, seeds: int = 5, jitter: float = 1, **other: Any) -> list[Any]:
    """One record a seed around a level; seeds share most of their noise, so that pairs differ by less than seeds do."""
    noisy = [level + NOISE[seed] + jitter * JITTER[seed] for seed in range(seeds)]
    made = {"experiment": "one", **other}
    made.setdefault("cell_key", f"{method} {made} {metric}"[:200])
    return [{**each, "cell_key": f"{each['cell_key']} {each['seed']}"} for each in rows(method, metric, noisy, **made)]


def at_beta(beta: float) -> dict[str, str]:
    return {"scenario": json.dumps({"beta": beta}), "scenario_id": f"beta={beta}"}


def judged(
    folder: Path, made: Sequence[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]], **claim: Any
) -> Judgement:
    """The judgement of one claim about these records."""
    write_cells(folder / "records", made)
    path = claims_file(folder, {"checks": list(checks), **claim})
    return comparison.compare(folder, path).judgements[0]


def claims_file(folder: Path, *claims: Mapping[str, Any], **file: Any) -> Path:
    whole = [
        {"id": f"claim{number}", "words": "So it is.", "place": "Table 1", "datasets": ["mnist"], "of": OF, **claim}
        for number, claim in enumerate(claims)
    ]
    path = folder / "it.claims.yaml"
    path.write_text(json.dumps({"suite": "paper", "claims": whole, **file}))
    return path


def first(judgement: Judgement) -> Any:
    return judgement.datasets[0].findings[0]


# --- kinds of checks -------------------------------------------------------------------------------------------------

BETAS = {"kind": "monotone", "over": "scenario.beta", "values": [0, 0.1, 1]}


@pytest.mark.parametrize(
    ("levels", "direction", "adjacent", "verdict"),
    [
        ((0.5, 0.6, 0.7), "rises", True, "reproduced"),
        ((0.5, 0.6, 0.7), "falls", True, "not reproduced"),
        ((0.7, 0.6, 0.5), "falls", True, "reproduced"),
        ((0.5, 0.8, 0.7), "rises", True, "not reproduced"),  # not at every step
        ((0.5, 0.8, 0.7), "rises", False, "reproduced"),
        ((0.5, 0.5001, 0.5002), "rises", True, "not reproduced"),  # within noise
        ((0.5, 0.5, 0.5), "rises", False, "not reproduced"),
    ],
)
def test_monotone(tmp_path: Path, levels: Any, direction: str, adjacent: bool, verdict: str) -> None:
    made = [
        each
        for number, (beta, level) in enumerate(zip((0, 0.1, 1), levels, strict=True))
        for each in values("crfu", "accuracy", level, jitter=number, **at_beta(beta))
    ]
    found = judged(tmp_path, made, [{**BETAS, "direction": direction, "adjacent": adjacent}])
    assert found.verdict == verdict
    finding = first(found)
    assert finding.n == 5
    assert finding.mean == pytest.approx(levels[2] - levels[0], abs=1e-4)
    assert finding.low < finding.mean < finding.high
    assert [point[1] for point in finding.points] == pytest.approx(levels, abs=1e-4)


PAIR = [{"scenario": {"beta": 0}}, {"scenario": {"beta": 1}}]


@pytest.mark.parametrize(
    ("kind", "bounds", "verdict"),
    [
        ("difference", {"at_most": 0.11}, "reproduced"),
        ("difference", {"at_most": 0.1}, "not reproduced"),  # the interval covers the bound
        ("difference", {"at_least": 0.09}, "reproduced"),
        ("difference", {"at_least": 0.1}, "not reproduced"),
        ("ratio", {"at_least": 1.15}, "reproduced"),
        ("ratio", {"at_least": 1.25}, "not reproduced"),
        ("ratio", {"at_most": 1.25}, "reproduced"),
        ("ratio", {"at_least": 1.15, "at_most": 1.19}, "not reproduced"),
    ],
)
def test_bounds_on_differences_and_ratios(tmp_path: Path, kind: str, bounds: Any, verdict: str) -> None:
    made = [*values("crfu", "accuracy", 0.6, **at_beta(0)), *values("crfu", "accuracy", 0.5, jitter=-1, **at_beta(1))]
    found = judged(tmp_path, made, [{"kind": kind, "first": PAIR[0], "second": PAIR[1], **bounds}])
    assert found.verdict == verdict


def test_a_bound_is_met_by_exactly_its_value(tmp_path: Path) -> None:
    """Table 2's own accuracies differ by 0.0170 points, and by a little more in binary numbers."""
    made = [
        *rows("crfu", "accuracy", [0.9745] * 3, experiment="one", **at_beta(0), cell_key="a"),
        *rows("crfu", "accuracy", [0.9575] * 3, experiment="one", **at_beta(1), cell_key="b"),
    ]
    check = {"kind": "difference", "first": PAIR[0], "second": PAIR[1], "at_most": 0.017}
    assert judged(tmp_path, made, [check]).verdict == "reproduced"


def test_a_ratio_to_nothing_is_no_verdict(tmp_path: Path) -> None:
    made = [*values("crfu", "accuracy", 0.6), *rows("vbu", "accuracy", [0.0] * 5, experiment="one")]
    found = judged(tmp_path, made, [{"kind": "ratio", "first": {}, "second": {"method": "vbu"}, "at_least": 1}])
    assert found.verdict == "not run"
    assert "divided by 0" in first(found).reason


@pytest.mark.parametrize(("other", "verdict"), [(0.5, "reproduced"), (0.6, "not reproduced"), (0.7, "not reproduced")])
def test_ordering(tmp_path: Path, other: float, verdict: str) -> None:
    made = [
        *values("crfu", "accuracy", 0.6),
        *values("hbu", "accuracy", 0.4),
        *values("vbu", "accuracy", other, jitter=-1),
    ]
    check = {"kind": "ordering", "greater": [{}], "less": [{"method": "hbu"}, {"method": "vbu"}]}
    found = judged(tmp_path, made, [check])
    assert found.verdict == verdict
    assert [finding.holds for finding in found.datasets[0].findings] == [True, verdict == "reproduced"]


def test_an_ordering_under_a_condition_asks_every_seed_of_every_side(tmp_path: Path) -> None:
    made = [*values("crfu", "accuracy", 0.6), *values("hbu", "accuracy", 0.4)]
    made += rows("crfu", "backdoor_accuracy", [0.0] * 5, experiment="one", cell_key="c")
    made += rows("hbu", "backdoor_accuracy", [0.0, 0.0, 0.5, 0.0, 0.0], experiment="one", cell_key="h")
    check = {"kind": "ordering", "greater": [{}], "less": [{"method": "hbu"}]}
    condition = {"given": [{"metric": "backdoor_accuracy", "at_most": 0.02}]}
    found = judged(tmp_path, made, [{**check, **condition}])
    assert found.verdict == "not reproduced"
    assert first(found).reason == "hbu: backdoor_accuracy at most 0.02 is not met (in 1 of 5 seeds)"
    assert first(found).mean == pytest.approx(0.2)
    unasked = judged(tmp_path, [], [{**check, **condition, "paper": {"conditions": False}}])
    assert unasked.verdict == "reproduced only under the paper's own protocol"


@pytest.mark.parametrize(("most", "verdict"), [(0.61, "reproduced"), (0.6, "not reproduced")])
def test_value(tmp_path: Path, most: float, verdict: str) -> None:
    assert judged(tmp_path, values("crfu", "accuracy", 0.6), [{"kind": "value", "at_most": most}]).verdict == verdict


@pytest.mark.parametrize(
    ("metric", "level", "verdict"),
    [
        ("mse", 0.08, "reproduced"),  # more error than the mean image
        ("mse", 0.05, "not reproduced"),
        ("mse", 0.067, "not reproduced"),
        ("auc", 0.4, "reproduced"),
        ("auc", 0.6, "not reproduced"),
    ],
)
def test_worse_than_the_trivial_attacker(tmp_path: Path, metric: str, level: float, verdict: str) -> None:
    made = values("crfu", metric, level, attack="ridge")
    made += rows("crfu", "mse_mean_image", [0.067] * 5, experiment="one", attack="ridge", cell_key="trivial")
    found = judged(tmp_path, made, [{"kind": "trivial"}], of={**OF, "metric": metric, "attack": "ridge"})
    assert found.verdict == verdict


TRAJECTORY = {"scenario": json.dumps({"trajectory": {"every_epochs": 5}}), "experiment": "one"}


def course(method: str, points: Sequence[float], **other: Any) -> list[Any]:
    return [
        row(method, seed, "accuracy", value + NOISE[seed], step=180 * 5 * number, **TRAJECTORY, **other)
        for seed in range(5)
        for number, value in enumerate(points)
    ]


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ({"statistic": "at", "to": 0}, 0.9),
        ({"statistic": "at", "to": 10}, 0.3),
        ({"statistic": "at", "to": 7}, None),  # not recorded there
        ({"statistic": "at", "to": 40}, None),  # nor as far
        ({"statistic": "min", "to": 15}, 0.3),
        ({"statistic": "max", "first": 5, "to": 15}, 0.6),
        ({"statistic": "mean"}, 0.575),
        ({"statistic": "mean", "to": 5}, 0.75),
    ],
)
def test_statements_about_a_trajectory(tmp_path: Path, reduction: Any, expected: float | None) -> None:
    made = course("crfu", [0.9, 0.6, 0.3, 0.5])
    found = judged(tmp_path, made, [{"kind": "value", "of": {"course": reduction}, "at_least": 0}])
    assert first(found).mean == (None if expected is None else pytest.approx(expected))
    assert found.verdict == ("not run" if expected is None else "reproduced")


# --- what is known and what is not -----------------------------------------------------------------------------------


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


def test_one_dataset_that_fails_decides(tmp_path: Path) -> None:
    made = [*values("crfu", "accuracy", 0.6), *values("crfu", "accuracy", 0.4, dataset="cifar10")]
    found = judged(tmp_path, made, [{"kind": "value", "at_least": 0.5}], datasets=["mnist", "cifar10"])
    assert found.verdict == "not reproduced"
    assert [each.verdict for each in found.datasets] == ["reproduced", "not reproduced"]


@pytest.mark.parametrize(
    ("own", "papers", "verdict"),
    [
        (0.7, 0.7, "reproduced"),
        (0.4, 0.7, "reproduced only under the paper's own protocol"),
        (0.4, 0.4, "not reproduced"),
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


def test_of_repeated_measurements_the_newest_counts(tmp_path: Path) -> None:
    made = [
        *values("crfu", "accuracy", 0.9, started_at=later(0)),
        *values("crfu", "accuracy", 0.6, started_at=later(1)),
    ]
    assert first(judged(tmp_path, made, [{"kind": "value", "at_most": 0.7}])).mean == pytest.approx(0.6)


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
    assert (other.verdict, first(other).mean) == ("not reproduced", pytest.approx(0.9))


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


def test_a_part_of_the_data_is_marked(tmp_path: Path) -> None:
    made = values("crfu", "accuracy", 0.6, scenario='{"train_size":5000}')
    found = judged(tmp_path, made, [{"kind": "value", "at_least": 0}])
    assert (found.verdict, first(found).reason) == ("reproduced", "on 5000 training images only")


def test_another_method_has_none_of_the_parameters_below() -> None:
    below = Selection(method="crfu", params={"beta_u": 1}, attack="a", attack_params={"x": 1}, scenario={"beta": 0})
    over = Selection(method="original", scenario={"erased_count": 9}).over(below)
    assert (over.params, over.attack_params) == ({}, {"x": 1})
    assert over.scenario == {"beta": 0, "erased_count": 9}
    assert Selection(method="crfu", params={"lr": 1}).over(below).params == {"beta_u": 1, "lr": 1}


# --- the command line ------------------------------------------------------------------------------------------------

HOLDS = {"checks": [{"kind": "value", "at_least": 0.5}]}
UNKNOWN = {"checks": [{"kind": "value", "of": {"method": "vbu"}, "at_least": 0.5}]}
UNTESTABLE = {"untestable": "no distance is given", "datasets": [], "checks": []}


@pytest.mark.parametrize(
    ("claims", "strict", "code"),
    [
        ((HOLDS,), True, 0),
        ((HOLDS, UNTESTABLE), True, 0),  # nothing measured could decide it: no measurement is missing
        ((HOLDS, UNKNOWN), False, 0),
        ((HOLDS, UNKNOWN), True, 1),
    ],
)
def test_strict_asks_for_a_verdict_on_every_claim(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], claims: Any, strict: bool, code: int
) -> None:
    write_cells(tmp_path / "records", values("crfu", "accuracy", 0.6))
    path = claims_file(tmp_path, *claims)
    arguments = ["compare", str(tmp_path), "--claims", str(path), *(["--strict"] if strict else [])]
    assert cli.main(arguments) == code
    out = capsys.readouterr().out
    assert "claim0  reproduced" in out
    assert re.search(r"accuracy of crfu +own +60\.\d+ ± 0\.\d+ % +5 ", out)


def test_json_has_every_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cells(tmp_path / "records", values("crfu", "accuracy", 0.6))
    path = claims_file(tmp_path, HOLDS, UNTESTABLE)
    assert cli.main(["compare", str(tmp_path), "--claims", str(path), "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    check = said["claims"][0]["datasets"][0]["checks"][0]
    assert (check["holds"], check["n"], check["mean"]) == (True, 5, pytest.approx(0.6))
    assert said["claims"][1]["untestable"] == "no distance is given"
    assert said["runs"][0]["cells"] == 5


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "empty; expected a mapping"),
        ("suite: paper\nclaims: []", "claims: "),
        ("suite: paper\nclaims: &a [*a]", "anchors and aliases"),
        ("[" * 30 + "]" * 30, "nested more than"),
        ({"kind": "vote"}, "vote"),
        ({"kind": "value"}, "needs at_least or at_most"),
        ({"kind": "value", "at_least": "much"}, "checks[0].at_least"),
        ({"kind": "value", "at_least": 0, "of": {"metric": "acuracy"}}, "did you mean 'accuracy'"),
        ({"kind": "value", "at_least": 0, "given": [{"metric": "x", "at_most": 1}]}, "unknown metric 'x'"),
        ({"kind": "value", "at_least": 0, "off": {}}, "unknown key 'off'"),
        ({"kind": "monotone", "over": "beta", "values": [0, 1], "direction": "rises"}, "checks[0].over"),
        ({"kind": "monotone", "over": "scenario.beta", "values": [0], "direction": "rises"}, "checks[0].values"),
        ({"kind": "monotone", "over": "scenario.beta", "values": [0, 1], "direction": "up"}, "rises"),
        ({"kind": "ordering", "greater": [], "less": [{}]}, "checks[0].greater"),
        ({"kind": "value", "at_least": 0, "each": []}, "checks[0].each"),
    ],
)
def test_bad_claims_files_are_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: Any, error: str
) -> None:
    write_cells(tmp_path / "records", [])
    path = tmp_path / "it.claims.yaml"
    if isinstance(text, str):
        path.write_text(text)
    else:
        claims_file(tmp_path, {"checks": [text]})
    assert cli.main(["compare", str(tmp_path), "--claims", str(path)]) == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.count("\n") == 1
    assert captured.err.startswith(f"error: {path}")
    assert error in captured.err


@pytest.mark.parametrize(
    ("claim", "error"),
    [
        ({"of": {"method": "crfu"}, **HOLDS}, "a selection names no experiment"),
        ({"datasets": [], **HOLDS}, "needs datasets and checks"),
        ({"untestable": "why", **HOLDS}, "no checks"),
        ({"id": "Not a name", **HOLDS}, "id"),
        ({"datasets": ["../x"], **HOLDS}, "datasets[0]"),
    ],
)
def test_claims_are_whole(tmp_path: Path, claim: Any, error: str) -> None:
    with pytest.raises(InputError, match=r"it\.claims\.yaml") as caught:
        model.load(claims_file(tmp_path, claim))
    assert error in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../reported.yaml", "/etc/x.yaml", "reported.txt"])
def test_reported_numbers_lie_beside_the_claims(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="reported"):
        model.load(claims_file(tmp_path, HOLDS, reported=name))


def test_two_claims_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two claims have the id 'same'"):
        model.load(claims_file(tmp_path, {"id": "same", **HOLDS}, {"id": "same", **HOLDS}))


def test_records_of_another_suite_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cells(tmp_path / "records", values("crfu", "accuracy", 0.6, suite="zoo"))
    assert cli.main(["compare", str(tmp_path), "--claims", str(claims_file(tmp_path, HOLDS))]) == 2
    assert "suite 'zoo'" in capsys.readouterr().err


def test_a_folder_without_records_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(tmp_path)]) == 2
    assert "holds no folder 'records'" in capsys.readouterr().err


def test_without_claims_the_error_names_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cells(tmp_path / "records", [])
    assert cli.main(["compare", str(tmp_path)]) == 2
    assert "--claims" in capsys.readouterr().err


# --- the paper's claims ----------------------------------------------------------------------------------------------

PINNED = {
    "mse_rises_with_beta", "auc_falls_with_beta", "kld_falls_with_beta", "accuracy_loses_little",
    "defence_improves_200_percent", "crfu_keeps_most_accuracy", "crfu_and_vbu_ten_times_faster_than_hbu",
    "all_far_faster_than_retraining", "larger_beta_u_forgets_faster", "running_time_rises_with_edr",
    "beta_1_resists_reconstruction", "edr_2_percent_is_the_exception", "hbu_has_lowest_backdoor_accuracy",
    "beta_u_1_is_catastrophic", "cifar10_keeps_accuracy_at_beta_u_001", "outputs_leak_no_more_than_z",
    "only_the_label_leaks", "proposition_1",
}  # fmt: skip


def test_every_claim_of_the_paper_is_in_the_file() -> None:
    claims = model.load(CLAIMS)
    assert {claim.id for claim in claims.claims} >= PINNED
    by_id = {claim.id: claim for claim in claims.claims}
    assert by_id["proposition_1"].untestable
    ratio, accuracy = by_id["defence_improves_200_percent"].checks
    assert isinstance(ratio, model.Ratio)
    assert isinstance(accuracy, model.Difference)
    assert (ratio.at_least, accuracy.at_most) == (2.5, 0.017)
    timed = [claim for claim in claims.claims if any(each.metric == "unlearn_seconds" for each in selections(claim))]
    assert len(timed) == 3
    for claim in timed:
        assert any(each.metric == "samples_processed" for each in selections(claim))


@pytest.fixture(scope="module")
def planned() -> list[Setting]:
    return load_suite(ROOT / "suites" / "paper.yaml", discover(())).settings()


def selects(selection: Selection, dataset: str, setting: Setting) -> bool:
    pairs = [(selection.params, setting.method.params), (selection.scenario, setting.scenario)]
    if setting.attack is not None:
        pairs.append((selection.attack_params, setting.attack.params))
    return (
        setting.experiment == selection.experiment_on(dataset)
        and setting.dataset.info.name == dataset
        and setting.method.info.name == selection.method
        and (setting.attack.info.name if setting.attack else None) == selection.attack
        and all(reach(canonical(model), key) == value for wanted, model in pairs for key, value in wanted.items())
    )


def reach(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = (values or {}).get(key)
    return values


def test_every_selection_is_of_a_planned_contender(planned: list[Setting]) -> None:
    claims = model.load(CLAIMS)
    experiments = {setting.experiment for setting in planned}
    wanted = {
        (dataset, selection.experiment_on(dataset)): None
        for claim in (*claims.claims, *claims.targets)
        for dataset in claim.datasets
        for selection in selections(claim)
    }
    assert {name for _, name in wanted} <= experiments
    seed0 = [setting for setting in planned if setting.seed == 0 and setting.timing is None]
    parts: dict[tuple[str, str], list[Setting]] = {}
    for setting in seed0:
        parts.setdefault((setting.experiment, setting.dataset.info.name), []).append(setting)
    for claim in (*claims.claims, *claims.targets):
        for papers in (False, True):
            for dataset in claim.datasets:
                for selection in selections(claim, papers):
                    experiment = str(selection.experiment_on(dataset))
                    if experiment in experiments and dataset not in claims.unavailable:
                        fitting = [x for x in parts[experiment, dataset] if selects(selection, dataset, x)]
                        assert len(fitting) == 1, (claim.id, dataset, selection)


def test_every_reported_number_has_its_planned_contender(planned: list[Setting]) -> None:
    seed0 = [setting for setting in planned if setting.seed == 0 and setting.timing is None]
    for published in reported.load(CLAIMS, "paper.reported.yaml").published:
        for dataset in published.datasets:
            part = [x for x in seed0 if x.experiment == published.id and x.dataset.info.name == dataset]
            for line in published.rows[:: len(published.rows) - 1]:
                for column in published.columns:
                    selection = published.selection(line, column)
                    assert sum(selects(selection, dataset, x) for x in part) == 1, (published.id, dataset, selection)


def test_reported_numbers_are_the_papers() -> None:
    tables = {each.id: each for each in reported.load(CLAIMS, "paper.reported.yaml").published}
    columns = {name: {each.label: each for each in table.columns} for name, table in tables.items()}
    mse = columns["table2"]["reconstruction MSE, the paper's scale"].reported
    assert mse["mnist"] == [231.31, 252.23, 312.87, 478.76, 668.07]
    assert columns["table3"]["test accuracy"].reported["cifar10"] == [0.8116, 0.7432, 0.7416, 0.7517, 0.8665]
    assert columns["figure4"]["test accuracy, CRFU"].reported["cifar10"][2] == 0.7556
    assert columns["figure7"]["erased, beta_u 0.01"].reported["cifar10"][:2] == [0.24, 0.13]
    assert "75.17" in " ".join(tables["table3"].notes)
