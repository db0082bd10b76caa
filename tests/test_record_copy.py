"""Rows of unchanged record files are taken from a copy, and nobody can tell but by the clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sample_records import row, rows

from unlearnbench import leaderboard, record_copy, record_tables, records
from unlearnbench.parquet_files import write_parquet
from unlearnbench.record_copy import NOTHING, load, save
from unlearnbench.records import read_folder

LONG = [row("vbu", 0, "accuracy", 0.5, cell_key="long", step=step) for step in range(300)]


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_tables, "BATCH", 3)
    monkeypatch.setattr(record_tables, "WORTH_A_COPY", 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten cells of one row and one of many."""
    for each in rows("crfu", "mse", [number / 10 for number in range(10)]):
        records.write([each], tmp_path / "records" / f"{each['seed']}.parquet")
    records.write(LONG, tmp_path / "records" / "5_long.parquet")
    return tmp_path / "records"


@pytest.fixture
def copy(folder: Path) -> Path:
    path = folder.parent / "receipts" / "rows.parquet"
    read_folder(folder, path)
    return path


def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are parsed from now on."""
    names: list[str] = []
    parse = record_tables.rows

    def watched(content: bytes, path: Path) -> pa.Table:
        names.append(path.name)
        return parse(content, path)

    monkeypatch.setattr(record_tables, "rows", watched)
    return names


def as_without(folder: Path, copy: Path) -> None:
    table, bad = read_folder(folder, copy)
    expected, _ = read_folder(folder)
    assert bad == []
    assert table.schema.equals(expected.schema)
    assert table.to_pylist() == expected.to_pylist()


def test_unchanged_files_are_not_parsed_again(folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = read_folder(folder)
    parsed = taken(monkeypatch)
    table, bad = read_folder(folder, copy)
    assert (bad, parsed) == ([], [])
    assert table.to_pylist() == expected.to_pylist()


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_added_removed_replaced_renamed_and_doubled_files(
    folder: Path, copy: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_tables, "BATCH", batch)
    (folder / "3.parquet").unlink()
    (folder / "4.parquet").rename(folder / "0_first.parquet")
    (folder / "9_again.parquet").write_bytes((folder / "0.parquet").read_bytes())
    records.write([row("hbu", 7, "mse", 0.7)], folder / "6.parquet")
    records.write(LONG[:250], folder / "7_long.parquet")
    records.write([row("hbu", 8, "auc", 0.8, attack="ridge")], folder / "99.parquet")
    parsed = taken(monkeypatch)
    before = copy.read_bytes()
    table, _ = read_folder(folder, copy)
    assert sorted(parsed) == ["6.parquet", "7_long.parquet", "99.parquet"]
    assert copy.read_bytes() != before
    as_without(folder, copy)
    assert table.num_rows == 10 + 300 + 250 + 1


def test_damage_is_found_in_a_file_whose_rows_are_in_the_copy(folder: Path, copy: Path) -> None:
    content = bytearray((folder / "3.parquet").read_bytes())
    content[100] ^= 1
    (folder / "3.parquet").write_bytes(content)
    before = copy.read_bytes()
    table, bad = read_folder(folder, copy)
    assert [error.where for error in bad] == [str(folder / "3.parquet")]
    assert "SHA-256" in bad[0].what
    assert table.num_rows == 9 + 300
    assert copy.read_bytes() == before


def test_what_is_no_copy_of_this_code_is_not_used(folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(load(copy).places) == 11
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-1])
    assert load(copy) is NOTHING
    as_without(folder, copy)
    assert copy.read_bytes() == whole
    with monkeypatch.context() as patch:
        patch.setattr(record_copy, "_reader", lambda: "changed")
        assert load(copy) is NOTHING
    for table, about in [
        (pa.table({"a": [1]}), {}),
        (pa.table({"a": [1]}), {"unlearnbench": "{}"}),
        (records.SCHEMA.empty_table(), {"unlearnbench": "[]"}),
    ]:
        write_parquet(table, copy, about)
        assert load(copy) is NOTHING
    copy.unlink()
    assert load(copy) is NOTHING


def test_without_a_place_for_it_there_is_no_copy(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    save(tmp_path / "file" / "rows.parquet", records.SCHEMA.empty_table(), [])
    as_without(folder, tmp_path / "file" / "rows.parquet")


def test_few_files_are_not_worth_a_copy(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_tables, "WORTH_A_COPY", 12)
    as_without(folder, tmp_path / "rows.parquet")
    assert not (tmp_path / "rows.parquet").exists()


def test_a_leaderboard_is_the_same_with_a_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = folder.parent

    def built() -> tuple[Any, bytes, bytes]:
        frame = leaderboard.build(folder, results)
        return frame, *((results / f"leaderboard.{end}").read_bytes() for end in ("parquet", "md"))

    first, second = built(), built()
    assert (results / record_copy.PLACE).is_file()
    assert first[0].equals(second[0])
    assert first[1:] == second[1:]
