"""Splits of Parquet files: all of them, each once."""

from __future__ import annotations

from pathlib import Path

import pytest

from unlearnbench.datasets._shards import refuse_same_content, split_files
from unlearnbench.system.errors import InputError


@pytest.fixture
def put(tmp_path: Path):
    def put(*names: str) -> Path:
        for number, name in enumerate(names):
            (tmp_path / name).write_bytes(bytes([number]))
        return tmp_path

    return put


@pytest.mark.parametrize(
    "names",
    [
        ["train.parquet"],
        ["TRAIN.PARQUET"],
        ["train-00000-of-00001.parquet"],
        ["train-00000-of-00002-0123abcd.parquet", "train-00001-of-00002-89ef.parquet"],
        ["train_00001-of-00003.parquet", "train_00002-of-00003.parquet", "train_00003-of-00003.parquet"],
        ["train_a-00000-of-00001.parquet", "train_b-00000-of-00001.parquet"],
        ["train0.parquet", "train1.parquet"],
        ["train-1.parquet", "train-2.parquet"],
        ["train_2019.parquet", "train_2021.parquet"],
        ["train_cats.parquet", "train_dogs.parquet"],
    ],
)
def test_complete_splits_are_taken_in_order(put, names: list[str]) -> None:
    folder = put(*names, "test.parquet")
    found = split_files(folder)
    assert [path.name for path in found.train] == names
    assert [path.name for path in found.test] == ["test.parquet"]
    refuse_same_content([*found.train, *found.test])


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (["00000-of-00003", "00002-of-00003"], "{}-00001-of-00003.parquet is missing: 1 of 3 shards are not there"),
        (["00000-of-00003"], "{}-00001-of-00003.parquet is missing: 2 of 3 shards are not there"),
        (["00002-of-00003", "00001-of-00003"], "{}-00000-of-00003.parquet is missing"),
        (["00000-of-00001", "00000-of-00001 (1)"], r"00000-of-00001.parquet: is the same shard as .* \(1\).parquet"),
        (["00000-of-00001", "00000-of-00001-89ef"], "is the same shard as"),
        (["00000-of-00001", "00000-of-00002"], "is of another set of shards than"),
        (["00000-of-00001", "copy"], "copy.parquet: lies beside shards"),
        (["00000-of-00002", "00001-of-00002", "00007-of-00002"], "00007-of-00002.parquet: is not one of 2 shards"),
        (["0000", "0002"], "0002.parquet: numbers go from 0 to 2, and 1 is missing"),
        (["1", "2", "4"], "numbers go from 1 to 4, and 3 is missing"),
    ],
)
def test_incomplete_and_repeated_shards_are_refused(put, part: str, numbers: list[str], message: str) -> None:
    folder = put("train.parquet") if part == "test" else put()
    put(*(f"{part}-{number}.parquet" for number in numbers))
    with pytest.raises(InputError, match=message.format(part)):
        split_files(folder)


def test_the_same_file_under_two_names_is_refused(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("test.parquet", "train.parquet", "train (1).parquet")]
    for file, content in zip(files, (b"other", b"bytes", b"bytes"), strict=True):
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"train \(1\).parquet: is the same file as train.parquet"):
        refuse_same_content(files)
    refuse_same_content(files[:2])


def test_what_is_not_read_is_listed(put) -> None:
    folder = put("train.parquet", "validation.parquet", "._train.parquet", "README.md", "train.parquet.crdownload")
    found = split_files(folder)
    assert [(left.path.name, left.why) for left in found.left_out] == [
        ("._train.parquet", "hidden, or made by the system"),
        ("README.md", "neither train*.parquet nor test*.parquet"),
        ("train.parquet.crdownload", "neither train*.parquet nor test*.parquet"),
        ("validation.parquet", "neither train*.parquet nor test*.parquet"),
    ]
