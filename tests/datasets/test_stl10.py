"""STL-10: the column-major layout, sizes and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unlearnbench.datasets.stl10 import Stl10
from unlearnbench.system.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    for part, count in (("train", 6), ("test", 4)):
        image = np.zeros((count, 3, 96, 96), np.uint8)
        image[:, 1, 5, 90] = 200  # channel 1, row 5, column 90
        image.transpose(0, 1, 3, 2).tofile(folder / f"{part}_X.bin")
        (np.arange(count) % 10 + 1).astype(np.uint8).tofile(folder / f"{part}_y.bin")
    return tmp_path


def test_images_are_turned_from_columns_to_rows_and_labels_start_at_0(root: Path) -> None:
    data = Stl10().load(root)
    assert data.train.pixels.shape == (6, 3, 96, 96)
    assert data.train.pixels[0].nonzero().tolist() == [[1, 5, 90]]
    assert data.train.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.test.ids.tolist() == [6, 7, 8, 9]
    assert data.classes == 10


def test_unlabelled_images_are_not_asked_for(root: Path) -> None:
    assert sorted(path.name for path in Stl10().files(root)) == [
        "test_X.bin",
        "test_y.bin",
        "train_X.bin",
        "train_y.bin",
    ]
    Stl10().prepare(root)


def test_a_missing_file_is_named(root: Path) -> None:
    (root / "stl10_binary/test_y.bin").unlink()
    with pytest.raises(InputError, match=r"test_y.bin: dataset stl10: not found; get it with `unlearnbench prepare"):
        Stl10().load(root)


def test_a_file_cut_short_is_named(root: Path) -> None:
    path = root / "stl10_binary/test_X.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"test_X.bin: holds 110591 bytes"):
        Stl10().load(root)


@pytest.mark.parametrize("labels", [[1, 2, 3], [0, 1, 2, 3], [11, 1, 2, 3]])
def test_labels_must_match_the_images(root: Path, labels: list[int]) -> None:
    np.array(labels, np.uint8).tofile(root / "stl10_binary/test_y.bin")
    with pytest.raises(InputError, match=r"test_y.bin: (holds 3 labels|has labels)"):
        Stl10().load(root)


@pytest.mark.usefixtures("no_network")
def test_prepare_without_network_ends_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dataset stl10: missing or damaged, and fetching it failed"):
        Stl10().prepare(tmp_path)
