"""Your own images: a folder with one subfolder per class, or Parquet as Hugging Face's `datasets` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from unlearnbench.datasets._assemble import LabelledPixels, fixed_order, image_data
from unlearnbench.datasets._decode import EncodedImage, decode
from unlearnbench.datasets._folder import list_images
from unlearnbench.datasets._left_out import LeftOut, counted, describe_left_out
from unlearnbench.datasets._locate import check_inside, inside, missing
from unlearnbench.datasets._parquet import EncodedImages, Labels, count_rows, read_column, read_labels, read_rows
from unlearnbench.datasets._shards import check_shards, is_parquet, refuse_same_content, split_files
from unlearnbench.plugin import Dataset, ImageData
from unlearnbench.registry.base import name_of
from unlearnbench.settings.scenario import PluginParams
from unlearnbench.splits.identical_images import first_of_each
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import visible


class ImagesParams(PluginParams):
    """Where the images are and how they are converted."""

    path: str = Field(
        "images",
        description="a folder of images, a folder of Parquet files or one such file; below the data root",
    )
    size: int | None = Field(
        None, ge=1, description="resize to size x size pixels; null: all images must have one size"
    )
    mode: Literal["L", "RGB"] = Field("RGB", description="grey or colour")
    background: Literal["white", "black"] = Field("white", description="what transparent images are laid over")
    test_fraction: float = Field(
        0.2, gt=0, lt=1, description="share of the images that are test images where there is no test split"
    )
    groups: str | None = Field(
        None,
        min_length=1,
        exclude_if=lambda value: value is None,
        description="whose images are, for `erased: group`:"
        " `folder`, where <class>/<group>/*.png says so, or a column of the Parquet files (whole numbers or text)",
    )  # written out only where it is set, so that keys of before it existed stand


class ImageFiles(NamedTuple):
    """The files at a path: Parquet files, or images with their class names; and those that are not read."""

    parquet: bool
    train: list[tuple[Path, str]]
    test: list[tuple[Path, str]]
    left_out: list[LeftOut]

    @property
    def files(self) -> list[Path]:
        return [file for file, _ in (*self.train, *self.test)]


class OwnImages(Dataset):
    """Images from `path`, which is one of

    - a folder: `train/<class>/*.png` and `test/<class>/*.png`, or `<class>/*.png` (also .jpg, .bmp, .webp, .tif, .gif),
    - a folder with `train*.parquet` and, if there is one, `test*.parquet`,
    - a .parquet file.

    With `groups: folder` each class folder has one subfolder per group (`<class>/<group>/*.png`), such as a person; the
    same name under two classes is the same group. Of Parquet files `groups` names the column.

    Labels are the sorted class names (or numbers) of the training images, counted from 0; names that are all numbers
    are sorted as numbers. Without a test split a fixed random `test_fraction` of the images becomes one. `prepare`
    reports what is not read, and how the rest was decoded.
    """

    version: ClassVar[int] = 2
    Params = ImagesParams

    def files(self, root: Path) -> list[Path]:
        files = self._look(self._path(root)).files
        check_inside(root, files)
        return files

    def class_names(self, root: Path) -> list[str]:
        path = self._path(root)
        found = self._look(path)
        return _shown(_labels(found, "train"), path)

    def image_counts(self, root: Path) -> tuple[int, int]:
        path = self._path(root)
        found = self._look(path)
        count = count_rows if found.parquet else len
        train, test = (count([file for file, _ in files]) for files in (found.train, found.test))
        if test or not train:
            return train, test
        return (size := self._training(train, path)), train - size

    def load(self, root: Path) -> ImageData:
        path = self._path(root)
        found = self._look(path)
        if found.parquet:
            refuse_same_content(found.files)
        train, test = (_rows(found, part) for part in ("train", "test"))
        if not train.pictures:
            raise InputError(str(path.absolute()), "holds no images")
        names = _sorted(train.labels.values, path)
        if len(names) < 2:
            raise InputError(str(path.absolute()), "holds images of one class; at least two are needed")
        pictures = [*train.pictures, *test.pictures]
        pixels, how = decode(pictures, self.params.mode, self.params.size, self.params.background)
        folder = path if path.is_dir() else path.parent
        notes = [describe_left_out(found.left_out, folder), f"decoded: {counted(how.items())}"]
        notes += _doubled([picture.where for picture in pictures], pixels, path)
        labels = _numbered([*train.labels.values, *test.labels.values], names, path)
        size, groups = len(train.labels.values), self._groups(found)
        if not test.labels.values:
            size, order = self._split(size, path)
            pixels, labels = pixels[order], labels[order]
            groups = None if groups is None else groups[order]
            notes.append(f"test images: {len(labels) - size} of {len(labels)}, drawn at random, the same everywhere")
        absent = len(names) - len(labels[size:].unique())
        if absent:
            notes.append(f"classes without a test image: {absent}")
        if groups is not None:
            groups = groups[:size]
            numbers = groups.unique(return_counts=True)[1]
            notes.append(f"groups: {len(numbers)}, of {numbers.min()} to {numbers.max()} training images")
        training = LabelledPixels(pixels[:size], labels[:size])
        data = image_data(training, LabelledPixels(pixels[size:], labels[size:]), len(names))
        return data._replace(notes=tuple(notes), groups=groups)

    def prepare(self, root: Path) -> None:
        self.files(root)

    @property
    def has_groups(self) -> bool:
        return self.params.groups is not None

    def _groups(self, found: ImageFiles) -> Tensor | None:
        """i64[n], the group of each image that is not of the test split; numbered in the order of their names."""
        if not self.has_groups:
            return None
        files = [file for file, _ in found.train]
        names = read_column(files, self.params.groups) if found.parquet else [file.parent.name for file in files]
        texts = [str(name) for name in names]
        number = {name: index for index, name in enumerate(sorted(set(texts)))}
        return torch.tensor([number[name] for name in texts])

    def _look(self, path: Path) -> ImageFiles:
        found = _look(path, self.has_groups)
        if not found.parquet and self.params.groups not in (None, "folder"):
            what = f"'{self.params.groups}' is a column of Parquet files, and these are images: set folder"
            raise InputError(f"{name_of(self)}.groups", what)
        return found

    def _path(self, root: Path) -> Path:
        path = inside(self, root, self.params.path)
        if not path.exists():
            raise missing(self, path, "put <class>/*.png or train.parquet there, or set images.path")
        return path

    def _split(self, count: int, path: Path) -> tuple[int, Tensor]:
        return self._training(count, path), torch.from_numpy(fixed_order(count))

    def _training(self, count: int, path: Path) -> int:
        """How many of so many images are training images where there is no test split."""
        test: int = max(1, round(count * self.params.test_fraction))
        if test >= count:
            raise InputError(str(path.absolute()), f"{count} images are too few for test_fraction")
        return count - test


def _look(path: Path, grouped: bool) -> ImageFiles:
    if path.is_file():
        if not is_parquet(path):
            raise InputError(str(path.absolute()), "is neither a folder nor a .parquet file")
        check_shards([path])
        return ImageFiles(True, [(path, "")], [], [])
    files = split_files(path)
    if files.train:
        return ImageFiles(
            True, [(file, "") for file in files.train], [(file, "") for file in files.test], files.left_out
        )
    if any(is_parquet(file) for file in path.iterdir()):
        raise InputError(str(path.absolute()), "holds Parquet files but none named train*.parquet")
    listing = list_images(path, grouped)
    return ImageFiles(False, *listing)


def _rows(found: ImageFiles, part: Literal["train", "test"]) -> EncodedImages:
    files = getattr(found, part)
    if found.parquet:
        return read_rows([file for file, _ in files])
    return EncodedImages([EncodedImage(str(file.absolute()), file) for file, _ in files], _labels(found, part))


def _labels(found: ImageFiles, part: Literal["train", "test"]) -> Labels:
    files = getattr(found, part)
    if found.parquet:
        return read_labels([file for file, _ in files])
    return Labels([name for _, name in files], {})


def _shown(labels: Labels, path: Path) -> list[str]:
    """The class names in the order of their numbers: those that the files define, else the labels themselves."""
    return [
        labels.names.get(label, str(label)) if isinstance(label, int) else label
        for label in _sorted(labels.values, path)
    ]


def _sorted(labels: Sequence[int | str], path: Path) -> list[int | str]:
    """The distinct labels in the order of their class numbers; numbers, also as text, are sorted by size."""
    distinct = set(labels)
    if not all(isinstance(label, int) or (label.isascii() and label.isdecimal()) for label in distinct):
        return sorted(distinct, key=str)
    ordered = sorted(distinct, key=lambda label: (int(label), str(label)))
    twin = next((pair for pair in pairwise(ordered) if int(pair[0]) == int(pair[1])), None)
    if twin is not None:
        raise InputError(str(path.absolute()), f"classes '{twin[0]}' and '{twin[1]}' are the same number; rename one")
    return ordered


def _numbered(labels: Sequence[int | str], names: Sequence[int | str], path: Path) -> Tensor:
    number = {name: index for index, name in enumerate(names)}
    unknown = next((label for label in labels if label not in number), None)
    if unknown is not None:
        raise InputError(str(path.absolute()), f"test images have a class {unknown!r} that no training image has")
    return torch.tensor([number[label] for label in labels])


def _doubled(places: Sequence[str], pixels: Tensor, path: Path) -> list[str]:
    """A note on where the first identical images are."""
    first = first_of_each(pixels).tolist()
    copies = [row for row, earlier in enumerate(first) if earlier != row]
    prefix = f"{path.absolute()}/"
    pairs = [f"{places[row].removeprefix(prefix)} = {places[first[row]].removeprefix(prefix)}" for row in copies[:3]]
    more = [f"{len(copies) - 3} more"] if len(copies) > 3 else []
    return [f"identical: {', '.join(map(visible, [*pairs, *more]))}"] if copies else []
