"""STL-10: 5,000 + 8,000 labelled colour photographs, 96x96 (Coates, Lee, Ng 2011)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from unlearnbench.datasets._assemble import LabelledPixels, as_pixels, checked, image_data
from unlearnbench.datasets._download import prepare
from unlearnbench.datasets._locate import damaged, missing, prepare_hint
from unlearnbench.plugin import Dataset, ImageData
from unlearnbench.system.regular_files import is_there, read

_FOLDER = "stl10_binary"
_FILES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_IMAGE_BYTES = 3 * 96 * 96


class Stl10(Dataset):
    """The labelled images of STL-10 from `<root>/stl10_binary`.

    The four files are read here and not by torchvision, which refuses them unless the 2.6 GB of unlabelled images, of
    no use here, lie beside them.
    """

    paper = "Coates, Lee, Ng: An analysis of single-layer networks in unsupervised feature learning, AISTATS 2011"
    defaults: ClassVar[Mapping[str, Any]] = {
        "beta": 1e-4,
        "network": {"name": "resnet18", "latent": 147, "stem": "imagenet"},
        "training": {"lr": 5e-4},
        # CIFAR-10's parts at a tenth, but for the probe: its size is the width of the update that an adversary sees.
        "leak": {"target": 2_000, "known": 1_500, "pool": 2_500, "validation": 300, "probe": 100, "spare": 100},
    }

    def files(self, root: Path) -> list[Path]:
        paths = [root / _FOLDER / name for name in _FILES]
        for path in paths:
            if not is_there(path):
                raise missing(self, path, prepare_hint(root))
        return paths

    def load(self, root: Path) -> ImageData:
        train_images, train_labels, test_images, test_labels = self.files(root)
        data = image_data(_read(train_images, train_labels), _read(test_images, test_labels), classes=10)
        return data._replace(notes=("decoded: bytes as they are stored, column by column",))

    def class_names(self, root: Path) -> tuple[str, ...]:
        return _CLASSES

    def image_counts(self, root: Path) -> tuple[int, int]:
        _, train_labels, _, test_labels = self.files(root)  # a byte for each image
        return train_labels.stat().st_size, test_labels.stat().st_size

    def prepare(self, root: Path) -> None:
        prepare(self, root, lambda torchvision: torchvision.datasets.STL10(str(root), download=True))


def _read(images: Path, labels: Path) -> LabelledPixels:
    data = np.frombuffer(read(images), np.uint8)
    if len(data) % _IMAGE_BYTES:
        raise damaged(images, f"holds {len(data)} bytes, not a multiple of one image's {_IMAGE_BYTES}")
    pixels = as_pixels(data.reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2))  # stored column by column
    classes = torch.from_numpy(np.frombuffer(read(labels), np.uint8).astype(np.int64)) - 1  # stored as 1..10
    return checked(labels, pixels, classes, classes=10)
