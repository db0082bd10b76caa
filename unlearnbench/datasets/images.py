"""Your own images: a folder with one subfolder a class, or Parquet as Hugging Face's `datasets` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from unlearnbench.datasets._assemble import Part, fixed_order, image_data
from unlearnbench.datasets._decode import Picture, decode
from unlearnbench.datasets._folder import list_images
from unlearnbench.datasets._locate import check_inside, inside, missing
from unlearnbench.datasets._parquet import Rows, read_rows, split_files
from unlearnbench.errors import InputError
from unlearnbench.plugin import Dataset, ImageData
from unlearnbench.settings import PluginParams


class ImagesParams(PluginParams):
    """Where the images are and what they are made into."""

    path: str = Field(
        "images",
        description="a folder of images, a folder of Parquet files or one such file; below the data root",
    )
    size: int | None = Field(
        None, ge=1, description="resize to size x size pixels; null: all images must have one size"
    )
    mode: Literal["L", "RGB"] = Field("RGB", description="grey or colour")
    test_fraction: float = Field(
        0.2, gt=0, lt=1, description="share of the images that are test images where there is no test split"
    )


class OwnImages(Dataset):
    """Images from `path`, which is one of

    - a folder: `train/<class>/*.png` and `test/<class>/*.png`, or `<class>/*.png` (also .jpg),
    - a folder with `train*.parquet` and, if there is one, `test*.parquet`,
    - a .parquet file.

    Labels are the sorted class names (or numbers) of the training images, counted from 0. Without a test split a fixed
    random `test_fraction` of the images becomes one.
    """

    Params = ImagesParams

    def files(self, root: Path) -> list[Path]:
        path = self._path(root)
        parquet = _parquet_files(path)
        if parquet is not None:
            files = [*parquet[0], *parquet[1]]
        else:
            listing = list_images(path)
            files = [file for file, _ in (*listing.train, *listing.test)]
        check_inside(root, files)
        return files

    def load(self, root: Path) -> ImageData:
        path = self._path(root)
        parquet = _parquet_files(path)
        if parquet is not None:
            train, test = (read_rows(files) for files in parquet)
        else:
            train, test = (_rows(part) for part in list_images(path))
        if not train.pictures:
            raise InputError(str(path.absolute()), "holds no images")
        names = sorted(set(train.labels), key=_sorting)
        if len(names) < 2:
            raise InputError(str(path.absolute()), "holds images of one class; at least two are needed")
        pixels = decode([*train.pictures, *test.pictures], self.params.mode, self.params.size)
        labels = _numbered([*train.labels, *test.labels], names, path)
        size = len(train.labels)
        if not test.labels:
            size, order = self._split(size, path)
            pixels, labels = pixels[order], labels[order]
        return image_data(Part(pixels[:size], labels[:size]), Part(pixels[size:], labels[size:]), len(names))

    def prepare(self, root: Path) -> None:
        self.files(root)

    def _path(self, root: Path) -> Path:
        path = inside(self, root, self.params.path)
        if not path.exists():
            raise missing(self, path, "put <class>/*.png or train.parquet there, or set images.path")
        return path

    def _split(self, count: int, path: Path) -> tuple[int, Tensor]:
        test = max(1, round(count * self.params.test_fraction))
        if test >= count:
            raise InputError(str(path.absolute()), f"{count} images are too few for test_fraction")
        return count - test, torch.from_numpy(fixed_order(count))


def _parquet_files(path: Path) -> tuple[list[Path], list[Path]] | None:
    """The files of both splits (the second may be empty), or None if `path` is a folder of images."""
    if path.is_file():
        if path.suffix != ".parquet":
            raise InputError(str(path.absolute()), "is neither a folder nor a .parquet file")
        return [path], []
    train, test = split_files(path)
    if train:
        return train, test
    if any(path.glob("*.parquet")):
        raise InputError(str(path.absolute()), "holds Parquet files but none named train*.parquet")
    return None


def _rows(files: Sequence[tuple[Path, str]]) -> Rows:
    return Rows([Picture(str(file.absolute()), file) for file, _ in files], [name for _, name in files])


def _sorting(label: int | str) -> tuple[int, str]:
    """Numbers by size, names by spelling."""
    return (label, "") if isinstance(label, int) else (0, label)


def _numbered(labels: Sequence[int | str], names: Sequence[int | str], path: Path) -> Tensor:
    number = {name: index for index, name in enumerate(names)}
    unknown = next((label for label in labels if label not in number), None)
    if unknown is not None:
        raise InputError(str(path.absolute()), f"test images have a class {unknown!r} that no training image has")
    return torch.tensor([number[label] for label in labels])
