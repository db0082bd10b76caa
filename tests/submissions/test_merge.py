"""merge: one record a cell, whoever computed it and in whatever order the folders are named."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_records import START, later, row
from submitted_folders import Cell, cell, everything, failure, file_of, hand_in, key, taken, values

from unlearnbench.cli import main as cli
from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.records import writing as records
from unlearnbench.records.schema import SCHEMA
from unlearnbench.report.files import write_leaderboard
from unlearnbench.submissions import merge as merging
from unlearnbench.submissions.reading import Submitted

OTHER = {"device": "cpu: other"}


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def counts(self) -> dict[str, int]:
        last = self.out.splitlines()[-1]
        assert last.startswith("merge: "), self.out
        return {name: int(count) for name, count in (part.split("=") for part in last.split()[1:])}


@pytest.fixture
def merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """`unlearnbench merge`; out is a folder of that name."""

    def run(*arguments: str | Path, out: str = "out") -> Ran:
        capsys.readouterr()
        code = cli.main(["merge", *map(str, arguments), "--out", str(tmp_path / out)])
        return Ran(code, *capsys.readouterr())

    return run


def test_two_halves_make_the_leaderboard_of_the_whole(tmp_path: Path, merge: Any) -> None:
    cells = [cell(m, s, 0.5 + s / 10, started_at=later(s)) for m in ("original", "retrain", "vbu") for s in range(3)]
    cells += [[row("vbu", s, "mse", 0.03, attack="ridge", cell_key=key(f"mse{s}"))] for s in range(3)]
    whole = hand_in(tmp_path / "whole", cells)
    write_leaderboard(whole / "records", whole)
    hand_in(tmp_path / "a", cells[::2])
    hand_in(tmp_path / "b", cells[1::2])
    ran = merge(tmp_path / "a", tmp_path / "b")
    assert (ran.code, ran.err) == (0, "")
    expected = {"read": 12, "kept": 12, "duplicates": 0, "within_tolerance": 0, "conflicts": 0, "failed": 0}
    assert ran.counts == expected | {"superseded": 0, "apart": 0}
    assert everything(tmp_path / "out") == everything(whole)


def test_a_folder_merged_with_itself_is_itself(tmp_path: Path, merge: Any) -> None:
    folder = hand_in(tmp_path / "a", [cell("vbu", 0), cell("vbu", 1), failure("hbu", 0)])
    write_leaderboard(folder / "records", folder)
    ran = merge(folder, folder)
    assert (ran.code, ran.counts["duplicates"], ran.counts["failed"]) == (0, 3, 1)
    assert everything(tmp_path / "out") == everything(folder)


def test_which_of_equal_records_is_kept_depends_on_no_date_and_no_order(tmp_path: Path, merge: Any) -> None:
    kept = []
    for hours in (1, 3):
        a = hand_in(tmp_path / f"a{hours}", [cell("vbu", 0, git_sha="a" * 40, started_at=later(2))])
        b = hand_in(tmp_path / f"b{hours}", [cell("vbu", 0, git_sha="b" * 40, started_at=later(hours))])
        for number, order in enumerate(((a, b), (b, a))):
            ran = merge(*order, out=f"out{hours}{number}")
            assert (ran.code, ran.counts["duplicates"], ran.counts["within_tolerance"]) == (0, 1, 0)
            (path,) = (tmp_path / f"out{hours}{number}" / "records").glob("*.parquet")
            kept += set(records.read(path).column("git_sha").to_pylist())
        assert everything(tmp_path / f"out{hours}0") == everything(tmp_path / f"out{hours}1")
    assert len(kept) == 4
    assert len(set(kept)) == 1


def test_of_records_that_differ_in_their_dates_alone_the_oldest_is_kept() -> None:
    folders = [[taken(cell("vbu", 0, started_at=later(hours)), str(hours))] for hours in (2, 1, 3)]
    for order in itertools.permutations(folders):
        assert [kept.folder.name for kept in merging.merge(order).kept[2]] == ["1"]


def test_the_suite_seed_of_a_record_stays_with_it(tmp_path: Path, merge: Any) -> None:
    made = cell("vbu", 0)
    records.write(made, file_of(tmp_path / "a", made), {"suite_seed": 7})
    assert merge(tmp_path / "a").code == 0
    assert everything(tmp_path / "out" / "records") == everything(tmp_path / "a" / "records")


# --- conflicts -------------------------------------------------------------------------------------------------------


def test_a_conflict_writes_nothing_and_names_both_origins(tmp_path: Path, merge: Any) -> None:
    a = hand_in(tmp_path / "a", [cell("vbu", 0, 0.5, git_sha="a" * 40), cell("hbu", 0)])
    b = hand_in(tmp_path / "b", [cell("vbu", 0, 0.5 + 2**-53, git_sha="b" * 40, git_dirty=True), cell("crfu", 0)])
    ran = merge(a, b)
    assert (ran.code, ran.counts["conflicts"], ran.counts["kept"]) == (1, 1, 2)
    assert ran.err == "nothing is written: records contradict each other; --keep first or --keep none decides\n"
    what, one, other = ran.out.splitlines()[:3]
    assert what.startswith(
        f"conflict: leak / mnist / vbu / seed 0 ({key('vbu 0 None ')[:12]}): accuracy is 0.5 or 0.50000"
    )
    assert (
        f"{a} (git aaaaaaaaaaaa, cpu, unlearnbench ?, torch 2.11, {START.isoformat()})".replace(
            "unlearnbench ?,", "unlearnbench ?"
        )
        in one
    )
    assert f"{b} (git bbbbbbbbbbbb with changes" in other
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize(("keep", "expected"), [("first", [0.25, 0.5]), ("none", [0.5])])
def test_keep_decides_conflicts(tmp_path: Path, merge: Any, keep: str, expected: list[float]) -> None:
    a = hand_in(tmp_path / "a", [cell("vbu", 0, 0.25, started_at=later(5))])
    b = hand_in(tmp_path / "b", [cell("vbu", 0, 0.75), cell("hbu", 0)])
    ran = merge(a, b, "--keep", keep)
    assert (ran.code, ran.counts["conflicts"], ran.counts["kept"]) == (0, 1, len(expected))
    found = [each["value"] for each in values(tmp_path / "out") if each["metric"] == "accuracy"]
    assert sorted(found) == expected


def test_other_machines_may_differ_within_tolerance(tmp_path: Path, merge: Any) -> None:
    a = hand_in(tmp_path / "a", [cell("vbu", 0, 0.5, n_samples=10_000)])
    b = hand_in(tmp_path / "b", [cell("vbu", 0, 0.504, n_samples=10_000, started_at=later(1), **OTHER)])
    ran = merge(a, b)
    assert (ran.code, ran.counts["duplicates"], ran.counts["within_tolerance"]) == (0, 1, 1)
    assert merge(b, a, out="other").code == 0
    assert values(tmp_path / "out") == values(tmp_path / "other")
    hand_in(tmp_path / "b", [cell("vbu", 0, 0.506, n_samples=10_000, **OTHER)])
    assert merge(a, b, out="again").code == 1


@pytest.mark.parametrize(
    "change",
    [
        {"n_samples": 99}, {"method_params": '{"a":1}'}, {"sizes": '{"target":2}'}, {"data_sha256": "2" * 64},
        {"scenario_id": "double"}, {"low": 0.1, "high": 0.9}, {"protocol_version": 1}, {"reference": True},
    ],
)  # fmt: skip
def test_records_of_one_key_that_say_another_thing_are_a_conflict(tmp_path: Path, merge: Any, change: Any) -> None:
    ran = merge(hand_in(tmp_path / "a", [cell("vbu", 0)]), hand_in(tmp_path / "b", [cell("vbu", 0, **change)]))
    assert (ran.code, ran.counts["conflicts"]) == (1, 1)


def test_a_metric_that_only_one_has_is_a_conflict(tmp_path: Path, merge: Any) -> None:
    ran = merge(hand_in(tmp_path / "a", [cell("vbu", 0)]), hand_in(tmp_path / "b", [cell("vbu", 0)[:1]]))
    assert (ran.code, "gradient_steps (a metric of one only) is 20 or missing" in ran.out) == (1, True)


@pytest.mark.parametrize(
    "change",
    [
        {"train_seconds": 9.0}, {"attack_seconds": 1.0}, {"peak_bytes": 7}, {"git_sha": "e" * 40},
        {"plugin_sha256": "5" * 64}, {"started_at": START + timedelta(days=1)}, {"device": "cpu: other"},
        {"versions": '{"torch":"2.12"}'}, {"scenario_id": "single,replicas=32"},
    ],
)  # fmt: skip
def test_times_and_provenance_are_no_conflict(tmp_path: Path, merge: Any, change: Any) -> None:
    ran = merge(hand_in(tmp_path / "a", [cell("vbu", 0)]), hand_in(tmp_path / "b", [cell("vbu", 0, **change)]))
    assert (ran.code, ran.counts["duplicates"], ran.counts["conflicts"]) == (0, 1, 0)


# --- failures, versions, protocols -----------------------------------------------------------------------------------


def test_a_cell_that_both_skipped_is_one(tmp_path: Path, merge: Any) -> None:
    skipped = row("hbu", 0, "status", None, status="skipped", error="not here", n_samples=None, direction="")
    for name in ("a", "b"):
        hand_in(tmp_path / name, [cell("vbu", 0, 0.5), [{**skipped, "cell_key": key("skipped")}]])
    ran = merge(tmp_path / "a", tmp_path / "b")
    assert (ran.code, ran.err) == (0, "")
    assert "kept=2 duplicates=2" in ran.out


def test_a_result_counts_and_a_failure_does_not(tmp_path: Path, merge: Any) -> None:
    a = hand_in(tmp_path / "a", [failure("vbu", 0), failure("hbu", 0), failure("crfu", 0)])
    b = hand_in(tmp_path / "b", [cell("vbu", 0), failure("hbu", 0, "another error", started_at=later(1))])
    errors = set()
    for number, order in enumerate(itertools.permutations((a, b))):
        ran = merge(*order, out=f"out{number}")
        assert (ran.code, ran.counts["superseded"], ran.counts["failed"], ran.counts["kept"]) == (0, 1, 2, 3)
        assert f"superseded by a result: leak / mnist / vbu / seed 0: failed in {a}" in ran.out
        found = {each["method"]: (each["status"], each["error"]) for each in values(tmp_path / f"out{number}")}
        assert (found["vbu"], found["crfu"]) == (("ok", None), ("failed", "OutOfMemoryError"))
        errors.add(found["hbu"])
    assert len(errors) == 1


def test_of_a_cell_of_other_code_a_result_counts_and_of_those_that_agree_one(tmp_path: Path, merge: Any) -> None:
    old = hand_in(tmp_path / "a", [cell("vbu", 0, 0.25, "old"), cell("vbu", 1, 0.25, "old")])
    new = hand_in(tmp_path / "b", [cell("vbu", 0, 0.25, "new", started_at=later(1)), failure("vbu", 1, code="new")])
    for number, order in enumerate(itertools.permutations((old, new))):
        ran = merge(*order, out=f"out{number}")
        assert (ran.code, ran.counts["apart"], ran.counts["kept"], ran.counts["conflicts"]) == (0, 2, 2, 0)
        assert ran.out.count("kept apart: leak / mnist / vbu") == 2
        stale = {path.name for path in (tmp_path / f"out{number}" / "records" / "stale").iterdir()}
        assert len(stale) == 2
        assert file_of(new, failure("vbu", 1, code="new")).name in stale
    assert everything(tmp_path / "out0") == everything(tmp_path / "out1")
    assert leaderboard.read(tmp_path / "out0" / "leaderboard.parquet")["n_seeds"].tolist() == [2]


def test_records_of_a_cell_of_other_code_that_disagree_are_a_conflict(tmp_path: Path, merge: Any) -> None:
    old = hand_in(tmp_path / "a", [cell("vbu", 0, 0.25, "old"), cell("vbu", 1, 0.5, "old")])
    new = hand_in(tmp_path / "b", [cell("vbu", 0, 0.75, "new", started_at=later(9)), failure("vbu", 0, code="third")])
    ran = merge(old, new)
    assert (ran.code, ran.counts["conflicts"], ran.counts["kept"]) == (1, 1, 1)
    assert ran.err == "nothing is written: records contradict each other; --keep first or --keep none decides\n"
    keys = sorted(key(f"vbu 0 None {code}")[:12] for code in ("old", "new"))
    shown = f"({', '.join(keys)}, computed from other code, data or versions): accuracy is 0."
    assert f"conflict: leak / mnist / vbu / seed 0 {shown}" in ran.out
    assert not (tmp_path / "out").exists()
    for number, (order, expected) in enumerate((((old, new), 0.25), ((new, old), 0.75))):
        assert merge(*order, "--keep", "first", out=f"first{number}").code == 0
        found = {each["seed"]: each["value"] for each in values(tmp_path / f"first{number}") if each["value"] < 1}
        assert found == {0: expected, 1: 0.5}
        stale = [path.name for path in (tmp_path / f"first{number}" / "records" / "stale").iterdir()]
        assert len(stale) == 2
    assert merge(old, new, "--keep", "none", out="none").code == 0
    assert {each["seed"] for each in values(tmp_path / "none")} == {1}


def test_forged_dates_change_no_gap(tmp_path: Path, merge: Any) -> None:
    """Records of retraining under other keys, with other values and later dates, once replaced the true ones."""
    attacked = {"attack": "ridge", "experiment": "leak"}
    true = [
        [row(method, seed, "mse", value, cell_key=key(f"{method} {seed}"), **attacked)]
        for method, value in (("vbu", 0.03), ("retrain", 0.05))
        for seed in range(3)
    ]
    forged = [
        [row("retrain", seed, "mse", 0.4, cell_key=key(f"forged {seed}"), started_at=later(9_000), **attacked)]
        for seed in range(2)
    ]
    mine, theirs = hand_in(tmp_path / "mine", true), hand_in(tmp_path / "theirs", forged)
    assert merge(mine, theirs).code == 1
    assert merge(mine, theirs, "--keep", "first", out="kept").code == 0
    board = leaderboard.read(tmp_path / "kept" / "leaderboard.parquet").set_index("method_id")
    assert board.loc["vbu", "mse_gap_retrain"] == pytest.approx(-0.02)
    # And where somebody lays the files side by side, no date makes one of them count.
    hand_in(mine, forged)
    board = leaderboard.build(mine / "records", mine).set_index("method_id")
    assert board.loc["vbu", "mse_gap_retrain"] == pytest.approx(-0.02)
    assert (board.loc["retrain", "mse"], board.loc["retrain", "mse_n"]) == (pytest.approx(0.05), 1)
    assert "seeds whose records contradict each other, and do not count: 2" in board.loc["retrain", "note"]


def test_a_record_that_calls_itself_a_timing_and_measures_more_is_of_the_same_cell(tmp_path: Path, merge: Any) -> None:
    forged = [*cell("vbu", 0, 0.9, "forged"), row("vbu", 0, "unlearn_seconds", 1.0, cell_key=key("vbu 0 None forged"))]
    ran = merge(hand_in(tmp_path / "a", [cell("vbu", 0)]), hand_in(tmp_path / "b", [forged]))
    assert (ran.code, ran.counts["conflicts"]) == (1, 1)


def test_how_many_models_were_computed_at_a_time_is_no_conflict(tmp_path: Path, merge: Any) -> None:
    changes = ({}, {"scenario": '{"kind":"leak","replicas":32}', "scenario_id": "single,replicas=32"})
    a, b = (hand_in(tmp_path / str(n), [cell("vbu", 0, 0.5, str(n), **change)]) for n, change in enumerate(changes))
    ran = merge(a, b)
    assert (ran.code, ran.counts["conflicts"], ran.counts["kept"], ran.counts["apart"]) == (0, 0, 1, 1)


def test_another_suites_seed_under_one_key_is_a_conflict(tmp_path: Path, merge: Any) -> None:
    made = cell("vbu", 0)
    for seed in (7, 8):
        records.write(made, file_of(tmp_path / str(seed), made), {"suite_seed": seed})
    ran = merge(tmp_path / "7", tmp_path / "8")
    assert (ran.code, "suite_seed is 7 or 8" in ran.out) == (1, True)
    records.write(made, file_of(tmp_path / "8", made))
    assert merge(tmp_path / "8", tmp_path / "7").code == 0  # one that says nothing contradicts nothing
    assert everything(tmp_path / "out" / "records") == everything(tmp_path / "7" / "records")


def test_other_protocols_have_a_folder_and_a_leaderboard_of_their_own(tmp_path: Path, merge: Any) -> None:
    a = hand_in(tmp_path / "a", [cell("vbu", 0, 0.25)])
    b = hand_in(tmp_path / "b", [cell("vbu", 0, 0.75, "1", protocol_version=1)])
    ran = merge(a, b)
    assert (ran.code, ran.counts["kept"], ran.counts["apart"], ran.counts["conflicts"]) == (0, 2, 1, 0)
    assert [each["protocol_version"] for each in values(tmp_path / "out")] == [2, 2]
    assert [each["protocol_version"] for each in values(tmp_path / "out" / "protocol_1")] == [1, 1]
    for folder, accuracy in ((tmp_path / "out", 0.25), (tmp_path / "out" / "protocol_1", 0.75)):
        assert leaderboard.read(folder / "leaderboard.parquet")["accuracy"].tolist() == [accuracy]


def test_a_timing_cell_is_another_than_the_one_it_times(tmp_path: Path, merge: Any) -> None:
    timed = [row("vbu", 0, "unlearn_seconds", 2.0, cell_key=key("timing"), unlearn_seconds=2.0)]
    ran = merge(hand_in(tmp_path / "a", [cell("vbu", 0)]), hand_in(tmp_path / "b", [timed]))
    assert (ran.code, ran.counts["kept"], ran.counts["apart"]) == (0, 2, 0)


# --- the folder that is made -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("full", "is not empty; name a folder that is not there yet, or an empty one"),
        ("a", "is not empty; name a folder that is not there yet, or an empty one"),
        ("a/records/new", "which is only read; name another folder"),
        ("file", "not a folder"),
        ("file/below", "can't be"),
    ],
)
def test_targets_that_hold_something_are_refused(tmp_path: Path, merge: Any, out: str, message: str) -> None:
    hand_in(tmp_path / "a", [cell("vbu", 0)])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("1")
    (tmp_path / "file").write_text("2")
    before = everything(tmp_path)
    ran = merge(tmp_path / "a", out=out)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("error: ")
    assert message in ran.err
    assert everything(tmp_path) == before


def test_folders_without_any_record_make_no_folder(tmp_path: Path, merge: Any) -> None:
    ran = merge(hand_in(tmp_path / "a", []), hand_in(tmp_path / "b", []))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: {tmp_path / 'a'}: holds no records, and neither does any other given folder\n"
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_a_target(tmp_path: Path, merge: Any) -> None:
    (tmp_path / "out").mkdir()
    assert merge(hand_in(tmp_path / "a", [cell("vbu", 0)])).code == 0
    assert len(values(tmp_path / "out")) == 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_breaks_while_writing_leaves_nothing(
    tmp_path: Path, merge: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    hand_in(tmp_path / "a", [cell("vbu", 0), cell("hbu", 0)])
    before = everything(tmp_path)

    def broken(*_: Any) -> None:
        raise error

    monkeypatch.setattr("unlearnbench.leaderboard.build.build", broken)
    ran = merge(tmp_path / "a")
    assert ran.code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert everything(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_json_has_all_of_it(tmp_path: Path, merge: Any) -> None:
    a = hand_in(
        tmp_path / "a", [cell("vbu", 0, 0.25), cell("hbu", 0), failure("crfu", 0), cell("renew", 0, code="old")]
    )
    b = hand_in(tmp_path / "b", [cell("vbu", 0, 0.75), cell("hbu", 0), cell("crfu", 0), cell("renew", 0, code="new",
                                 started_at=later(1))])  # fmt: skip
    ran = merge(a, b, "--format", "json")
    found = json.loads(ran.out)
    assert (ran.code, found["out"], found["read"], found["conflicts"], found["protocols"]) == (1, None, 8, 1, {"2": 3})
    (conflict,) = found["conflicting_cells"]
    assert [origin["folder"] for origin in conflict["origins"]] == [str(a), str(b)]
    assert set(conflict["origins"][0]) == {
        *("folder", "git_sha", "git_dirty", "device", "plugin_sha256", "versions", "started_at")
    }
    assert conflict["differences"] == [{"what": "accuracy", "values": [0.25, 0.75]}]
    assert [each["exact"] for each in found["duplicate_cells"]] == [True]
    assert [each["error"] for each in found["superseded_failures"]] == ["OutOfMemoryError"]
    both = {key("renew 0 None old"), key("renew 0 None new")}
    assert {found["apart_cells"][0]["counts"], found["apart_cells"][0]["key"]} == both
    assert conflict["keys"] == [conflict["key"]]


def test_text_from_records_is_shown_as_text(tmp_path: Path, merge: Any) -> None:
    name = "vbu[note=[bold red]x[/bold red]]"
    a = hand_in(tmp_path / "a", [cell("vbu", 0, 0.25, method_id=name)])
    b = hand_in(tmp_path / "b", [cell("vbu", 0, 0.75, method_id=name)])
    assert f"leak / mnist / {name} / seed 0" in merge(a, b).out


# --- properties ------------------------------------------------------------------------------------------------------

CELLS = st.lists(
    st.builds(
        lambda method, seed, wrong, hours, code, failed: (
            failure(method, seed, code=code, started_at=later(hours))
            if failed
            else cell(method, seed, 0.25 + seed / 8 + wrong / 2, code, started_at=later(hours))
        ),
        st.sampled_from(["vbu", "hbu"]), st.integers(0, 1), st.sampled_from([0, 0, 0, 1]), st.integers(0, 3),
        st.sampled_from(["", "other"]), st.booleans(),
    ),
    max_size=5,
    unique_by=lambda made: made[0]["cell_key"],
)  # fmt: skip
FOLDERS = st.lists(CELLS, min_size=3, max_size=3)


def settled(way: Any, folders: list[list[Submitted]]) -> list[Submitted] | None:
    """What a way to merge comes to: 0 is a folder, (0, 1) merges two; None for a conflict."""
    if isinstance(way, int):
        return folders[way]
    parts = [settled(each, folders) for each in way]
    if any(part is None for part in parts):
        return None
    merged = merging.merge([part for part in parts if part is not None])
    return None if merged.conflicts else [cell for some in merged.kept.values() for cell in some]


def seen(cells: list[Submitted] | None) -> Any:
    return None if cells is None else [(cell.rows, cell.about) for cell in cells]


@settings(max_examples=60, deadline=None)
@given(made=FOLDERS)
def test_the_order_of_folders_does_not_matter(made: list[list[Cell]]) -> None:
    folders = [[taken(each, str(number)) for each in cells] for number, cells in enumerate(made)]
    first, *rest = [seen(settled(order, folders)) for order in itertools.permutations(range(3))]
    assert all(each == first for each in rest)


@settings(max_examples=60, deadline=None)
@given(made=FOLDERS)
def test_merging_again_or_in_steps_comes_to_the_same_records(made: list[list[Cell]]) -> None:
    folders = [[taken(each, str(number)) for each in cells] for number, cells in enumerate(made)]
    at_once = seen(settled((0, 1, 2), folders))
    if at_once is None:
        return  # a step may have set one side of the conflict apart before it met the other
    for way in (((0, 1, 2), (0, 1, 2)), ((0, 1), 2), (0, (1, 2)), (0, 0, 1, 1, 2)):
        assert seen(settled(way, folders)) == at_once


@settings(max_examples=60, deadline=None)
@given(made=FOLDERS)
def test_every_file_is_accounted_for(made: list[list[Cell]]) -> None:
    folders = [[taken(each, str(number)) for each in cells] for number, cells in enumerate(made)]
    merged = merging.merge(folders, "none")
    gone = sum(len(each.cells) for each in merged.conflicts)
    counts = merged.counts
    assert counts["read"] == counts["kept"] + counts["duplicates"] + counts["superseded"] + len(merged.apart) + gone


def test_every_column_is_compared_or_known_to_be_provenance() -> None:
    from unlearnbench.submissions.agreement import DECLARED_COLUMNS, IDENTITY_COLUMNS
    from unlearnbench.submissions.plausibility import MEASURED

    provenance = {
        *("status", "error", "train_seconds", "unlearn_seconds", "attack_seconds", "peak_bytes", "device", "git_sha"),
        *("git_dirty", "plugin_sha256", "versions", "started_at", "schema_version", "cell_key"),
    }
    assert {*IDENTITY_COLUMNS, *DECLARED_COLUMNS, "scenario_id", *MEASURED} | provenance == set(SCHEMA.names)
    assert not {*IDENTITY_COLUMNS, *DECLARED_COLUMNS, *MEASURED} & provenance
