"""suites/quickstart.yaml, end to end, as a user runs it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from checkout import ROOT
from tiny_runs import finish, rows, start

from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.leaderboard.contenders import KEYS

SUITE = str(ROOT / "suites" / "quickstart.yaml")


@pytest.mark.slow
def test_quickstart_runs_resumes_and_survives_a_kill(tmp_path: Path) -> None:
    ran = finish(start(tmp_path, "--seeds", "1", "--jobs", "2", engine="loky", suite=SUITE), timeout=600)
    assert ran.code == 0, ran.err
    planned = ran.counts["planned"]
    assert ran.counts == {"planned": planned, "done": planned, "cached": 0, "failed": 0, "skipped": 0}
    results = tmp_path / "results" / "quickstart"

    board = leaderboard.read(results / "leaderboard.parquet")
    metrics = ("accuracy", "backdoor_accuracy", "mse", "auc")
    expected = [*KEYS, "status", "rank", "rank_metric", "forgot"]
    expected += [f"{name}{end}" for name in metrics for end in ("", "_low", "_high", "_n")]
    expected += [f"{name}{end}" for name in ("mse", "auc") for end in ("_gap_retrain", "_gap_trivial")]
    assert set(expected) <= set(board.columns)
    assert {"original", "retrain", "vbu"} <= set(board["method_id"])
    for _, table in board.groupby(["experiment", "attack_id"], dropna=False):
        metric = table["rank_metric"].iloc[0]
        assert table[metric].nunique() > len(table) / 2
    assert "crfu" in (results / "leaderboard.md").read_text()
    drawn = [path.name for path in (results / "pictures").iterdir()]
    assert {"_roc_" in name for name in drawn} == {True, False}  # curves and galleries

    started = time.monotonic()
    again = finish(start(tmp_path, "--seeds", "1", suite=SUITE))
    assert (again.code, again.counts["cached"], again.err) == (0, planned, "")
    assert time.monotonic() - started < 3

    # Killed half-way and started again on its own: the same numbers.
    arguments = ("--seeds", "1", "--results", "other", "--cache", "other-cache")
    process = start(tmp_path, *arguments, suite=SUITE)
    records = tmp_path / "other" / "records"
    while len(list(records.glob("*.parquet"))) < planned // 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    finish(process)
    ran = finish(start(tmp_path, *arguments, suite=SUITE), timeout=600)
    assert ran.code == 0
    assert 0 < ran.counts["done"] <= planned - planned // 2
    assert rows(tmp_path / "other") == rows(results)
