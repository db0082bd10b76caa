"""scikit-learn's digits: 1,797 handwritten digits, 8x8 grey, part of the installed package."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from unlearnbench.datasets._assemble import LabelledPixels, as_pixels, fixed_order, image_data
from unlearnbench.plugin import Dataset, ImageData
from unlearnbench.system.errors import InputError

_ALL, _TRAIN = 1_797, 1_437


class Digits(Dataset):
    """The digits with grey values 0..16 spread over 0..255, in a fixed random split of 1,437 and 360 images.

    The data has no split and is ordered by writer: the first 1,437 rows are by other people than the rest. So the
    split is random, without regard to classes, and the same for everybody.
    """

    paper = "Alpaydin, Kaynak: Optical Recognition of Handwritten Digits, UCI, 1998"
    defaults: ClassVar[Mapping[str, Any]] = {
        "network": {"hidden": 96, "latent": 49},
        "leak": {"target": 600, "known": 440, "pool": 600, "validation": 80, "probe": 40, "spare": 117},
    }

    def files(self, root: Path) -> list[Path]:
        # Not sklearn.datasets: importing it takes longer than everything else in resuming a finished suite.
        spec = importlib.util.find_spec("sklearn")
        if spec is None or spec.origin is None:
            raise InputError("scikit-learn", "dataset digits: not installed; it brings the data")
        file = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if not file.is_file():
            raise InputError(str(file), "dataset digits: not found; reinstall scikit-learn, which brings it")
        return [file]

    def load(self, root: Path) -> ImageData:
        self.files(root)
        from sklearn.datasets import load_digits

        digits = load_digits()
        order = fixed_order(len(digits.target))
        pixels = as_pixels(np.round(digits.images[order] * (255 / 16))).unsqueeze(1)
        labels = torch.from_numpy(digits.target[order]).long()
        data = image_data(
            LabelledPixels(pixels[:_TRAIN], labels[:_TRAIN]),
            LabelledPixels(pixels[_TRAIN:], labels[_TRAIN:]),
            classes=10,
        )
        notes = ("decoded: grey values 0 to 16 spread over 0 to 255", "test images: 360 of 1,797, drawn at random")
        return data._replace(notes=notes)

    def class_names(self, root: Path) -> tuple[str, ...]:
        return tuple("0123456789")

    def image_counts(self, root: Path) -> tuple[int, int]:
        return _TRAIN, _ALL - _TRAIN
