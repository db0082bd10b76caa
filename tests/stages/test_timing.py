"""Times of unlearning are measured alone, and are of one kind of machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Place, rows, write_method, write_suite

from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.registry.registry import discover
from unlearnbench.suite import plan, stage_tasks
from unlearnbench.suite.plan import Cell
from unlearnbench.suite.suite import load_suite

CLOCK = """
import json, time
started = time.time()
time.sleep(0.1)
with Path("spans").open("a") as file:
    file.write(json.dumps([sets.replicas, started, time.time()]) + "\\n")
return before.expand(sets.replicas)
"""


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, capsys, monkeypatch)


def write(folder: Path, methods: str, timing: str, **changes: Any) -> None:
    path = write_suite(folder, methods=methods, **changes)
    path.write_text(path.read_text() + f"    timing: {timing}\n")


def seconds(results: Path) -> list[dict[str, Any]]:
    """All rows with a time of unlearning."""
    found = rows_with_times(results)
    return [row for row in found if row["metric"] == "unlearn_seconds"]


def rows_with_times(results: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return [row for path in (results / "records").glob("*.parquet") for row in pq.ParquetFile(path).read().to_pylist()]


def test_times_come_from_the_timing_stage_only(place: Place) -> None:
    write(place.folder, "vbu", "{repeats: 3}", seeds=2)
    ran = place.run()
    # original, retrain and vbu, two seeds, without an attack and with one; and timed with the first seed.
    assert ran.counts == {"planned": 15, "done": 15, "cached": 0, "failed": 0, "skipped": 0}
    timed = seconds(place.results)
    assert {(row["method"], row["seed"], row["n_samples"]) for row in timed} == {
        ("original", 0, 3), ("retrain", 0, 3), ("vbu", 0, 3),
    }  # fmt: skip
    for row in timed:
        assert 0 < row["low"] <= row["value"] <= row["high"]
        assert row["value"] == row["unlearn_seconds"]
        assert row["attack"] is None
        assert row["device"].startswith("cpu: ")
    others = [row for row in rows_with_times(place.results) if row["metric"] != "unlearn_seconds"]
    assert {row["unlearn_seconds"] for row in others} == {None}
    board = leaderboard.read(place.results / "leaderboard.parquet")
    shown = board[board["method"] == "vbu"]
    assert (shown["unlearn_seconds"] == next(row["value"] for row in timed if row["method"] == "vbu")).all()
    assert (shown["n_seeds"] == 2).all()
    assert place.run().counts["cached"] == 15


def test_references_can_be_left_untimed(place: Place) -> None:
    write(place.folder, "vbu", "{repeats: 1, references: false}", attacks="")
    assert place.run().counts["planned"] == 4  # original, retrain, vbu, and vbu timed
    assert {row["method"] for row in seconds(place.results)} == {"vbu"}


def test_references_can_be_timed_less_often(place: Place) -> None:
    write(place.folder, "vbu", "{repeats: 3, reference_repeats: 1}", attacks="")
    assert place.run().code == 0
    timed = {row["method"]: row["n_samples"] for row in seconds(place.results)}
    assert timed == {"original": 1, "retrain": 1, "vbu": 3}


def test_nothing_runs_beside_what_is_timed(place: Place) -> None:
    write_method(place.folder / "own", "clock", unlearn=CLOCK)
    write(place.folder, "clock", "{repeats: 2, seeds: 2}", attacks="", seeds=3)
    assert place.run("--plugins", "own", "--jobs", "2", engine="loky").code == 0
    spans = [json.loads(line) for line in Path("spans").read_text().splitlines()]
    timed = [span for span in spans if span[0] == 1]  # one replica; the experiment has two targets
    assert len(timed) == 4
    assert len(spans) == 7
    for _, start, end in timed:
        assert not [span for span in spans if span[1] != start and span[1] < end and start < span[2]]


def cells(folder: Path, device: str) -> list[Cell]:
    settings = load_suite(folder / "suite.yaml", discover()).settings()
    return plan.build(settings, folder, device).cells


def test_hardware_is_part_of_the_keys_of_times_and_of_no_others(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write(place.folder, "vbu", "{}")
    monkeypatch.setattr(stage_tasks, "describe", lambda device: f"{device}: this one")
    here = cells(place.folder, "cpu")
    monkeypatch.setattr(stage_tasks, "describe", lambda device: f"{device}: another")
    there = cells(place.folder, "cpu")
    same = [first.key == second.key for first, second in zip(here, there, strict=True)]
    assert same == [cell.setting.timing is None for cell in here]
    assert same.count(False) == 3


def test_other_numbers_do_not_depend_on_timing(place: Place) -> None:
    write_suite(place.folder)
    place.run("--results", "plain")
    write(place.folder, "vbu", "{repeats: 1}")
    place.run("--results", "timed")
    assert rows(Path("plain")) == rows(Path("timed"))
