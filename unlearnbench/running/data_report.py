"""A description of a loaded dataset, shown by `prepare` and written to every run's log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from unlearnbench.plugin import Dataset, ImageData
from unlearnbench.splits.identical_images import REMEDY, count, without_copies
from unlearnbench.system.printing import one_line, visible


class DatasetReport(NamedTuple):
    """A line with the sizes, and `more` lines: files, decoding, classes, and images that occur more than once."""

    head: str
    more: list[str]


def describe(shown: str, dataset: Dataset, data: ImageData, root: Path, names: Sequence[str]) -> DatasetReport:
    """Describe a loaded dataset.

    Args:
        shown: the dataset's name.
        root: the data root it was read from.
        names: the names of its classes.
    """
    shape = "x".join(str(side) for side in data.train.pixels.shape[1:])
    head = f"{one_line(shown)}: train={len(data.train)} test={len(data.test)} classes={data.classes} shape={shape}"
    more = [f"files: {len(dataset.files(root))} read", *(visible(note) for note in data.notes)]
    if names:
        more.append("classes: " + ", ".join(f"{number}={visible(name)}" for number, name in enumerate(names)))
    found = count(data)
    more.append(f"identical images: {found}" + (f"; {REMEDY}" if any(found) else ""))
    blank = sum(_of_one_colour(part.pixels) for part in (data.train, data.test))
    if blank:
        more.append(f"images of one colour: {blank}")
    return DatasetReport(head, more)


def left_out_copies(data: ImageData) -> str:
    """What `scenario.duplicates: drop` leaves out of a dataset."""
    kept = without_copies(data)
    train, test = len(data.train) - len(kept.train), len(data.test) - len(kept.test)
    return f"scenario.duplicates: drop leaves out {train} training and {test} test images"


def _of_one_colour(pixels: Tensor) -> int:
    """The number of blank images."""
    planes = pixels.flatten(2).numpy()  # [N, C, H W]
    return int((planes == planes[:, :, :1]).all((1, 2)).sum())
