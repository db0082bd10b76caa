"""Where memory is short a cell goes on with fewer models at a time, and says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import Place, rows, write_suite

from unlearnbench.training import replica_run as replicas
from unlearnbench.training.replica_run import ReplicaRun


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, capsys, monkeypatch)


ERRORS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried ..."),
]


def room_for(models: int, monkeypatch: pytest.MonkeyPatch, error: Exception = ERRORS[0]) -> list[int]:
    """Memory for so many models at a time; returns a list to which the number of each attempt is added."""
    attempts: list[int] = []
    original = ReplicaRun.__init__

    def limited(self: ReplicaRun, before: Any, sets: Any, *rest: Any, **named: Any) -> None:
        attempts.append(sets.replicas)
        if sets.replicas > models:
            raise error
        original(self, before, sets, *rest, **named)

    monkeypatch.setattr(replicas.ReplicaRun, "__init__", limited)
    return attempts


def unjudged(path: Path) -> Path:
    """The suite without retrained models to judge by, which would be the largest stack of all."""
    path.write_text(
        path.read_text().replace("erased_count: 1", "erased_count: 1\n      judging: {largest_retraining: 1}")
    )
    return path


def test_retrained_models_are_halved_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = room_for(4, monkeypatch)
    write_suite(place.folder, attacks="")
    ran = place.run()
    assert ran.code == 0, ran.err
    assert "out of memory: retrained digits mlp seed 0 goes on with 4 models at a time" in ran.err
    assert max(attempts) == 16
    assert set(models_at_a_time(place.results).values()) == {4}


def models_at_a_time(results: Path) -> dict[tuple[str, str | None], int]:
    return {(row["method"], row["attack"]): json.loads(row["scenario"])["replicas"] for row in rows(results)}


@pytest.mark.parametrize("error", ERRORS, ids=["python", "cuda", "torch on a cpu"])
def test_a_cell_goes_on_with_half_the_models(place: Place, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    attempts = room_for(3, monkeypatch, error)
    unjudged(write_suite(place.folder))  # two targets, ten shadows
    ran = place.run()
    assert ran.code == 0, ran.err
    assert ran.counts == {"planned": 6, "done": 6, "cached": 0, "failed": 0, "skipped": 0}
    assert "out of memory: shadows digits mlp vbu seed 0 goes on with 5 models at a time" in ran.err
    assert "out of memory: shadows digits mlp vbu seed 0 goes on with 2 models at a time" in ran.err
    assert models_at_a_time(place.results) == {
        ("original", None): 64, ("retrain", None): 64, ("vbu", None): 64,
        ("original", "membership"): 64, ("retrain", "membership"): 2, ("vbu", "membership"): 2,
    }  # fmt: skip
    assert max(attempts) == 10
    # A later run finds them, with or without its receipt, whatever memory there is.
    attempts.clear()
    assert place.run().counts["cached"] == 6
    for receipt in (place.results / "receipts").glob("*"):
        receipt.unlink()
    again = place.run()
    assert again.counts["cached"] == 6
    assert "stale" not in again.err
    assert attempts == []
    unjudged(write_suite(place.folder, seeds=2))
    assert place.run().counts == {"planned": 12, "done": 6, "cached": 6, "failed": 0, "skipped": 0}


def test_the_numbers_are_those_of_a_suite_that_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    path = unjudged(write_suite(place.folder, attacks="membership: {shadows: 10}"))
    with monkeypatch.context() as patch:
        room_for(3, patch)
        place.run()
    halved = [row for row in rows(place.results) if row["method"] == "vbu" and row["attack"]]
    path.write_text(path.read_text().replace("erased_count: 1", "erased_count: 1\n      replicas: 2"))
    place.run("--results", "said")
    said = [row for row in rows(Path("said")) if row["method"] == "vbu" and row["attack"]]
    differ = ("scenario", "scenario_id")
    assert [{k: v for k, v in row.items() if k not in differ} for row in halved] == [
        {k: v for k, v in row.items() if k not in differ} for row in said
    ]


def test_one_model_that_does_not_fit_fails(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = room_for(0, monkeypatch)
    unjudged(write_suite(place.folder, attacks=""))
    ran = place.run()
    assert ran.code == 1
    assert ran.counts["failed"] == 3
    assert attempts == [1]  # nothing is left to halve when the original is trained
    assert {row["error"] for row in rows(place.results)} == {"train: MemoryError"}


def test_seeds_that_do_not_fit_together_are_halved_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = room_for(2, monkeypatch)
    path = unjudged(write_suite(place.folder, attacks="", seeds=4))
    path.write_text(path.read_text().replace("erased_count: 1", "erased_count: 1\n      seeds_together: 4"))
    ran = place.run()
    assert ran.code == 0, ran.err
    assert ran.counts["done"] == 12
    assert attempts[0] == 4
    assert set(attempts[1:]) == {2}
