"""A method whose original is of another architecture is compared with retraining of that one, or with none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from sample_records import judged, rows, write_cells

from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.leaderboard.verdicts import Accuracy
from unlearnbench.registry.registry import Registry, discover
from unlearnbench.report.summary import results
from unlearnbench.suite.plan import build
from unlearnbench.suite.suite import load_suite

AUC = [0.6, 0.62, 0.58, 0.61, 0.6]
SUITE = """
name: own
seeds: 1
experiments:
  leak:
    datasets: [digits]
    scenario:
      kind: leak
      erased_count: 1
      targets: 6
      leak: {target: 80, known: 60, pool: 300, validation: 20, probe: 10, spare: 100}
    methods: [fine_tune, sisa]
"""


def board(folder: Path, own: bool, **other: Any) -> pd.Series:
    made = []
    for method, mine in (("wide", own), ("retrain", False)):
        facts = {"own_original": mine, "reference": method == "retrain", **other}
        made += [{**row, **facts} for row in judged(method)]
        made += [{**row, **facts} for row in rows(method, "auc", [x + 0.2 * (method == "wide") for x in AUC],
                                                  attack="membership")]  # fmt: skip
    frame = leaderboard.build(write_cells(folder / "records", made), folder / "board")
    assert results(frame)
    return frame.set_index("method_id").loc["wide"]


def test_its_leak_is_not_read_off_against_another_architectures_retraining(tmp_path: Path) -> None:
    shared, wide = board(tmp_path / "shared", own=False), board(tmp_path / "wide", own=True)
    assert abs(shared["auc_gap_retrain"] - 0.2) < 1e-9
    assert shared["auc_p_retrain"] < 0.05
    assert shared["beside_retrain"] == "worse"
    for column in ("auc_gap_retrain", "auc_p_retrain", "advantage_gap_retrain", "beside_retrain"):
        assert pd.isna(wide[column])


def test_it_is_judged_beside_models_retrained_in_its_own_way(tmp_path: Path) -> None:
    assert board(tmp_path, own=True)["utility"] == Accuracy.KEPT
    (tmp_path / "suite.yaml").write_text(SUITE)
    registry: Registry = discover()
    plan = build(load_suite(tmp_path / "suite.yaml", registry).settings(), tmp_path)
    judges = {cell.method_id: cell.stages["retrained"] for cell in plan.cells}
    of_key = {task.key: task for task in plan.tasks if task.stage == "retrained"}
    assert judges["fine_tune"] == judges["retrain"] == judges["original"]
    assert judges["sisa"] != judges["fine_tune"]
    assert of_key[judges["sisa"]].work.method.name == "sisa"
    assert of_key[judges["fine_tune"]].work.method is None


def test_memory_that_a_method_made_up_and_threw_away_is_not_what_it_forgot(tmp_path: Path) -> None:
    """Its own original remembered three times as much as the suite's; what is left is all that the suite's had."""
    made = [{**row, "own_original": False, "reference": True} for row in judged("original", "remembered")]
    held = {row["seed"]: row["value"] for row in made if row["metric"] == "memory_original"}
    for row in judged("wide"):
        value = {"memory": held[row["seed"]], "memory_original": 3 * held[row["seed"]]}.get(row["metric"], row["value"])
        made.append({**row, "own_original": True, "value": value})
    frame = leaderboard.build(write_cells(tmp_path / "records", made), tmp_path / "board").set_index("method_id")
    assert frame.loc["wide", "verdict"] == "remembered"
    alone = [row for row in made if row["method"] == "wide"]
    frame = leaderboard.build(write_cells(tmp_path / "alone", alone), tmp_path / "board2").set_index("method_id")
    assert frame.loc["wide", "verdict"] == "not judged"


def test_failing_where_it_does_badly_does_not_help(tmp_path: Path) -> None:
    good = [row for row in judged("crfu", seeds=10) if row["seed"] < 5]
    bad = [{**row, "status": "failed", "metric": "status", "value": None, "error": "refused"}
           for row in judged("crfu", seeds=10) if row["seed"] >= 5 and row["metric"] == "memory"]  # fmt: skip
    frame = leaderboard.build(write_cells(tmp_path / "records", [*good, *bad]), tmp_path / "board")
    (row,) = (row for _, row in frame.iterrows())
    assert (row["status"], row["failed_seeds"]) == ("partial", 5)
    assert row["verdict"] == row["utility"] == "cannot be told"
    assert (row["forgot_seeds"], row["judged_seeds"]) == (5, 10)
    assert pd.isna(row["rank"])
