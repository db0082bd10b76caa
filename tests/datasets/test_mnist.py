"""MNIST and Fashion-MNIST: packed and unpacked files, damage, downloads, the real data."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from idx_files import idx_bytes

from unlearnbench.datasets.fashion_mnist import FashionMnist
from unlearnbench.datasets.mnist import Mnist
from unlearnbench.plugin import ImageData
from unlearnbench.system.errors import InputError

WriteIdx = Callable[..., Path]


def same(left: ImageData, right: ImageData) -> bool:
    pairs = zip((*left[:2],), (*right[:2],), strict=True)
    return all(torch.equal(a.pixels, b.pixels) and torch.equal(a.labels, b.labels) for a, b in pairs)


def test_packed_files_are_read_without_unpacking_them(write_idx: WriteIdx) -> None:
    root = write_idx()
    data = Mnist().load(root)
    assert data.train.pixels.shape == (12, 1, 28, 28)
    assert data.test.pixels.shape == (4, 1, 28, 28)
    assert data.train.labels.tolist() == [*range(10), 0, 1]
    assert data.test.ids.tolist() == [12, 13, 14, 15]
    assert data.classes == 10
    assert {path.suffix for path in (root / "MNIST/raw").iterdir()} == {".gz"}


def test_unpacked_files_give_the_same_images(write_idx: WriteIdx) -> None:
    packed = Mnist().load(write_idx())
    for path in Path(write_idx()).glob("MNIST/raw/*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    root = write_idx(packed=False)
    assert same(packed, Mnist().load(root))


def test_packed_files_are_preferred_so_that_unpacking_changes_no_fingerprint(write_idx: WriteIdx) -> None:
    write_idx(packed=False)
    root = write_idx()
    assert all(path.suffix == ".gz" for path in Mnist().files(root))


def test_torchvisions_reader_sees_the_same_images(write_idx: WriteIdx) -> None:
    from unlearnbench.system.torchvision_import import import_torchvision

    root = write_idx(packed=False)
    ours = Mnist().load(root)
    theirs = import_torchvision().datasets.MNIST(str(root), train=True, download=False)
    assert torch.equal(ours.train.pixels[:, 0], theirs.data)
    assert torch.equal(ours.train.labels, theirs.targets)


def test_fashion_mnist_has_its_own_folder(write_idx: WriteIdx) -> None:
    root = write_idx("FashionMNIST")
    assert len(FashionMnist().load(root).train) == 12
    with pytest.raises(InputError, match=r"MNIST/raw/train-images-idx3-ubyte.gz"):
        Mnist().load(root)


def test_missing_files_are_named_with_the_dataset_and_the_way_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        Mnist().files(tmp_path)
    expected = tmp_path / "MNIST/raw/train-images-idx3-ubyte.gz"
    assert str(caught.value) == (
        f"{expected}: dataset mnist: not found; get it with `unlearnbench prepare SUITE --data {tmp_path}`"
    )


def test_a_file_cut_short_is_named(write_idx: WriteIdx) -> None:
    root = write_idx()
    path = root / "MNIST/raw/t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz: can't be read"):
        Mnist().load(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not gzip at all", "can't be read"),
        (gzip.compress(b""), "is not an idx file"),
        (gzip.compress(idx_bytes(np.zeros((12, 28)))), "is not an idx file of bytes in 3 dimensions"),
        (gzip.compress(idx_bytes(np.zeros((12, 28, 28)))[:-1]), "holds 9407 bytes of data, its header says 9408"),
        (gzip.compress(idx_bytes(np.zeros((12, 20, 28)))), "holds images of 20 x 28 pixels, not 28 x 28"),
    ],
    # Names of their own: gzip writes the time into its output, and workers must agree on the names of tests.
    ids=["no gzip", "empty", "2 dimensions", "cut short", "wrong size"],
)
def test_damaged_images_are_named(write_idx: WriteIdx, content: bytes, message: str) -> None:
    root = write_idx()
    (root / "MNIST/raw/train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(InputError, match=f"train-images-idx3-ubyte.gz: {message}"):
        Mnist().load(root)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(11) % 10, "holds 11 labels for 12 images"),
        (np.arange(12), "has labels 0 to 11, not within 0 to 9"),
    ],
)
def test_labels_must_match_the_images(write_idx: WriteIdx, labels: np.ndarray, message: str) -> None:
    root = write_idx()
    (root / "MNIST/raw/train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))
    with pytest.raises(InputError, match=f"train-labels-idx1-ubyte.gz: {message}"):
        Mnist().load(root)


@pytest.mark.usefixtures("no_network")
def test_prepare_leaves_a_complete_copy_alone(write_idx: WriteIdx) -> None:
    root = write_idx()
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    Mnist().prepare(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.usefixtures("no_network")
def test_prepare_without_network_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="dataset mnist: missing or damaged, and fetching it failed") as caught:
        Mnist().prepare(tmp_path)
    assert str(tmp_path / "MNIST/raw") in str(caught.value)
    assert "no route to host" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("no_network")
def test_prepare_doesnt_hide_a_damaged_file(write_idx: WriteIdx) -> None:
    root = write_idx(packed=False)
    path = root / "MNIST/raw/train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="train-labels-idx1-ubyte: dataset mnist: missing or damaged"):
        Mnist().prepare(root)


@pytest.mark.parametrize(
    ("dataset", "train_counts"),
    [
        (Mnist(), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        (FashionMnist(), [6000] * 10),
    ],
    ids=["mnist", "fashion_mnist"],
)
def test_real_data(real_data: Path, dataset: Mnist | FashionMnist, train_counts: list[int]) -> None:
    if not (real_data / dataset.folder).is_dir():
        pytest.skip(f"{dataset.folder} is not in UNLEARNBENCH_TEST_DATA")
    data = dataset.load(real_data)
    assert data.train.pixels.shape == (60_000, 1, 28, 28)
    assert data.test.pixels.shape == (10_000, 1, 28, 28)
    assert data.train.labels.bincount().tolist() == train_counts
