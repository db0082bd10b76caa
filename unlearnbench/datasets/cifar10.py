"""CIFAR-10: 50,000 + 10,000 colour photographs, 32x32 (Krizhevsky 2009)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from unlearnbench.datasets._assemble import LabelledPixels, as_pixels, checked, image_data
from unlearnbench.datasets._decode import decode
from unlearnbench.datasets._download import prepare
from unlearnbench.datasets._left_out import counted, describe_left_out
from unlearnbench.datasets._locate import check_inside, damaged, inside, missing, prepare_hint
from unlearnbench.datasets._parquet import count_rows, read_rows
from unlearnbench.datasets._shards import SplitFiles, refuse_same_content, split_files
from unlearnbench.plugin import Dataset, ImageData
from unlearnbench.settings.scenario import PluginParams
from unlearnbench.system.errors import InputError
from unlearnbench.system.regular_files import is_there
from unlearnbench.system.torchvision_import import import_torchvision

_FOLDER = "cifar-10-batches-py"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")


class Cifar10Params(PluginParams):
    """Which copy of CIFAR-10 is read."""

    source: Literal["auto", "torchvision", "parquet"] = Field(
        "auto", description="the original files, or Parquet; auto: the original files if they are there"
    )
    path: str = Field("cifar10-jpeg", description="folder of train*.parquet and test*.parquet, below the data root")


class Cifar10(Dataset):
    """CIFAR-10 from the original files (`<root>/cifar-10-batches-py`) or from Parquet.

    The original files are pickles, and reading a pickle can run code. torchvision reads them, and first compares each
    file's MD5 sum with the published one: only the known official file is unpickled. Other copies of the data must be
    Parquet. They may be lossy (JPEG): results on such copies are not interchangeable.
    """

    paper = "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009"
    Params = Cifar10Params
    defaults: ClassVar[Mapping[str, Any]] = {
        "beta": 1e-4,
        "network": {"name": "resnet18", "latent": 147, "stem": "small"},
        "training": {"lr": 5e-4},
        "leak": {"target": 20_000, "known": 15_000, "pool": 25_000, "validation": 4_000, "probe": 100, "spare": 900},
    }

    def files(self, root: Path) -> list[Path]:
        if self._source(root) == "parquet":
            found = self._parquet(root)
            check_inside(root, [*found.train, *found.test])
            return [*found.train, *found.test]
        paths = [root / _FOLDER / name for name in _FILES]
        for path in paths:
            if not is_there(path):
                raise missing(self, path, self._how(root))
        return paths

    def load(self, root: Path) -> ImageData:
        self.files(root)
        if self._source(root) == "parquet":
            found, how = self._parquet(root), Counter[str]()
            refuse_same_content([*found.train, *found.test])
            data = image_data(_read_parquet(found.train, how), _read_parquet(found.test, how), classes=10)
            folder = inside(self, root, self.params.path)
            return data._replace(notes=(describe_left_out(found.left_out, folder), f"decoded: {counted(how.items())}"))
        data = image_data(self._read_batches(root, train=True), self._read_batches(root, train=False), classes=10)
        return data._replace(notes=("decoded: bytes as they are stored",))

    def class_names(self, root: Path) -> tuple[str, ...]:
        return CLASSES

    def image_counts(self, root: Path) -> tuple[int, int]:
        self.files(root)
        if self._source(root) == "parquet":
            found = self._parquet(root)
            return count_rows(found.train), count_rows(found.test)
        return 50_000, 10_000  # no other file is read

    def prepare(self, root: Path) -> None:
        if self._source(root) == "parquet":
            self.files(root)
            return
        prepare(self, root, lambda torchvision: torchvision.datasets.CIFAR10(str(root), download=True))

    def _source(self, root: Path) -> Literal["torchvision", "parquet"]:
        source: Literal["auto", "torchvision", "parquet"] = self.params.source
        if source != "auto":
            return source
        if (root / _FOLDER).is_dir():
            return "torchvision"
        found = split_files(inside(self, root, self.params.path))
        return "parquet" if found.train and found.test else "torchvision"

    def _parquet(self, root: Path) -> SplitFiles:
        folder = inside(self, root, self.params.path)
        found = split_files(folder)
        for name, files in (("train.parquet", found.train), ("test.parquet", found.test)):
            if not files:
                raise missing(self, folder / name, "put the Parquet files there, or set cifar10.path to their folder")
        return found

    def _how(self, root: Path) -> str:
        if self.params.source == "torchvision":
            return prepare_hint(root)
        folder = inside(self, root, self.params.path).absolute()
        return f"{prepare_hint(root)}, or put train.parquet and test.parquet into {folder}"

    def _read_batches(self, root: Path, *, train: bool) -> LabelledPixels:
        torchvision = import_torchvision()
        try:
            batches = torchvision.datasets.CIFAR10(str(root), train=train, download=False)
        except RuntimeError as error:  # torchvision doesn't say which file
            raise self._damaged(torchvision.datasets, root) or damaged(root / _FOLDER, str(error)) from error
        pixels = as_pixels(batches.data.transpose(0, 3, 1, 2))
        return checked(root / _FOLDER, pixels, torch.tensor(batches.targets), classes=10)

    @staticmethod
    def _damaged(datasets: Any, root: Path) -> InputError | None:
        known = datasets.CIFAR10
        for name, md5 in [*known.train_list, *known.test_list, (known.meta["filename"], known.meta["md5"])]:
            if not datasets.utils.check_integrity(root / _FOLDER / name, md5):
                return damaged(root / _FOLDER / name, "is not the original file: its MD5 sum differs")
        return None


def _read_parquet(files: list[Path], how: Counter[str]) -> LabelledPixels:
    """The images of one split; `how` receives counts of how they were decoded."""
    rows = read_rows(files)
    labels = [label for label in rows.labels.values if isinstance(label, int)]
    if not labels or len(labels) != len(rows.labels.values):
        raise InputError(str(files[0].absolute()), "CIFAR-10's labels must be numbers 0 to 9")
    _refuse_other_order(files[0], rows.labels.names)
    pixels, found = decode(rows.pictures, "RGB", None)
    how.update(found)
    if pixels.shape[2:] != (32, 32):
        raise InputError(
            str(files[0].absolute()), f"holds images of {pixels.shape[3]} x {pixels.shape[2]} pixels, not 32 x 32"
        )
    return checked(files[0], pixels, torch.tensor(labels), classes=10)


def _refuse_other_order(file: Path, names: Mapping[int, str]) -> None:
    """Refuse a file that gives a class the name of another one; names that are not CIFAR-10's are accepted."""
    for number, name in names.items():
        if name in CLASSES and CLASSES.index(name) != number:
            raise InputError(
                str(file.absolute()),
                f"class {number} is called {name}, which is CIFAR-10's number {CLASSES.index(name)}",
            )
