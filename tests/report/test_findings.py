"""What is shown to leak: beyond both bars, paid for in the number of tests, and never where nothing was erased."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_records import judged, rows, write_cells

from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.report.findings import AttackFinding, findings, metrics_of
from unlearnbench.report.rows import rows_of
from unlearnbench.system.errors import InputError

RETRAIN = [0.50, 0.52, 0.51, 0.49, 0.50]
WEAK = [0.54, 0.57, 0.60, 0.50, 0.56]
"""Against RETRAIN p is 0.016 alone, and 0.094 as the smallest of six."""


def attacked(method: str, values: list[float], metric: str = "auc", attack: str = "a", **other: Any) -> list[Any]:
    return rows(method, metric, values, **{"attack": attack, **other})


def found(tmp_path: Path, *made: list[Any]) -> dict[tuple[str, str, str], AttackFinding]:
    """Findings by method, attack and metric."""
    folder = write_cells(tmp_path / "records", [each for group in made for each in group])
    board = rows_of(leaderboard.build(folder, tmp_path / "board"))
    return {
        (finding.method, row["attack"], finding.metric.name): finding
        for row, own in findings(board)
        for finding in own
    }  # fmt: skip


def test_a_leak_is_beyond_looking_at_nothing_and_beyond_retraining(tmp_path: Path) -> None:
    strong = [0.7, 0.72, 0.71, 0.69, 0.7]
    shown = found(
        tmp_path,
        attacked("retrain", RETRAIN),
        attacked("crfu", strong),
        attacked("vbu", RETRAIN),
        judged("crfu"),
        judged("vbu", "over-forgotten"),
    )
    crfu, vbu = shown["crfu", "a", "auc"], shown["vbu", "a", "auc"]
    assert (crfu.leaks, crfu.beyond, crfu.compared, crfu.forgot) == (True, True, True, "forgotten 5/5")
    assert crfu.difference == "+0.2 ± 0"
    assert (vbu.leaks, vbu.beyond, vbu.forgot) == (False, False, "over-forgotten 0/5")
    assert shown["retrain", "a", "auc"].p is None


def test_each_methods_tests_pay_for_their_own_number(tmp_path: Path) -> None:
    alone = found(tmp_path / "1", attacked("retrain", RETRAIN), attacked("crfu", WEAK))["crfu", "a", "auc"]
    assert alone.leaks
    attacks = [f"a{number}" for number in range(6)]
    many = found(
        tmp_path / "6",
        *(attacked("retrain", RETRAIN, attack=attack) for attack in attacks),
        *(attacked("crfu", WEAK if attack == "a0" else RETRAIN, attack=attack) for attack in attacks),
        attacked("vbu", WEAK, attack="a0"),
    )
    assert many["crfu", "a0", "auc"].p == pytest.approx(6 * (alone.p or 0))
    assert not many["crfu", "a0", "auc"].leaks
    assert many["vbu", "a0", "auc"].leaks  # another method's tests are another's


def test_settings_are_apart(tmp_path: Path) -> None:
    made = [
        each
        for dataset in ("mnist", "digits")
        for method, values in (("retrain", RETRAIN), ("crfu", WEAK))
        for each in attacked(method, values, dataset=dataset)
    ]
    assert found(tmp_path, made)["crfu", "a", "auc"].leaks


def test_a_method_that_leaks_nowhere_is_flagged_in_at_most_one_of_twenty_settings(tmp_path: Path) -> None:
    """Ten attacks that find nothing, in 200 settings."""
    generator = np.random.default_rng(2)
    made = []
    for setting in range(200):
        for attack in range(10):
            for method in ("retrain", "crfu"):
                values = list(0.6 + 0.02 * generator.normal(size=5))
                made += attacked(method, values, attack=f"a{attack}", experiment=f"e{setting}")
    folder = write_cells(tmp_path / "records", made)
    board = rows_of(leaderboard.build(folder, tmp_path / "board"))
    flagged = {row["experiment"] for row, own in findings(board) for finding in own if finding.leaks}
    assert len(flagged) <= 16  # 5 % of 200, and its error


def test_without_retraining_only_the_trivial_attacker_is_the_bar(tmp_path: Path) -> None:
    crfu = found(tmp_path, attacked("crfu", [0.8] * 5))["crfu", "a", "auc"]
    assert (crfu.beyond, crfu.compared, crfu.leaks, crfu.difference) == (True, False, False, "")


@pytest.mark.parametrize("null", ["original", "seed_noise"])
def test_an_attack_that_finds_something_where_nothing_was_erased_is_refused(tmp_path: Path, null: str) -> None:
    made = attacked("retrain", RETRAIN), attacked(null, [0.8] * 5)
    with pytest.raises(InputError, match=f"leak, a.*: '{null}', which erases nothing, is shown to leak by auc"):
        found(tmp_path, *made)


@pytest.mark.parametrize("null", ["original", "seed_noise"])
def test_nor_may_an_attack_without_shadows_find_anything_there(tmp_path: Path, null: str) -> None:
    """Unless it sees the model after alone: what that still knows is not what unlearning changed."""
    values = [("retrain", RETRAIN), (null, [0.8] * 5)]
    made = [attacked(method, scores, tier="no_shadows") for method, scores in values]
    with pytest.raises(InputError, match=f"'{null}', which erases nothing, is shown to leak by auc"):
        found(tmp_path, *made)
    shown = found(tmp_path / "after", *[attacked(method, scores, tier="after_only") for method, scores in values])
    assert shown[null, "a", "auc"].leaks


def test_an_attack_that_is_not_about_erased_images_shows_no_leak_and_costs_no_other_a_test(tmp_path: Path) -> None:
    methods = {"retrain": RETRAIN, "crfu": [0.8] * 5}
    shown = found(tmp_path, *[attacked(method, scores, ranked_by="") for method, scores in methods.items()])
    assert shown["crfu", "a", "auc"].p is None


@pytest.mark.parametrize("null", ["original", "seed_noise"])
def test_a_null_below_chance_is_not_flagged_however_low_retraining_fell(tmp_path: Path, null: str) -> None:
    """seed_noise was at AUC 0.49 and the original at skill -0.019, above retraining's."""
    shown = found(
        tmp_path,
        attacked("retrain", [0.40] * 5),
        attacked(null, [0.49, 0.492, 0.488, 0.491, 0.489]),
        attacked("retrain", [-0.1] * 5, "skill_mean", attack="b"),
        attacked(null, [-0.019, -0.02, -0.018, -0.019, -0.019], "skill_mean", attack="b"),
    )
    assert not shown[null, "a", "auc"].beyond
    assert not shown[null, "b", "skill_mean"].beyond


def test_memory_of_the_original_is_no_broken_attack_where_it_sees_no_update(tmp_path: Path) -> None:
    """An attack on one model may find members of the original: it erased nothing and hides nothing."""
    made = attacked("retrain", RETRAIN, tier="none"), attacked("original", [0.8] * 5, tier="none")
    assert found(tmp_path, *made)["original", "a", "auc"].leaks


def test_for_sets_the_mean_image_is_no_bar() -> None:
    assert metrics_of({"skill_mean": 0.5, "skill_blind_set": 0.1, "mse": 1.0}) == ["skill_blind_set"]
    assert metrics_of({"skill_mean": 0.5, "auc": 0.6, "mse": 1.0}) == ["skill_mean", "auc"]
    assert metrics_of({"mse": 1.0, "skill_mean": None}) == ["mse"]
