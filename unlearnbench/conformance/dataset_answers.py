"""The subject's answers about a dataset: labels, ids and groups themselves; hash, type and shape of the pixels."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearnbench.conformance.channel import Message
from unlearnbench.conformance.subject import Reply, Subject, odd
from unlearnbench.plugin import ImageData, Images


def files(subject: Subject, question: Message, *_: Any) -> Reply:
    files = subject.watched(subject.plugin.files, Path(question["root"]))
    if not isinstance(files, list) or not all(isinstance(file, Path) for file in files):
        return odd(files), {}
    return {"files": [str(file.absolute()) for file in files]}, {}


def class_names(subject: Subject, question: Message, *_: Any) -> Reply:
    names = subject.watched(subject.plugin.class_names, Path(question["root"]))
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return odd(names), {}
    return {"names": list(names)}, {}


def image_counts(subject: Subject, question: Message, *_: Any) -> Reply:
    counts = subject.watched(subject.plugin.image_counts, Path(question["root"]))
    if counts is None:
        return {"counts": None}, {}
    if not isinstance(counts, tuple) or len(counts) != 2 or not all(type(count) is int for count in counts):
        return odd(counts), {}
    return {"counts": list(counts)}, {}


def load(subject: Subject, question: Message, *_: Any) -> Reply:
    data = subject.run(question, subject.plugin.load, Path(question["root"]))
    if not isinstance(data, ImageData):
        return odd(data), {}
    pixels: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for name in ("train", "test"):
        part = getattr(data, name)
        if isinstance(part, Images) and all(isinstance(value, Tensor) for value in vars(part).values()):
            value = part.pixels.detach().cpu().contiguous()
            digest = hashlib.sha256(value.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
            pixels[name] = {
                "dtype": str(value.dtype).removeprefix("torch."),
                "shape": list(value.shape),
                "hash": digest,
            }
            tensors |= {f"{name}.labels": part.labels, f"{name}.ids": part.ids}
    if isinstance(data.groups, Tensor):
        tensors["groups"] = data.groups
    return {"classes": int(data.classes), "pixels": pixels, "has_groups": bool(subject.plugin.has_groups)}, tensors
