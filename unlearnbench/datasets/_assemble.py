"""From pixels and labels to ImageData, and the fixed split of datasets that come without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unlearnbench.datasets._locate import damaged
from unlearnbench.plugin import ImageData, Images

# Part of every result on a dataset without a split of its own: a new value is a new dataset version.
_SPLIT_SEED = 20_240_607


class LabelledPixels(NamedTuple):
    """Training or test images: pixels u8[N, C, H, W], labels i64[N]."""

    pixels: Tensor
    labels: Tensor


def image_data(train: LabelledPixels, test: LabelledPixels, classes: int) -> ImageData:
    """Both parts with ids: training images 0..N-1, test images N..N+M-1."""
    size = len(train.labels)
    total = size + len(test.labels)
    return ImageData(
        Images(train.pixels.contiguous(), train.labels.long(), torch.arange(size)),
        Images(test.pixels.contiguous(), test.labels.long(), torch.arange(size, total)),
        classes,
    )


def fixed_order(count: int) -> npt.NDArray[np.intp]:
    """The same permutation of 0..count-1 everywhere and for ever.

    It sorts Philox's raw output, which numpy promises never to change; the shuffles built on it have no such promise.
    """
    return np.argsort(np.random.Philox(key=_SPLIT_SEED).random_raw(count), kind="stable")


def checked(path: Path, pixels: Tensor, labels: Tensor, classes: int) -> LabelledPixels:
    """Training or test images whose labels have been checked.

    Args:
        path: the file of the labels, for errors.
        pixels: u8[N, C, H, W].
        labels: [N], 0..classes-1.

    Raises:
        InputError: numbers of labels and images differ, there are no images, or a label is out of range.
    """
    if len(pixels) != len(labels) or len(labels) == 0:
        raise damaged(path, f"holds {len(labels)} labels for {len(pixels)} images")
    labels = labels.long()
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise damaged(path, f"has labels {int(labels.min())} to {int(labels.max())}, not within 0 to {classes - 1}")
    return LabelledPixels(pixels, labels)


def as_pixels(array: npt.NDArray[Any]) -> Tensor:
    """u8 pixels as a contiguous tensor."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.uint8))
