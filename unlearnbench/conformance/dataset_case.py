"""A dataset under examination; rules are skipped if its files are missing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unlearnbench.conformance.case import Case, Odd, RaisedError
from unlearnbench.conformance.channel import Message, NamedTensors
from unlearnbench.plugin import ImageData, Images

PART_NAMES = {"train": "training", "test": "test"}
PIXELS = ("uint8", "int8", "int16", "int32", "int64", "bool", "float16", "bfloat16", "float32", "float64")


class Loaded(NamedTuple):
    """The result of loading.

    Attributes:
        data: the images, with pixels that have type and shape only; or a value of another type.
        outcome: all numbers, and a hash of the pixels.
        lacks: the part that is not Images, if there is one; then `data` is odd.
        has_groups: whether the dataset says that its images have groups.
    """

    data: ImageData | Odd
    outcome: NamedTensors
    lacks: str | None = None
    has_groups: bool = False


class DatasetCase(Case):
    """A dataset, which loads its images with the network refused."""

    kind = "dataset"

    @cached_property
    def reason(self) -> str | None:
        try:
            self.files(self.setup.data_root)
        except RaisedError as error:
            if error.bad_input is None:
                raise
            return f"its data is not here: {': '.join(error.bad_input)}"
        return None

    def files(self, root: Path) -> list[Path] | Odd:
        """The files that the dataset says it reads."""
        answer, _ = self.ask("files", root=str(root))
        return Odd.of(answer) or [Path(file) for file in answer["files"]]

    def load(self, root: Path, seed: int | None = None, restore: bool = False) -> Loaded:
        """Load the images; `seed` and `restore`: see `run`."""
        return _loaded(*self.ask("load", root=str(root), seed=seed, restore=restore))

    @cached_property
    def loaded(self) -> Loaded:
        """The result of loading for the first time."""
        return self.load(self.setup.data_root)

    @cached_property
    def class_names(self) -> list[str] | Odd:
        """The dataset's names of its classes."""
        answer, _ = self.ask("class_names", root=str(self.setup.data_root))
        return Odd.of(answer) or [str(name) for name in answer["names"]]

    @cached_property
    def image_counts(self) -> tuple[int, ...] | Odd | None:
        """The numbers of training and test images that the dataset states without loading them; None: it does not."""
        answer, _ = self.ask("image_counts", root=str(self.setup.data_root))
        if (odd := Odd.of(answer)) is not None:
            return odd
        return None if answer["counts"] is None else tuple(int(count) for count in answer["counts"])

    @cached_property
    def first(self) -> NamedTensors:
        return self.loaded.outcome

    def run(self, seed: int | None = None, restore: bool = False) -> NamedTensors:
        return self.load(self.setup.data_root, seed, restore).outcome

    def run_there(self) -> NamedTensors:
        """The numbers that another process loads."""
        question = {"ask": "load", "root": str(self.setup.data_root)}
        return _loaded(*self.noted(*self.other(question))).outcome


def _loaded(answer: Message, tensors: NamedTensors) -> Loaded:
    if (odd := Odd.of(answer)) is not None:
        return Loaded(odd, {})
    classes, parts = int(answer["classes"]), answer["pixels"]
    outcome = {**tensors, "classes": torch.tensor(classes)}
    for name, facts in parts.items():
        outcome[f"{name}.pixels"] = torch.frombuffer(bytearray(str(sorted(facts.items())), "utf-8"), dtype=torch.uint8)
    lacks = next((shown for name, shown in PART_NAMES.items() if name not in parts), None)
    if lacks is not None:
        return Loaded(Odd("ImageData", lacks), outcome, lacks)
    train, test = (_images(parts[name], tensors, name) for name in PART_NAMES)
    data = ImageData(train, test, classes, groups=tensors.get("groups"))
    return Loaded(data, outcome, has_groups=bool(answer["has_groups"]))


def _images(facts: Mapping[str, Any], tensors: NamedTensors, name: str) -> Images:
    if facts["dtype"] not in PIXELS:
        raise ValueError(f"{name} pixels are {facts['dtype']}")
    pixels = torch.empty(facts["shape"], dtype=getattr(torch, facts["dtype"]), device="meta")
    return Images(pixels, tensors[f"{name}.labels"], tensors[f"{name}.ids"])
