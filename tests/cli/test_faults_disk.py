"""Disks that are full, folders that can't be written, two runs at once, clocks that jump, data that changes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Place, finish, rows, start, write_method, write_suite

from unlearnbench.cli import main as cli
from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.records import writing as records
from unlearnbench.system.store import Store


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    there = Place(tmp_path, capsys, monkeypatch)
    write_suite(tmp_path, attacks="")
    return there


def refused(place: Place, *arguments: str) -> str:
    """The one line that a run ends with that the user has to do something about."""
    ran = place.run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err
    errors = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert errors == ran.err.splitlines()[-1:]
    return errors[0]


def whole(place: Place) -> None:
    """Nothing is half-written: no temporary files, no damaged ones."""
    assert not list(place.folder.rglob("*.tmp"))
    if (place.folder / "cache").is_dir():
        store = Store(place.folder / "cache")
        assert all(store.get(key) is not None for key in store.keys())  # noqa: SIM118 (not a mapping)
    if (place.results / "records").is_dir():
        assert records.read_folder(place.results / "records")[1] == []


# --- a disk that is full ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The records of an undisturbed run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_suite(folder, attacks="")
    assert finish(start(folder)).code == 0
    return rows(folder / "results" / "tiny")


# A folder is synced after each file: trained model, then three erasures and three records, then leaderboard.
@pytest.mark.parametrize("written", [0, 1, 2, 4, 5, 12, 14, 15])
def test_a_full_disk_ends_a_run_which_then_goes_on(
    place: Place, expected: list[dict[str, Any]], written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes, sync = count(), os.fsync

    def full(file: int) -> None:
        if next(writes) >= written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert refused(place).endswith("can't be written: No space left on device")
    whole(place)
    ran = place.run()
    assert (ran.code, ran.counts["done"] + ran.counts["cached"], ran.counts["failed"]) == (0, 3, 0)
    assert rows(place.results) == expected


# --- folders that can't be written -----------------------------------------------------------------------------------


def in_the_way_of_a_folder(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")


def in_the_way_of_all_artifacts(path: Path) -> None:
    for number in range(256):
        in_the_way_of_a_folder(path / f"{number:02x}")


def in_the_way_of_a_file(path: Path) -> None:
    (path / "full").mkdir(parents=True)


@pytest.mark.parametrize(
    ("name", "obstruct", "said"),
    [
        ("cache", in_the_way_of_a_folder, "error: {}/cache: can't be written: "),
        ("cache", in_the_way_of_all_artifacts, "error: {}/cache/"),
        ("results/tiny", in_the_way_of_a_folder, "error: results/tiny/records: can't be written: "),
        ("results/tiny/records", in_the_way_of_a_folder, "error: results/tiny/records: can't be written: "),
        ("results/tiny/logs", in_the_way_of_a_folder, "error: results/tiny/logs: can't be written: "),
        ("results/tiny/leaderboard.parquet", in_the_way_of_a_file, "error: results/tiny/"),
    ],
)
def test_a_folder_that_can_not_be_written_is_one_line(
    place: Place, name: str, obstruct: Callable[[Path], None], said: str
) -> None:
    obstruct(place.folder / name)
    line = refused(place)
    assert line.startswith(said.format(place.folder))
    assert "can't be written: " in line
    whole(place)


# --- two runs at once ------------------------------------------------------------------------------------------------


@pytest.mark.faults
def test_two_runs_at_once_leave_what_one_would_have_left(place: Place) -> None:
    write_suite(place.folder, seeds=2)
    ran = [finish(process) for process in [start(place.folder), start(place.folder)]]
    for each in ran:
        assert (each.code, each.counts["failed"]) == (0, 0), each.err
        assert each.counts["done"] + each.counts["cached"] == each.counts["planned"] == 12
        assert "Traceback" not in each.err
    whole(place)
    together = rows(place.results)
    board = leaderboard.read(place.results / "leaderboard.parquet")
    assert len(list((place.results / "logs").iterdir())) == 2
    place.run("--results", "alone", "--cache", "other")
    assert together == rows(place.folder / "alone")
    assert len(board) == len(leaderboard.read(place.folder / "alone" / "leaderboard.parquet"))


# --- clocks ----------------------------------------------------------------------------------------------------------


def test_a_clock_that_goes_backwards_changes_nothing_but_times(
    place: Place, expected: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count()

    class Backwards(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2030, 1, 1, tzinfo=UTC) - timedelta(days=next(ticks))

    for module in ("stages.jobs", "running.ledger", "records.cell_rows", "running.find_finished", "running.log"):
        monkeypatch.setattr(f"unlearnbench.{module}.datetime", Backwards)
    monkeypatch.setattr("time.time", lambda: 2e9 - 1e5 * next(ticks))
    assert place.run().counts["done"] == 3
    assert next(ticks) > 10
    assert rows(place.results) == expected
    again = place.run()
    assert (again.counts["cached"], again.err) == (3, "")
    assert len(list((place.results / "logs").iterdir())) == 1


def test_a_leaderboard_from_the_future_is_built_again(place: Place) -> None:
    place.run("--seeds", "1")
    for path in place.results.glob("leaderboard.*"):
        os.utime(path, (4e9, 4e9))  # a clock that was ahead, and was set back
    assert place.run("--seeds", "2").counts["done"] == 3
    board = leaderboard.read(place.results / "leaderboard.parquet")
    assert set(board["n_seeds"]) == {2}


# --- data ------------------------------------------------------------------------------------------------------------

DATASET = """
import unlearnbench.datasets.digits as digits

