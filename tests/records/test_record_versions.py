"""Records of older schemas stay readable wherever records are read; those of newer ones are refused by name."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from checkout import ROOT
from sample_records import row
from submitted_folders import cell, everything, file_of, hand_in, key

from unlearnbench.cli import main as cli
from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.records import bounds as record_bounds
from unlearnbench.records import parquet_pages as page_sizes
from unlearnbench.records import reading
from unlearnbench.records import writing as records
from unlearnbench.records.folder import first_rows, is_intact, set_apart
from unlearnbench.records.schema import (
    MOST_SCORES,
    SCHEMA,
    SCHEMA_VERSION,
    SCHEMAS,
    NewerRecordError,
    RecordError,
)
from unlearnbench.submissions import reading as submitted
from unlearnbench.submissions.agreement import differences
from unlearnbench.suite.plan import Plan
from unlearnbench.system.parquet_files import parse, read_sealed, write_parquet

PUBLISHED = ("paper", "zoo", "attacks", "tune_mnist")
LATER = [name for name in SCHEMA.names if name not in SCHEMAS[1].names]
SCORED = [
    row("vbu", 0, "auc", 0.75, attack="membership", cell_key=key("scored"), n_samples=4, ranked_by="auc",
        reference=False, own_original=True, scores_erased=[0.5, 0.25], scores_unseen=[0.25, 0.125]),
    row("vbu", 0, "balanced_accuracy", 0.75, attack="membership", cell_key=key("scored"), n_samples=4,
        ranked_by="auc", reference=False, own_original=True),
]  # fmt: skip


def newer(path: Path, made: list[dict[str, Any]]) -> Path:
    """A record as a later version might write it."""
    table = pa.Table.from_pylist([{**each, "schema_version": SCHEMA_VERSION + 1} for each in made], schema=SCHEMA)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(table.append_column("more", pa.array([1.5] * len(made))), path)
    return path


def old(method: str, seed: int, accuracy: float = 0.5, **other: Any) -> list[dict[str, Any]]:
    return cell(method, seed, accuracy, schema_version=1, **other)


# --- what was published ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", PUBLISHED)
def test_published_records_are_read_by_everybody(suite: str) -> None:
    folder = ROOT / "results" / suite / "records"
    table, bad = records.read_folder(folder, ["method", "reference", "ranked_by", "scores_erased", "cell_key"])
    assert bad == []
    assert len(table.column("cell_key").unique()) == len(list(folder.glob("*.parquet")))
    for path in sorted(folder.glob("*.parquet"))[::60]:
        content = read_sealed(path)
        version = reading.schema_version(content)
        assert version in SCHEMAS
        assert reading._stored_schema(version) in content  # else thousands take ten times as long to look up
        assert is_intact(path)
        assert records.read(path).to_pylist() == submitted.read_cell(path, folder.parent).rows


def test_published_records_are_not_moved(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    shutil.copytree(ROOT / "results" / "zoo" / "records", folder)
    before = everything(folder)
    moved = set_apart(folder, Plan("other", [], []))
    assert moved == (0, [])
    assert everything(folder) == before
    names = sorted(before)
    assert len(list(first_rows(folder, names, "scenario"))) == len(names)


# --- several versions ------------------------------------------------------------------------------------------------


def test_the_first_version_is_as_it_was() -> None:
    names = ",".join(f"{field.name}:{field.type}:{field.nullable}" for field in SCHEMAS[1])
    assert hashlib.sha256(names.encode()).hexdigest() == FIRST
    for version in range(2, SCHEMA_VERSION + 1):  # older columns stay, later ones may be null
        there = len(SCHEMAS[version - 1])
        assert pa.schema(list(SCHEMAS[version])[:there]).equals(SCHEMAS[version - 1])
        assert all(field.nullable for field in list(SCHEMAS[version])[there:])


FIRST = "1d49e2b903a98664b983f7b3fcfa2631554b3cb2702d7832b96d72cc5b1e59c0"


@pytest.mark.parametrize("rows", [2, reading._SHORT + 1])
@pytest.mark.parametrize("wanted", [SCHEMA.names, ["method", "value"], ["ranked_by", "scores_unseen", "metric"]])
def test_a_folder_of_two_versions_is_one_table(tmp_path: Path, rows: int, wanted: list[str]) -> None:
    long = [row("vbu", 0, "accuracy", 0.5, cell_key="long", step=step, schema_version=1) for step in range(rows)]
    for number, made in enumerate((old("vbu", 0), SCORED, long, cell("hbu", 0))):
        records.write(made, tmp_path / f"{number}.parquet")
    table, bad = records.read_folder(tmp_path, wanted)
    assert bad == []
    one_by_one = pa.concat_tables([records.read(tmp_path / f"{number}.parquet") for number in range(4)])
    assert table.column("schema_version").to_pylist() == [1, 1, 2, 2, *[1] * rows, 2, 2]
    assert table.cast(one_by_one.select(table.column_names).schema).equals(one_by_one.select(table.column_names))
    everything_there = one_by_one.to_pylist()
    assert all(each[name] is None for each in everything_there if each["schema_version"] == 1 for name in LATER)
    assert everything_there[2]["scores_erased"] == [0.5, 0.25]


def test_an_old_record_is_written_as_it_was(tmp_path: Path) -> None:
    for path in sorted((ROOT / "results" / "attacks" / "records").glob("*.parquet"))[::80]:
        found = submitted.read_cell(path, path.parent.parent)
        records.write(found.rows, tmp_path / path.name, found.about)
        assert reading.schema_version(read_sealed(tmp_path / path.name)) == found.common["schema_version"]
        assert records.read(tmp_path / path.name).equals(records.read(path))


def test_two_versions_are_merged_and_make_one_leaderboard(tmp_path: Path) -> None:
    a = hand_in(tmp_path / "a", [old("vbu", seed) for seed in range(2)])
    b = hand_in(tmp_path / "b", [cell("vbu", 2, reference=False), SCORED])
    assert cli.main(["merge", str(a), str(b), "--out", str(tmp_path / "out")]) == 0
    merged = submitted.read_folder(tmp_path / "out")
    assert sorted(each.common["schema_version"] for each in merged.cells) == [1, 1, 2, 2]
    board = leaderboard.read(tmp_path / "out" / "leaderboard.parquet")
    (row_of_vbu,) = board.to_dict("records")  # the utility cells stand in the attacked row
    assert row_of_vbu["accuracy_n"] == 3


def test_what_only_the_later_record_says_is_no_disagreement(tmp_path: Path) -> None:
    plain = [{**each, **dict.fromkeys(LATER), "schema_version": 1} for each in SCORED]
    one = submitted.read_cell(file_of(hand_in(tmp_path / "a", [plain]), plain), tmp_path)
    two = submitted.read_cell(file_of(hand_in(tmp_path / "b", [SCORED]), SCORED), tmp_path)
    assert differences(one, two) == []
    changed = [{**SCORED[0], "scores_erased": [0.5, 0.375]}, SCORED[1]]
    three = submitted.read_cell(file_of(hand_in(tmp_path / "c", [changed]), changed), tmp_path)
    assert [each.what for each in differences(two, three)] == ["auc, scores_erased"]


# --- newer ones ------------------------------------------------------------------------------------------------------


def test_a_newer_record_is_refused_in_a_line_and_stays_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = newer(file_of(hand_in(tmp_path / "a", [old("vbu", 0)]), cell("vbu", 1)), cell("vbu", 1))
    message = f"schema_version {SCHEMA_VERSION + 1}, this version reads 1 and 2"
    for attempt in (records.read, is_intact, lambda it: submitted.read_cell(it, tmp_path)):
        with pytest.raises(NewerRecordError, match=message):
            attempt(path)
    assert [type(error) for error in records.read_folder(path.parent)[1]] == [NewerRecordError]
    before = everything(tmp_path)
    assert set_apart(path.parent, Plan("other", [], [])) == (0, [])
    for verb in (
        ["merge", str(tmp_path / "a"), "--out", str(tmp_path / "out")],
        ["verify", str(tmp_path / "a"), "--sample", "1"],
    ):
        assert cli.main(verb) == 2
        err = capsys.readouterr().err
        assert err == f"error: {path}: {message}\n"
    assert everything(tmp_path) == before


def test_no_leaderboard_is_built_of_a_newer_record_and_none_is_moved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from unlearnbench.workflow.finish import close

    path = newer(file_of(hand_in(tmp_path, [old("vbu", 0)]), cell("vbu", 1)), cell("vbu", 1))
    assert not close(tmp_path, Plan("other", [], []))
    err = capsys.readouterr().err
    assert err == f"error: no leaderboard: {path}: schema_version 3, this version reads 1 and 2\n"
    assert path.is_file()


# --- columns that lie ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "columns"), [(1, 2), (2, 1)])
def test_a_file_has_the_columns_of_the_version_that_it_says(tmp_path: Path, said: int, columns: int) -> None:
    made = [{**each, "schema_version": said} for each in cell("vbu", 0)]
    path = tmp_path / f"{made[0]['cell_key']}.parquet"
    write_parquet(pa.Table.from_pylist(made, schema=SCHEMA).select(SCHEMAS[columns].names), path)
    with pytest.raises(RecordError, match=f"schema_version {said}, but its columns are those of another version"):
        records.read(path)
    (tmp_path / "good.parquet").write_bytes(
        file_of(hand_in(tmp_path / "x", [old("hbu", 0)]), old("hbu", 0)).read_bytes()
    )
    table, bad = records.read_folder(tmp_path)
    assert (table.num_rows, [error.where for error in bad]) == (2, [str(path)])
    with pytest.raises(RecordError, match=f"schema_version {said}"):
        submitted.read_cell(path, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores_erased": [float("nan"), 0.5]}, "'scores_erased' holds nan, which is not a finite float32"),
        ({"scores_erased": [1e39, 0.5]}, "'scores_erased' holds 1e\\+39, which is not a finite float32"),
        ({"scores_erased": [True, 0.5]}, "'scores_erased' holds True"),
        ({"scores_erased": 0.5}, "'scores_erased' must be list"),
        ({"metric": "ssim"}, "scores beside metric 'ssim'; they belong to 'auc'"),
        ({"schema_version": 1}, "schema_version 1 has no column 'reference'"),
        ({"reference": 1}, "'reference' must be bool"),
        ({"scores_erased": [0.5] * (MOST_SCORES + 1)}, "holds 1,000,001 numbers; at most 1,000,000"),
    ],
)
def test_scores_that_break_a_rule_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        records.write([{**SCORED[0], **change}], tmp_path / "k.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores_unseen": None}, "scores of one side only"),
        ({"scores_erased": [0.5]}, "'auc' of 4 samples with 3 scores"),
        ({"ranked_by": "auc,\x1b[2J"}, "control characters"),
        ({"ranked_by": "auc,secrecy"}, "is not a list of an attack's metrics"),
        ({"attack": None, "attack_params": None, "attack_id": None}, "is not a list of an attack's metrics"),
    ],
)
def test_what_no_run_records_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    made = [{**SCORED[0], **change}]
    with pytest.raises(RecordError, match=message):
        submitted.read_cell(file_of(hand_in(tmp_path, [made]), made), tmp_path)


def test_lists_hold_what_their_pages_say_and_not_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file_of(hand_in(tmp_path, [SCORED]), SCORED)
    content = read_sealed(path)
    group = parse(content).metadata.row_group(0)
    columns = {group.column(number).path_in_schema: group.column(number) for number in range(group.num_columns)}
    assert page_sizes.pages(content, columns["scores_erased.list.element"]).values == 3  # two, and a null
    assert page_sizes.pages(content, columns["value"]).values == 2
    assert submitted.read_cell(path, tmp_path).rows == SCORED
    monkeypatch.setattr(record_bounds, "pages", lambda *_: page_sizes.Pages(100, 2**31))
    with pytest.raises(RecordError, match=r"'suite' holds 2,147,483,648 values, not 2"):
        submitted.read_cell(path, tmp_path)
    with pytest.raises(RecordError, match=r"'scores_erased\.list\.element' holds 2,147,483,648 values, not 3"):
        records.read(path)
    monkeypatch.setattr(record_bounds, "MOST_SCORES", 0)
    with pytest.raises(RecordError, match=r"'scores_erased\.list\.element' claims 3 values in 2 rows"):
        records.read(path)


def test_the_reference_page_lists_every_column() -> None:
    text = (ROOT / "docs" / "reference" / "results.md").read_text()
    assert [name for name in SCHEMA.names if f"`{name}`" not in text] == []
