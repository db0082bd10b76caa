"""Images that occur more than once, pixel by pixel: counted, left out on request, and refused where a member would also
be a never-seen image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unlearnbench.splits.images import ImageData, Images
from unlearnbench.system.errors import InputError

REMEDY = "scenario.duplicates: drop leaves later copies out (--set duplicates=drop)"
_KEY = 20_250_611  # of the random factors by which images are hashed; any will do
_AT_A_TIME = 4_096


class Copies(NamedTuple):
    """How many images are copies of an earlier one, with training images before test images.

    Attributes:
        train: training images identical to an earlier training image.
        test: test images identical to an earlier test image and to no training image.
        across: test images identical to a training image.
        relabelled: those of all these whose label differs from that of the first copy.
    """

    train: int
    test: int
    across: int
    relabelled: int

    def __str__(self) -> str:
        parts = [
            _counted(self.train, "training image repeats an earlier one", "training images repeat earlier ones"),
            _counted(self.test, "test image repeats an earlier one", "test images repeat earlier ones"),
            _counted(self.across, "test image is a training image too", "test images are training images too"),
            _counted(self.relabelled, "of these has another label", "of these have other labels"),
        ]
        return ", ".join(part for part in parts if part) or "none"


def first_of_each(pixels: Tensor) -> Tensor:
    """i64[N]: for each of u8[N, C, H, W] the first image identical to it, which may be itself."""
    words = _words(pixels)
    if not len(words):
        return torch.zeros(0, dtype=torch.int64)
    # Identical images have the same sum; among the few with equal sums every byte is compared.
    factors = np.random.Philox(key=_KEY).random_raw(words.shape[1]) | np.uint64(1)
    sums = np.concatenate([(some * factors).sum(1) for some in np.array_split(words, -(-len(words) // _AT_A_TIME))])
    order = np.argsort(sums, kind="stable")
    bounds = np.flatnonzero(np.r_[True, np.diff(sums[order]) != 0, True])
    first = np.arange(len(words))
    for group in np.flatnonzero(np.diff(bounds) > 1):
        alike = order[bounds[group] : bounds[group + 1]]
        _, firsts, kinds = np.unique(words[alike], axis=0, return_index=True, return_inverse=True)
        first[alike] = alike[firsts[kinds.ravel()]]
    return torch.from_numpy(first)


def count(data: ImageData) -> Copies:
    """How many images of a dataset occur more than once."""
    size, first = len(data.train), _first_of_both(data)
    labels = torch.cat([data.train.labels, data.test.labels])
    copy, of_train = first != torch.arange(len(first)), first < size
    return Copies(
        int(copy[:size].sum()),
        int((copy & ~of_train)[size:].sum()),
        int((copy & of_train)[size:].sum()),
        int((labels != labels[first]).sum()),
    )


def without_copies(data: ImageData) -> ImageData:
    """The images without copies of earlier ones; test images that are also training images are left out."""
    size, first = len(data.train), _first_of_both(data)
    kept = first == torch.arange(len(first))
    train, test = kept[:size].nonzero().flatten(), kept[size:].nonzero().flatten()
    if not len(test):
        raise InputError("scenario.duplicates", "'drop' leaves no test image: each is a training image too")
    groups = None if data.groups is None else data.groups[train]
    return data._replace(train=data.train.take(train), test=data.test.take(test), groups=groups)


def refuse_shared(train: Images, parts: Mapping[str, Tensor], erased: Tensor) -> None:
    """Refuse sets of a leak experiment whose ground truth would be wrong.

    Args:
        train: the training images.
        parts: rows of `target` and of the parts that the target is not trained on.
        erased: ids of all erased images.

    Raises:
        InputError: an image that the target is trained on is identical to a never-seen one, or an erased image to
            another one that the target is trained on and keeps.
    """
    first = first_of_each(train.pixels)
    members = parts["target"].cpu()
    for name, rows in parts.items():
        others = rows.cpu()
        shared = others[torch.isin(first[others], first[members])] if name != "target" else others[:0]
        if len(shared):
            member = members[first[members] == first[shared[0]]][0]
            what = f"image {train.ids[shared[0]]}, never seen ('{name}'), is identical to image {train.ids[member]}"
            raise InputError("scenario.leak", f"{what}, which is trained on{_others(len(shared))}; {REMEDY}")
    kinds, counts = first[members].unique(return_counts=True)
    twins = members[torch.isin(first[members], kinds[counts > 1])]
    doubled = twins[torch.isin(train.ids[twins].cpu(), erased.flatten().cpu())]
    if len(doubled):
        other = next(row for row in twins if first[row] == first[doubled[0]] and row != doubled[0])
        what = f"image {train.ids[doubled[0]]} is erased, and image {train.ids[other]}, which is trained on too, is"
        raise InputError("scenario.leak", f"{what} identical to it{_others(len(doubled))}; {REMEDY}")


def refuse_shared_challenge(members: Images, others: Images) -> None:
    """The same for an attack on one model: no member may be among the non-members."""
    first = first_of_each(torch.cat([members.pixels, others.pixels]))
    size = len(members)
    shared = (first[size:] < size).nonzero().flatten()
    if len(shared):
        other, member = others.ids[shared[0]], members.ids[first[size + shared[0]]]
        what = f"image {other}, said to be never seen, is identical to image {member}, which is trained on"
        raise InputError("scenario.attack_images", f"{what}{_others(len(shared))}; {REMEDY}")


def _others(found: int) -> str:
    return f" ({found} such pairs)" if found > 1 else ""


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}" if number else ""


def _first_of_both(data: ImageData) -> Tensor:
    if data.train.pixels.shape[1:] != data.test.pixels.shape[1:]:  # nothing to compare
        return torch.cat([first_of_each(data.train.pixels), first_of_each(data.test.pixels) + len(data.train)])
    return first_of_each(torch.cat([data.train.pixels, data.test.pixels]))


def _words(pixels: Tensor) -> npt.NDArray[np.uint64]:
    """Each image's bytes as 64-bit words, padded with zeros."""
    rows = pixels.cpu().flatten(1).contiguous().numpy()
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 8))) if rows.shape[1] % 8 else rows
    return padded.view(np.uint64)
