"""A run from the command line on: what it leaves, what it does about faults, and that nothing changes its numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_runs import Place, rows, status_of, write_method, write_suite

from unlearnbench.leaderboard import build as leaderboard

METHODS = ("original", "retrain", "vbu")


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, capsys, monkeypatch)


# --- what a run leaves ---------------------------------------------------------------------------------------------


def test_a_run_leaves_records_and_a_leaderboard_and_nothing_to_do_for_the_next(place: Place) -> None:
    write_suite(place.folder)
    ran = place.run()
    assert (ran.code, ran.counts) == (0, {"planned": 6, "done": 6, "cached": 0, "failed": 0, "skipped": 0})
    board = leaderboard.read(place.results / "leaderboard.parquet")
    assert set(board["method_id"]) == set(METHODS)
    assert (place.results / "leaderboard.md").read_text().count("vbu")
    written = (place.results / "leaderboard.parquet").stat().st_mtime_ns
    again = place.run("--seeds", "1")  # another selection: no receipt, the same cells
    assert (again.code, again.counts["cached"]) == (0, 6)
    assert (place.results / "leaderboard.parquet").stat().st_mtime_ns == written
    (place.results / "leaderboard.parquet").unlink()
    assert place.run().counts["cached"] == 6
    assert len(leaderboard.read(place.results / "leaderboard.parquet")) == len(board)


def test_more_seeds_other_orders_and_force_give_the_same_numbers(place: Place) -> None:
    write_suite(place.folder, methods="vbu, crfu", seeds=2)
    place.run()
    both = rows(place.results)
    place.run("--force", "-m", "vbu")
    assert rows(place.results) == both
    write_suite(place.folder, methods="crfu, retrain, vbu, original", seeds=1)
    place.run("--results", "alone", "--cache", "other")
    one = rows(place.folder / "alone")
    assert one == [row for row in both if row["seed"] == 0]
    assert any(row["seed"] == 1 for row in both)


def test_another_attack_trains_nothing_again_and_says_what_is_used_again(place: Place) -> None:
    write_suite(place.folder, methods="vbu", attacks="deletion_inference")
    assert "used again" not in place.run().err
    write_suite(place.folder, methods="vbu", attacks="deletion_inference, membership: {shadows: 10}")
    both = place.run()
    # Of each contender the original and the erased models, and the models that forgetting is judged beside.
    assert "5 of 11 stages are in the store, and are used again" in both.err, both.err
    first = rows(place.results)
    write_suite(place.folder, methods="vbu", attacks="deletion_inference, weights, membership: {shadows: 10}")
    more = place.run()
    assert "2 of " in more.err, more.err
    assert [row for row in rows(place.results) if row["attack"] != "weights"] == first


def test_engines_and_numbers_of_workers_give_the_same_numbers(place: Place) -> None:
    write_suite(
        place.folder,
        methods="vbu, hbu: {curvature_images: 8, solver_steps: 2}",
        attacks="membership: {shadows: 10}, representation: {epochs: 1}",
    )
    place.run("--results", "serial", "--cache", "c0")
    ran = place.run("--results", "one", "--cache", "c1", "--jobs", "1", engine="loky")
    assert (ran.code, ran.counts["done"]) == (0, 12)
    assert place.run("--results", "two", "--cache", "c2", "--jobs", "2", engine="loky").code == 0
    expected = rows(place.folder / "serial")
    assert rows(place.folder / "one") == expected
    assert rows(place.folder / "two") == expected


# --- plugins that break --------------------------------------------------------------------------------------------


def test_a_failing_plugin_fails_its_own_cells_with_a_clear_error(place: Place) -> None:
    faults = {
        "raises": ("raise RuntimeError('no luck')", "unlearn: RuntimeError: no luck"),
        "exits": ("raise SystemExit(0)", "unlearn: SystemExit: 0"),
        "few": ("return before", "returned 1 models for 2 erasures"),
        "nothing": ("return None", "returned NoneType for 2 erasures"),
        "nan": ("return before.expand(sets.replicas).apply(lambda x: x * float('nan'))", "not finite in 2 of 2 models"),
        "mutates": ("next(iter(before.params.values())).zero_(); return before.expand(2)", "changed the original"),
    }  # fmt: skip
    for name, (unlearn, _) in faults.items():
        write_method(place.folder / "own", name, unlearn=unlearn)
    write_method(place.folder / "own", "noisy", unlearn="print('loud', end=''); return before.expand(sets.replicas)")
    write_suite(place.folder, methods=", ".join([*faults, "noisy", "vbu"]))
    ran = place.run("--plugins", "own")
    assert ran.code == 1
    assert ran.counts == {"planned": 20, "done": 8, "cached": 0, "failed": 12, "skipped": 0}
    log = (place.results / "errors.log").read_text()
    for name, (_, error) in faults.items():
        states = status_of(place.results, name)
        assert [(status, value) for status, _, value in states] == [("failed", None)] * 2
        assert all(error in str(text) for _, text, _ in states)
        assert f"unlearn digits mlp {name} seed 0" in log
    assert log.count("Traceback (most recent call last)") == 2 * len(faults)  # targets and shadows
    for name in (*METHODS, "noisy"):
        assert {status for status, _, _ in status_of(place.results, name)} == {"ok"}
    board = leaderboard.read(place.results / "leaderboard.parquet")
    assert set(board.loc[board["status"] == "failed", "method_id"]) == set(faults)
    # Failures are no results, but they are not tried again either, unless asked for.
    again = place.run("--plugins", "own")
    assert (again.code, again.counts["cached"], again.counts["failed"]) == (1, 8, 12)
    assert "12 cells; --retry-failed tries them again" in again.err
    assert not (place.results / "receipts").exists()


def test_a_plugin_that_breaks_while_it_is_asked_fails_its_own_cells(place: Place) -> None:
    ask = "def skip(self, scenario):\n    {}\n"
    write_method(place.folder / "own", "bad_skip", body=ask.format("print('loud'); raise ZeroDivisionError('x')"))
    write_method(place.folder / "own", "odd_skip", body=ask.format("return True"))
    write_method(
        place.folder / "own", "bad_start", body="def __init__(self, params=None):\n    raise OSError('gone')\n"
    )
    write_method(place.folder / "own", "skipper", body=ask.format("return 'not today'"))
    write_suite(place.folder, methods="bad_skip, odd_skip, bad_start, skipper")
    ran = place.run("--plugins", "own")
    assert (ran.code, ran.counts) == (1, {"planned": 12, "done": 4, "cached": 0, "failed": 6, "skipped": 2})
    for name, error in [
        ("bad_skip", "plan: method bad_skip: skip: ZeroDivisionError: x"),
        ("odd_skip", "plan: method odd_skip: skip: TypeError: must be None or a reason, not True"),
        ("bad_start", "plan: method bad_start: constructor: OSError: gone"),
    ]:
        assert {(status, text) for status, text, _ in status_of(place.results, name)} == {("failed", error)}
        assert ran.err.count(f"failed: {error}") == 1
    assert "not today" in str(status_of(place.results, "skipper"))
    assert "Traceback" in (place.results / "errors.log").read_text()
    # Mended, the same cells are computed, and what was recorded about them is out of the way.
    for name in ("bad_skip", "odd_skip", "bad_start", "skipper"):
        write_method(place.folder / "own", name)
    ran = place.run("--plugins", "own")
    assert (ran.code, ran.counts["done"], ran.counts["cached"]) == (0, 8, 4)
    assert "kept apart 8 stale records in results/tiny/records/stale" in ran.err
    assert {row["status"] for row in rows(place.results)} == {"ok"}


def test_failed_cells_are_tried_again_when_asked(place: Place) -> None:
    write_method(
        place.folder / "own", "moody",
        unlearn="assert Path('mended').exists(), 'not yet'\nreturn before.expand(sets.replicas)",
    )  # fmt: skip
    write_suite(place.folder, methods="moody", attacks="")
    assert place.run("--plugins", "own").counts["failed"] == 1
    (place.folder / "mended").touch()
    assert place.run("--plugins", "own").counts["failed"] == 1
    ran = place.run("--plugins", "own", "--retry-failed")
    assert (ran.code, ran.counts["done"], ran.counts["failed"]) == (0, 1, 0)
    assert not list((place.results / "records").glob("*.failed.parquet"))
    (place.folder / "mended").unlink()
    # What --force was to replace and could not stays a result: it has the same key, and so is of the same.
    before = rows(place.results)
    ran = place.run("--plugins", "own", "--force")
    assert (ran.code, ran.counts["failed"]) == (1, 1)
    assert "there is a result of unlearn digits mlp moody seed 0, which stays" in ran.err
    assert rows(place.results) == before
    assert not list((place.results / "records").glob("*.failed.parquet"))


def test_fail_fast_starts_nothing_more(place: Place) -> None:
    write_method(place.folder / "own", "raises", unlearn="raise RuntimeError('no luck')")
    write_suite(place.folder, methods="raises, original, vbu")
    ran = place.run("--plugins", "own", "--fail-fast")
    assert (ran.code, ran.counts["failed"]) == (1, 2)
    assert ran.counts["done"] < 4


# --- files that are stale or damaged -------------------------------------------------------------------------------


def test_records_of_other_code_are_kept_apart_and_those_of_other_cells_stay(place: Place) -> None:
    write_method(place.folder / "own", "mine")
    write_suite(place.folder, methods="mine, vbu", attacks="", seeds=2)
    assert place.run("--plugins", "own").counts["done"] == 8
    records = place.results / "records"
    everything = set(records.glob("*.parquet"))
    write_method(place.folder / "own", "mine", body="changed = True\n")
    ran = place.run("--plugins", "own", "--seeds", "1", "-m", "mine")
    assert (ran.code, ran.counts["planned"], ran.counts["done"]) == (0, 3, 1)
    assert ran.err.count("kept apart 1 stale records in results/tiny/records/stale") == 1
    (stale,) = (records / "stale").iterdir()
    assert records / stale.name in everything
    assert len(set(records.glob("*.parquet")) & everything) == 7
    board = leaderboard.read(place.results / "leaderboard.parquet").set_index("method_id")
    assert list(board.loc[["mine", "vbu"], "n_seeds"]) == [2, 2]


def test_damaged_records_are_computed_again_or_set_apart(place: Place) -> None:
    write_suite(place.folder, attacks="", seeds=2)
    place.run()
    expected = rows(place.results)
    one, two, three, *_ = sorted((place.results / "records").glob("*.parquet"))
    one.write_bytes(one.read_bytes()[:-100])
    content = bytearray(two.read_bytes())
    content[len(content) // 2] ^= 1
    two.write_bytes(content)
    three.write_bytes(b"")
    ran = place.run()
    assert (ran.code, ran.counts["done"], ran.counts["cached"]) == (0, 3, 3)
    assert ran.err.count("a damaged record file; its cell is computed again") == 3
    assert rows(place.results) == expected
    (place.results / "records" / "foreign.parquet").write_bytes(b"PAR1")
    ran = place.run()
    assert (ran.code, ran.counts["cached"]) == (0, 6)
    assert "moved a damaged record file to results/tiny/records/damaged/foreign.parquet" in ran.err
    assert place.run().err == ""


def test_damaged_artifacts_are_found_and_computed_again(place: Place) -> None:
    write_suite(place.folder)
    place.run()
    expected = rows(place.results)
    for path in (place.results / "records").iterdir():
        path.unlink()
    # Tensors lie at a file's end, values at its beginning.
    for number, path in enumerate(sorted((place.folder / "cache").rglob("*.safetensors"))):
        content = bytearray(path.read_bytes())
        content[-1 if number % 2 else content.index(b"seconds") + 1] ^= 1
        path.write_bytes(content)
    ran = place.run()
    assert (ran.code, ran.counts["done"]) == (0, 6)
    assert "computing a damaged or missing artifact again" in ran.err
    assert "checksum does not match" in ran.err
    assert rows(place.results) == expected


def test_nothing_is_written_where_input_is_bad(place: Place) -> None:
    write_suite(place.folder)
    for arguments in (["--device", "cuda:0"], ["--device", "gpu"], ["-m", "vbuu"], ["--plugins", "nowhere"]):
        ran = place.run(*arguments)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert [path.name for path in place.folder.iterdir()] == ["suite.yaml"]
    (place.folder / "results").write_text("in the way")
    ran = place.run()
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: results/tiny/records: can't be written: ")


def test_a_run_leaves_a_log_and_says_whose_code_it_runs(place: Place) -> None:
    write_method(place.folder / "own", "raises", unlearn="raise RuntimeError('no \\x1b[31mluck')")
    write_suite(place.folder, methods="raises", attacks="")
    quiet = place.run("--plugins", "own", "-m", "original").err.splitlines()
    assert quiet[0] == "plugins taken from own, whose code runs here: method raises"
    assert not any(line.startswith("start") for line in quiet)
    assert place.run("--plugins", "own", "-m", "original").counts["cached"] == 2
    ran = place.run("--plugins", "own", "--verbose")
    first, second = sorted((place.results / "logs").iterdir())  # nothing to do, no log
    assert "end: tasks 4/4, cells 2/2" in first.read_text()
    text = second.read_text()
    for told in ("command: ", "start unlearn digits mlp raises seed 0 (worker 1)", "Traceback (most recent call last)"):
        assert told in text
    assert re.search(r"end unlearn digits mlp raises seed 0 \(worker 1, \d+\.\d\d s\)", text)
    assert "failed: unlearn digits mlp raises seed 0: unlearn: RuntimeError: no \\x1b[31mluck" in text
    assert "end: tasks 1/1 (1 failed), cells 0/1 (1 failed, 2 cached)" in text
    for told in ("start unlearn digits mlp raises seed 0 (worker 1)", "Traceback (most recent call last):"):
        assert told in ran.err.splitlines()
    assert "\x1b" not in text + ran.err
