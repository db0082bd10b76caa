"""Fingerprints: contents, names and parameters count, the place doesn't."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from unlearnbench.datasets.cifar10 import Cifar10
from unlearnbench.datasets.digits import Digits
from unlearnbench.datasets.fashion_mnist import FashionMnist
from unlearnbench.datasets.images import ImagesParams, OwnImages
from unlearnbench.datasets.mnist import Mnist
from unlearnbench.datasets.stl10 import Stl10
from unlearnbench.plugin import Dataset
from unlearnbench.registry.fingerprint import fingerprint
from unlearnbench.settings.scenario import LeakSizes, Scenario
from unlearnbench.system.errors import InputError

WriteIdx = Callable[..., Path]


def test_a_moved_data_root_keeps_the_fingerprint(write_idx: WriteIdx, tmp_path: Path) -> None:
    root = write_idx()
    before = fingerprint(Mnist(), root)
    moved = tmp_path / "deep/down"
    shutil.copytree(root / "MNIST", moved / "MNIST")
    assert fingerprint(Mnist(), moved) == before
    assert len(before) == 64


def test_one_changed_byte_or_two_swapped_files_change_the_fingerprint(write_idx: WriteIdx) -> None:
    root = write_idx()
    train, test = root / "MNIST/raw/train-labels-idx1-ubyte.gz", root / "MNIST/raw/t10k-labels-idx1-ubyte.gz"
    seen = {fingerprint(Mnist(), root)}
    first, second = train.read_bytes(), test.read_bytes()
    train.write_bytes(second)
    test.write_bytes(first)
    seen.add(fingerprint(Mnist(), root))
    train.write_bytes(second[:-1] + bytes([second[-1] ^ 1]))
    seen.add(fingerprint(Mnist(), root))
    assert len(seen) == 3


def test_the_same_bytes_are_another_dataset_under_another_name(write_idx: WriteIdx) -> None:
    write_idx("FashionMNIST")
    root = write_idx("MNIST")
    assert fingerprint(Mnist(), root) != fingerprint(FashionMnist(), root)


def test_parameters_and_version_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "images" / name / "x.png")
    seen = {fingerprint(OwnImages(), tmp_path), fingerprint(OwnImages(ImagesParams(size=3)), tmp_path)}
    monkeypatch.setattr(OwnImages, "version", 99)
    seen.add(fingerprint(OwnImages(), tmp_path))
    assert len(seen) == 3


def test_missing_files_have_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dataset mnist: not found"):
        fingerprint(Mnist(), tmp_path)


@pytest.mark.parametrize(
    ("dataset", "train_size"),
    [(Digits(), 1_437), (Mnist(), 60_000), (FashionMnist(), 60_000), (Cifar10(), 50_000), (Stl10(), 5_000)],
    ids=lambda value: type(value).__name__ if isinstance(value, Dataset) else None,
)
def test_default_settings_make_a_valid_leak_scenario_that_fits_the_data(dataset: Dataset, train_size: int) -> None:
    scenario = Scenario.model_validate({"kind": "leak", "erased_count": 1, **dataset.defaults})
    assert isinstance(scenario.leak, LeakSizes)
    assert scenario.leak.total <= train_size
