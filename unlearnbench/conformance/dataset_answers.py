"""What the subject answers of a dataset: labels and ids as they are, of the pixels their hash, type and shape."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearnbench.conformance.channel import Told
from unlearnbench.conformance.subject import Answer, Subject, odd
from unlearnbench.plugin import ImageData, Images


def _files(subject: Subject, told: Told, *_: Any) -> Answer:
    files = subject.watched(subject.plugin.files, Path(told["root"]))
    if not isinstance(files, list) or not all(isinstance(file, Path) for file in files):
        return odd(files), {}
    return {"files": [str(file.absolute()) for file in files]}, {}


def _class_names(subject: Subject, told: Told, *_: Any) -> Answer:
    names = subject.watched(subject.plugin.class_names, Path(told["root"]))
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return odd(names), {}
    return {"names": list(names)}, {}


def _load(subject: Subject, told: Told, *_: Any) -> Answer:
    data = subject.run(told, subject.plugin.load, Path(told["root"]))
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
    return {"classes": int(data.classes), "pixels": pixels}, tensors


ANSWERS = {"files": _files, "class_names": _class_names, "load": _load}
