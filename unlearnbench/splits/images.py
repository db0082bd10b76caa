"""Labelled images: a set of them, a dataset, an erasure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images as they lie in memory. Pixels are scaled to [0, 1] only when a batch is drawn."""

    pixels: Tensor  # u8[N, C, H, W]
    labels: Tensor  # i64[N]
    ids: Tensor  # i64[N], unique over a dataset's training and test images

    def take(self, rows: Tensor) -> Images:
        """The images at `rows` (i64[n])."""
        return Images(self.pixels[rows], self.labels[rows], self.ids[rows])

    def to(self, device: Any) -> Images:
        return Images(self.pixels.to(device), self.labels.to(device), self.ids.to(device))

    @property
    def scaled(self) -> Tensor:
        """f32[N, C, H, W] in [0, 1]."""
        return self.pixels.float() / 255

    def __len__(self) -> int:
        return len(self.labels)


class ImageData(NamedTuple):
    """A loaded dataset; ids are unique over both parts.

    Attributes:
        classes: their number.
        notes: how it was read, one note per line: what was left out and why, how images were decoded. `prepare` shows
            them.
        groups: i64[N], whose each training image is (a person's, for instance), for scenarios that erase by group.
    """

    train: Images
    test: Images
    classes: int
    notes: tuple[str, ...] = ()
    groups: Tensor | None = None


class Splits(NamedTuple):
    """One erasure: what must be forgotten, and the rest of the training data."""

    erased: Images
    remaining: Images
