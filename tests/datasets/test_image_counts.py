"""Every built-in dataset states how many images it has, without decoding one, and is right about it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unlearnbench.datasets.cifar10 import Cifar10, Cifar10Params
from unlearnbench.datasets.digits import Digits
from unlearnbench.datasets.images import ImagesParams, OwnImages
from unlearnbench.datasets.mnist import Mnist
from unlearnbench.datasets.stl10 import Stl10
from unlearnbench.plugin import Dataset
from unlearnbench.registry.registry import discover
from unlearnbench.system.errors import InputError


def right(dataset: Dataset, root: Path) -> tuple[int, int]:
    """What a dataset states, once it is found to be what it loads."""
    data, stated = dataset.load(root), dataset.image_counts(root)
    assert stated == (len(data.train), len(data.test))
    return stated


def parquet(path: Path, rows: int) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (32, 32)).save(stream, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = [row % 2 for row in range(rows)]
    pq.write_table(pa.table({"image": [stream.getvalue()] * rows, "label": labels}), path)


def folder(path: Path, images: int) -> None:
    for number in range(images):
        (path / str(number % 2)).mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), number).save(path / str(number % 2) / f"{number}.png")


def test_every_built_in_dataset_states_them() -> None:
    datasets = discover().datasets
    assert datasets
    assert all(info.cls.image_counts is not Dataset.image_counts for info in datasets.values())  # type: ignore[attr-defined]


def test_digits(tmp_path: Path) -> None:
    assert right(Digits(), tmp_path) == (1_437, 360)


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_by_the_header_of_its_files(write_idx: Callable[..., Path], packed: bool) -> None:
    assert right(Mnist(), write_idx(packed=packed)) == (12, 4)


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03\0"])
def test_mnist_with_a_header_cut_short(write_idx: Callable[..., Path], content: bytes) -> None:
    root = write_idx(packed=False)
    (root / "MNIST/raw/train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(InputError, match="train-images-idx3-ubyte: is cut short; delete it and get it again"):
        Mnist().image_counts(root)


def test_stl10_by_the_size_of_its_labels(tmp_path: Path) -> None:
    (tmp_path / "stl10_binary").mkdir()
    for part, count in (("train", 6), ("test", 4)):
        np.zeros((count, 3, 96, 96), np.uint8).tofile(tmp_path / "stl10_binary" / f"{part}_X.bin")
        np.ones(count, np.uint8).tofile(tmp_path / "stl10_binary" / f"{part}_y.bin")
    assert right(Stl10(), tmp_path) == (6, 4)


def test_cifar10_by_the_footers_of_its_files(tmp_path: Path) -> None:
    for name, rows in (("train-00000-of-00002", 3), ("train-00001-of-00002", 4), ("test", 2)):
        parquet(tmp_path / "cifar10-jpeg" / f"{name}.parquet", rows)
    assert right(Cifar10(Cifar10Params(source="parquet")), tmp_path) == (7, 2)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"path": "flat"}, (16, 4)),
        ({"path": "flat", "test_fraction": 0.5}, (10, 10)),
        ({"path": "split"}, (6, 3)),
        ({"path": "rows"}, (8, 2)),
        ({"path": "rows/train.parquet"}, (8, 2)),
    ],
)
def test_your_own_images(tmp_path: Path, params: dict[str, Any], expected: tuple[int, int]) -> None:
    folder(tmp_path / "flat", 20)
    folder(tmp_path / "split" / "train", 6)
    folder(tmp_path / "split" / "test", 3)
    parquet(tmp_path / "rows" / "train.parquet", 10)
    assert right(OwnImages(ImagesParams(**params)), tmp_path) == expected


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    parquet(tmp_path / "rows" / "train.parquet", 10)
    (tmp_path / "rows" / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"train\.parquet: not a readable Parquet file"):
        OwnImages(ImagesParams(path="rows")).image_counts(tmp_path)