class Hands(digits.Digits):
    def files(self, root):
        return [root / "hands.txt"]
"""


def test_changed_data_is_computed_again_and_old_records_are_set_apart(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    (place.folder / "own" / "datasets").mkdir(parents=True)
    (place.folder / "own" / "datasets" / "hands.py").write_text(DATASET)
    (place.folder / "data").mkdir()
    (place.folder / "data" / "hands.txt").write_text("one")
    suite = place.folder / "suite.yaml"
    suite.write_text(suite.read_text().replace("digits", "hands"))
    assert place.run("--plugins", "own").counts["done"] == 3
    before = {path.name for path in (place.results / "records").glob("*.parquet")}
    (place.folder / "data" / "hands.txt").write_text("two")
    ran = place.run("--plugins", "own")
    assert (ran.code, ran.counts["done"]) == (0, 3)
    assert "kept apart 3 stale records in results/tiny/records/stale" in ran.err
    assert {path.name for path in (place.results / "records" / "stale").iterdir()} == before
    assert len({row["data_sha256"] for row in rows(place.results)}) == 1


def test_a_plugin_that_changes_while_its_run_waits_is_never_mixed(place: Place) -> None:
    write_method(place.folder / "own", "mine")
    suite = place.folder / "suite.yaml"
    suite.write_text(suite.read_text().replace("[vbu]", "[mine]"))
    assert place.run("--plugins", "own").counts["done"] == 3
    write_method(place.folder / "own", "mine", body="changed = 1\n")
    assert place.run("--plugins", "own").counts["done"] == 1
    write_method(place.folder / "own", "mine")
    ran = place.run("--plugins", "own")  # from the store, where nothing was overwritten
    assert (ran.code, ran.counts["done"]) == (0, 1)
    assert cli.main(["cache", "verify", "--cache", str(place.folder / "cache")]) == 0


# --- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["x", "-1", "nan", "inf"])
def test_seconds_between_checkpoints_that_are_none_are_one_line(
    place: Place, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNLEARNBENCH_CHECKPOINT_SECONDS", text)
    said = "is not a number of seconds; unset it, or say how many"
    assert refused(place) == f"error: UNLEARNBENCH_CHECKPOINT_SECONDS: '{text}' {said}"
    assert not place.results.exists()
