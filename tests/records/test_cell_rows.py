"""Record files: from a cell to its rows, and which files of a folder count."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_plugins import fake_registry
from sample_records import row

from unlearnbench.records import cell_rows as recording
from unlearnbench.records import writing as records
from unlearnbench.records.folder import is_intact, set_apart
from unlearnbench.stages.attacking import membership_of
from unlearnbench.suite.plan import Cell, Plan
from unlearnbench.suite.suite import load_suite

SUITE = """
name: tiny
seeds: 1
experiments:
  one:
    datasets: [small]
    scenario: {kind: leak, erased_count: 1}
    methods: [fading]
    attacks: [guess]
"""
NOW = datetime(2026, 1, 2, 3, tzinfo=UTC)
HERE = {"git_sha": "c" * 40, "git_dirty": False, "versions": {"torch": "2"}, "device": "cpu: x",
        "started_at": NOW.isoformat(), "plugin_sha256": {"method": "a" * 64}}  # fmt: skip
STAGES: dict[str, dict[str, Any]] = {
    "train": {"seconds": 5.0, "peak_bytes": None, "provenance": HERE},
    "unlearn": {"seconds": 9.0, "peak_bytes": 9, "sizes": {"erased": 1},
                "measures": {"accuracy": [0.5, 60], "gradient_steps": [20.0, 5]},
                "trajectory": [[0, "accuracy", 0.9, 60]], "provenance": HERE},
    "timing": {"seconds": 8.0, "peak_bytes": None, "sizes": {"erased": 1}, "unlearn_seconds": [2.0, 1.5, 4.0, 3],
               "provenance": HERE},
    "attack": {"seconds": 3.0, "peak_bytes": 8, "scores": {"auc": [0.75, 0.7, 0.8, 20]},
               "provenance": HERE | {"plugin_sha256": {"method": "a" * 64, "attack": "b" * 64}}},
}  # fmt: skip


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    """The utility cell and the attacked cell of `fading`."""
    (tmp_path / "suite.yaml").write_text(SUITE)
    settings = load_suite(tmp_path / "suite.yaml", fake_registry()).settings()
    chosen = [setting for setting in settings if setting.method.id == "fading"]
    return [Cell(f"key{i}", setting, "d" * 64, {"train": "t", "unlearn": "u"}) for i, setting in enumerate(chosen)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "records"


def test_a_utility_cell_records_measures_and_trajectory(cells: list[Cell], folder: Path) -> None:
    recording.write_result(folder, cells[0], {name: STAGES[name] for name in ("train", "unlearn")})
    final, _, point = records.read(folder / "key0.parquet").to_pylist()
    assert (final["metric"], final["value"], final["n_samples"], final["step"]) == ("accuracy", 0.5, 60, None)
    assert (point["value"], point["step"]) == (0.9, 0)
    assert (final["train_seconds"], final["unlearn_seconds"], final["attack_seconds"]) == (5.0, None, None)
    assert (final["peak_bytes"], final["device"], final["started_at"]) == (9, "cpu: x", NOW)
    # Of the run that computed the numbers, whatever writes them down.
    assert (final["git_sha"], final["versions"], final["plugin_sha256"]) == ("c" * 40, '{"torch":"2"}', "a" * 64)
    assert (final["attack"], final["status"], final["direction"]) == (None, "ok", "utility: higher is better")


def test_a_timed_cell_records_the_median_and_the_fastest_and_slowest(cells: list[Cell], folder: Path) -> None:
    timed = replace(cells[0], setting=replace(cells[0].setting, timing=3))
    recording.write_result(folder, timed, {name: STAGES[name] for name in ("train", "timing")})
    (only,) = records.read(folder / "key0.parquet").to_pylist()
    assert (only["metric"], only["value"], only["low"], only["high"]) == ("unlearn_seconds", 2.0, 1.5, 4.0)
    assert (only["n_samples"], only["unlearn_seconds"], only["direction"]) == (3, 2.0, "cost: lower is better")


def test_an_attacked_cell_records_scores_with_intervals(cells: list[Cell], folder: Path) -> None:
    recording.write_result(folder, cells[1], STAGES)
    only, steps = records.read(folder / "key1.parquet").to_pylist()
    assert (steps["metric"], steps["value"], steps["attack_id"]) == ("gradient_steps", 20.0, "guess")
    assert (only["metric"], only["value"], only["low"], only["high"], only["n_samples"]) == ("auc", 0.75, 0.7, 0.8, 20)
    assert (only["attack_seconds"], only["attack_id"], only["cell_key"]) == (3.0, "guess", "key1")
    assert only["plugin_sha256"] == "a" * 64 + "+" + "b" * 64


def test_what_plugins_say_and_scores_of_erased_images_are_recorded(cells: list[Cell], folder: Path) -> None:
    asked = replace(cells[1], reference=False, own_original=True, ranks_by=("skill_mean", "label_accuracy"))
    scores = {"auc": [0.75, 0.7, 0.8, 3], "balanced_accuracy": [0.5, 0.4, 0.6, 3]}
    attacked = STAGES["attack"] | {"scores": scores, "membership": {"erased": [0.5], "unseen": [0.25, 0.125]}}
    recording.write_result(folder, asked, STAGES | {"attack": attacked})
    auc, other, steps = records.read(folder / "key1.parquet").to_pylist()
    for each in (auc, other, steps):
        said = each["reference"], each["own_original"], each["ranked_by"]
        assert said == (False, True, "skill_mean,label_accuracy")
    assert (auc["scores_erased"], auc["scores_unseen"]) == ([0.5], [0.25, 0.125])
    assert [each[name] for each in (other, steps) for name in ("scores_erased", "scores_unseen")] == [None] * 4
    recording.write_result(folder, replace(asked, ranks_by=()), STAGES)  # of an artifact without scores
    auc = records.read(folder / "key1.parquet").to_pylist()[0]
    assert (auc["ranked_by"], auc["scores_erased"], auc["scores_unseen"]) == ("", None, None)


def test_too_many_scores_are_left_out(cells: list[Cell], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_SCORES", 1)
    attacked = STAGES["attack"] | {"membership": {"erased": [0.5], "unseen": [0.25, 0.125]}}
    recording.write_result(folder, cells[1], STAGES | {"attack": attacked})
    assert records.read(folder / "key1.parquet").to_pylist()[0]["scores_erased"] is None


def test_infinite_scores_become_the_largest_and_keep_their_order() -> None:
    scores = torch.tensor([math.inf, 0.5, -math.inf, 0.25])
    found = membership_of(scores, torch.tensor([True, False, False, True]))
    assert found == {"erased": [torch.finfo(torch.float32).max, 0.25], "unseen": [0.5, torch.finfo(torch.float32).min]}


def test_a_failure_is_never_taken_for_a_result(cells: list[Cell], folder: Path) -> None:
    recording.write_failure(folder, cells[1], "attack: no luck", "cpu: x", NOW)
    assert [path.name for path in folder.iterdir()] == ["key1.failed.parquet"]
    (only,) = records.read(folder / "key1.failed.parquet").to_pylist()
    assert (only["status"], only["error"], only["value"]) == ("failed", "attack: no luck", None)
    recording.write_result(folder, cells[1], STAGES)
    assert [path.name for path in folder.iterdir()] == ["key1.parquet"]


def test_a_failure_never_replaces_a_result(cells: list[Cell], folder: Path) -> None:
    recording.write_result(folder, cells[1], STAGES)
    before = (folder / "key1.parquet").read_bytes()
    assert not recording.write_failure(folder, cells[1], "again", "cpu: x", NOW)
    assert [path.name for path in folder.iterdir()] == ["key1.parquet"]
    assert (folder / "key1.parquet").read_bytes() == before
    (folder / "key1.parquet").write_bytes(before[:-1])  # no result, whatever it is called
    assert recording.write_failure(folder, cells[1], "again", "cpu: x", NOW)
    assert sorted(path.name for path in folder.iterdir()) == ["key1.failed.parquet", "key1.parquet"]


@pytest.mark.parametrize("first", ["result", "failure"])
def test_of_two_runs_at_once_the_result_is_left_whoever_comes_first(
    cells: list[Cell], folder: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    def fail() -> None:
        recording.write_failure(folder, cells[1], "no memory", "cpu: x", NOW)

    def succeed() -> None:
        recording.write_result(folder, cells[1], STAGES)

    write, (outer, inner) = records.write, (succeed, fail) if first == "result" else (fail, succeed)

    def write_then_the_other(*given: Any) -> None:  # between what one run writes and what it looks for
        monkeypatch.setattr(records, "write", write)
        write(*given)
        inner()

    monkeypatch.setattr(records, "write", write_then_the_other)
    outer()
    assert [path.name for path in folder.iterdir()] == ["key1.parquet"]


def test_readers_take_a_result_and_not_the_failure_that_a_killed_run_left_beside_it(
    cells: list[Cell], folder: Path
) -> None:
    recording.write_failure(folder, cells[1], "no luck", "cpu: x", NOW)
    failure = (folder / "key1.failed.parquet").read_bytes()
    recording.write_result(folder, cells[1], STAGES)
    (folder / "key1.failed.parquet").write_bytes(failure)
    table, bad = records.read_folder(folder)
    assert (set(table["status"].to_pylist()), bad) == ({"ok"}, [])


def test_a_skipped_cell_says_why(cells: list[Cell], folder: Path) -> None:
    recording.write_skip(folder, replace(cells[0], skip="needs beta"), "none", NOW)
    (only,) = records.read(folder / "key0.parquet").to_pylist()
    assert (only["status"], only["error"], only["value"]) == ("skipped", "needs beta", None)


def test_only_whole_files_are_intact(cells: list[Cell], folder: Path) -> None:
    recording.write_result(folder, cells[1], STAGES)
    path = folder / "key1.parquet"
    assert is_intact(path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[:100] + b"?" + whole[101:]):
        path.write_bytes(damaged)
        assert not is_intact(path)
    assert not is_intact(folder / "nothing.parquet")


def test_replaced_and_damaged_files_are_set_apart_and_others_stay(cells: list[Cell], folder: Path) -> None:
    for cell in (*cells, replace(cells[0], key="older")):
        stages = STAGES if cell.setting.attack else {name: STAGES[name] for name in ("train", "unlearn")}
        recording.write_result(folder, cell, stages)
    recording.write_failure(folder, replace(cells[1], key="failed"), "no luck", "cpu: x", NOW)
    more_seeds = replace(cells[0], key="seed1", setting=replace(cells[0].setting, seed=1))
    recording.write_skip(folder, replace(more_seeds, skip="no"), "none", NOW)
    planned = records.read(folder / "key0.parquet").to_pylist()
    records.write(
        [{**each, "cell_key": "before", "protocol_version": 1} for each in planned], folder / "before.parquet"
    )
    records.write([row("vbu", 0, "auc", 0.5, cell_key="foreign", protocol_version=1)], folder / "foreign.parquet")
    records.write([row("vbu", 0, "auc", 0.5, cell_key="other")], folder / "other.parquet")
    (folder / "half.parquet").write_bytes(b"PAR1")
    moved = set_apart(folder, Plan("tiny", cells, []))
    assert moved == (3, ["half.parquet"])
    stale = {"older.parquet", "failed.failed.parquet", "before.parquet"}
    assert {path.name for path in (folder / "stale").iterdir()} == stale
    assert {path.name for path in folder.glob("*.parquet")} == {
        "key0.parquet", "key1.parquet", "seed1.parquet", "other.parquet", "foreign.parquet"
    }  # fmt: skip
    assert set_apart(folder, Plan("tiny", cells, [])) == (0, [])


def test_many_records_of_other_cells_cost_little(cells: list[Cell], folder: Path) -> None:
    records.write([row("vbu", 0, "auc", 0.5, cell_key="other")], folder / "other.parquet")
    content = (folder / "other.parquet").read_bytes()
    for number in range(500):
        (folder / f"{number}.parquet").write_bytes(content)
    started = time.perf_counter()
    assert set_apart(folder, Plan("tiny", cells, [])).stale == 0
    assert time.perf_counter() - started < 5  # a tenth of it on a quiet machine
