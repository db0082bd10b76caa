"""Rules for datasets."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from unlearnbench.conformance.case import Odd, RaisedError
from unlearnbench.conformance.dataset_case import DatasetCase
from unlearnbench.conformance.rulings import Ruling, failed, passed
from unlearnbench.plugin import ImageData, Images


def lists_files(case: DatasetCase) -> Ruling:
    """`files` lists existing files: their contents are the data's fingerprint."""
    files = case.files(case.setup.data_root)
    advice = "return the paths of all files that load reads, as a list; raise InputError naming one that is missing"
    if isinstance(files, Odd):
        return failed("files returned no list of paths", advice)
    if not files:
        return failed("files lists nothing, so that changed data would not be noticed", advice)
    absent = [file for file in files if not file.is_file()]
    return failed(f"no such file: {absent[0]}", advice) if absent else passed(f"{len(files)} files")


def loads(case: DatasetCase) -> Ruling:
    """Training and test images, and the number of classes."""
    data, lacks = case.loaded.data, case.loaded.lacks
    if lacks is not None:
        return failed(f"{lacks} is not an Images of three tensors", "return Images(pixels, labels, ids)")
    if isinstance(data, Odd):
        return failed(f"load returned {data.type}", "return ImageData(train, test, classes)")
    for name, part in _parts(data):
        if len(part) == 0:
            return failed(
                f"there are no {name} images", "split the images: take a fixed random part of them as the test set"
            )
    return passed(f"{len(data.train)} training and {len(data.test)} test images")


def pixels_are_bytes(case: DatasetCase) -> Ruling:
    """u8[N, C, H, W], training and test images alike."""
    data = _data(case)
    for name, part in _parts(data):
        if part.pixels.dtype != torch.uint8 or part.pixels.dim() != 4 or len(part.pixels) != len(part.labels):
            what = f"{name} pixels are {str(part.pixels.dtype).removeprefix('torch.')}{list(part.pixels.shape)}"
            return failed(what, "give pixels as u8[N, C, H, W], 0 to 255; the harness scales them to [0, 1]")
    if data.train.pixels.shape[1:] != data.test.pixels.shape[1:]:
        return failed("training and test images differ in shape", "resize or crop them to one shape")
    return passed("x".join(str(side) for side in data.train.pixels.shape[1:]))


def labels_are_classes(case: DatasetCase) -> Ruling:
    """i64[N], 0 to classes - 1, each class among the training images."""
    data = _data(case)
    for name, part in _parts(data):
        labels = part.labels
        if labels.dtype != torch.int64 or labels.dim() != 1:
            return failed(f"{name} labels are {labels.dtype}{list(labels.shape)}", "give labels as i64[N]")
        if int(labels.min()) < 0 or int(labels.max()) >= data.classes:
            what = f"{name} labels go from {int(labels.min())} to {int(labels.max())}, classes is {data.classes}"
            return failed(what, "number the classes from 0 to classes - 1")
    absent = data.classes - len(data.train.labels.unique())
    if absent:
        return failed(f"{absent} classes have no training image", "count only classes that have images")
    names = case.class_names
    if isinstance(names, Odd):
        return failed(
            "class_names returned no list of texts", "return the names of classes 0, 1, ..., or an empty list"
        )
    if names and len(names) != data.classes:
        return failed(f"{len(names)} names for {data.classes} classes", "name every class in class_names, or none")
    return passed(f"{data.classes} classes" + (f", named {names[0]} to {names[-1]}" if names else ""))


def counts_its_images(case: DatasetCase) -> Ruling:
    """`image_counts`, if it says anything, says how many images `load` returns."""
    data, counts = _data(case), case.image_counts
    advice = "return the numbers of training and test images that load returns, as a tuple, or None"
    if isinstance(counts, Odd):
        return failed("image_counts returned no pair of whole numbers", advice)
    there = (len(data.train), len(data.test))
    if counts is not None and counts != there:
        return failed(f"image_counts says {counts[0]} and {counts[1]}, load returns {there[0]} and {there[1]}", advice)
    return passed("not stated" if counts is None else f"{counts[0]} and {counts[1]}")


def groups_fit(case: DatasetCase) -> Ruling:
    """i64[N] of the training images, exactly where `has_groups` says so."""
    data = _data(case)
    if data.groups is None:
        if not case.loaded.has_groups:
            return passed("none")
        return failed("has_groups is true, and load returned no tensor of groups", "give ImageData groups=i64[N]")
    if not case.loaded.has_groups:
        return failed("load returned groups, and has_groups is false", "let has_groups return True")
    if data.groups.dtype != torch.int64 or data.groups.shape != data.train.labels.shape:
        what = f"groups are {str(data.groups.dtype).removeprefix('torch.')}{list(data.groups.shape)}"
        return failed(what, "give the group of each training image as i64[N]")
    return passed(f"{len(data.groups.unique())} groups")


def ids_are_in_order(case: DatasetCase) -> Ruling:
    """Training images 0..N-1, test images N..N+M-1."""
    data = _data(case)
    ids = torch.cat([data.train.ids, data.test.ids])
    if ids.dtype == torch.int64 and torch.equal(ids, torch.arange(len(ids))):
        return passed()
    return failed(
        "ids do not count from 0 over training and then test images", "use torch.arange(N), and continue from N"
    )


def misses_files_in_words(case: DatasetCase) -> Ruling:
    """With an empty folder: InputError, unless no files are needed."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("files", "load"):
            try:
                getattr(case, name)(Path(folder))
            except RaisedError as error:
                if error.bad_input is None:
                    what = f"{name} of an empty data folder raised {error.types[0]}"
                    return failed(
                        what, "raise unlearnbench.system.errors.InputError naming the file that is missing or damaged"
                    )
    return passed()


def _data(case: DatasetCase) -> ImageData:
    data = case.loaded.data
    if isinstance(data, Odd):
        raise TypeError(f"load returned {data.type}")
    return data


def _parts(data: ImageData) -> list[tuple[str, Images]]:
    return [("training", data.train), ("test", data.test)]
