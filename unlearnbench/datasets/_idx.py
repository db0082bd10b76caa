"""Datasets in MNIST's file format: `idx` files (big-endian sizes, then bytes), plain or gzipped."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from unlearnbench.datasets._assemble import as_pixels, checked, image_data
from unlearnbench.datasets._download import prepare
from unlearnbench.datasets._locate import damaged, missing, prepare_hint
from unlearnbench.plugin import Dataset, ImageData
from unlearnbench.settings.scenario import LeakSizes
from unlearnbench.system.regular_files import is_there, opened, read

_STEMS = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
_UNSIGNED_BYTE = 8


class IdxDataset(Dataset):
    """28x28 grey images of ten classes in torchvision's layout, `<root>/<folder>/raw`.

    The distributed .gz files are read directly; an unpacked file is read where its .gz is missing.
    """

    folder: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]
    defaults: ClassVar[Mapping[str, Any]] = {"leak": LeakSizes.model_validate({}).model_dump()}

    def files(self, root: Path) -> list[Path]:
        raw = root / self.folder / "raw"
        found = []
        for stem in _STEMS:
            candidates = (raw / f"{stem}.gz", raw / stem)
            file = next((path for path in candidates if is_there(path)), None)
            if file is None:
                raise missing(self, candidates[0], prepare_hint(root))
            found.append(file)
        return found

    def load(self, root: Path) -> ImageData:
        train_images, train_labels, test_images, test_labels = self.files(root)
        train = checked(train_labels, _read_images(train_images), read_idx(train_labels, 1), classes=10)
        test = checked(test_labels, _read_images(test_images), read_idx(test_labels, 1), classes=10)
        return image_data(train, test, classes=10)._replace(notes=("decoded: bytes as they are stored",))

    def class_names(self, root: Path) -> tuple[str, ...]:
        return self.classes

    def image_counts(self, root: Path) -> tuple[int, int]:
        train_images, _, test_images, _ = self.files(root)
        return _count(train_images), _count(test_images)

    def prepare(self, root: Path) -> None:
        prepare(self, root, lambda torchvision: getattr(torchvision.datasets, self.folder)(str(root), download=True))


def _read_images(path: Path) -> Tensor:
    pixels = read_idx(path, 3)
    if pixels.shape[1:] != (28, 28):
        raise damaged(path, f"holds images of {pixels.shape[1]} x {pixels.shape[2]} pixels, not 28 x 28")
    return pixels.unsqueeze(1)


def _count(path: Path) -> int:
    """The number of images that a file's header gives; `load` checks whether they are there."""
    try:
        with opened(path) as stream:
            header = (gzip.GzipFile(fileobj=stream) if path.suffix == ".gz" else stream).read(8)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, f"can't be read ({error})") from error
    if len(header) < 8:
        raise damaged(path, "is cut short")
    return int.from_bytes(header[4:], "big")


def read_idx(path: Path, dimensions: int) -> Tensor:
    """The bytes of an idx file (`.gz` or not) as u8 with the shape its header gives.

    Raises:
        InputError: the file is cut short, not gzip, not idx, or of other dimensions.
    """
    try:
        data = gzip.decompress(read(path)) if path.suffix == ".gz" else read(path)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, f"can't be read ({error})") from error
    start = 4 + 4 * dimensions
    if len(data) < start or data[:4] != bytes((0, 0, _UNSIGNED_BYTE, dimensions)):
        raise damaged(path, f"is not an idx file of bytes in {dimensions} dimensions")
    shape = [int(size) for size in np.frombuffer(data, ">u4", dimensions, 4)]
    if len(data) - start != math.prod(shape):
        raise damaged(path, f"holds {len(data) - start} bytes of data, its header says {math.prod(shape)}")
    return as_pixels(np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy())
