"""Decoding image files with Pillow."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from unlearnbench.datasets._locate import damaged
from unlearnbench.errors import InputError
from unlearnbench.regular_files import read


class Picture(NamedTuple):
    """An encoded image: its file, or its bytes with a name for errors."""

    where: str
    source: Path | bytes


def decode(pictures: Sequence[Picture], mode: str, size: int | None) -> Tensor:
    """Decode images of one size.

    Args:
        pictures: N >= 1 encoded images.
        mode: Pillow's "L" (grey) or "RGB", to which every image is converted.
        size: resize to size x size pixels; None: all images must have the first one's size.

    Returns:
        u8[N, C, H, W].

    Raises:
        InputError: naming the first image that can't be decoded or has another size.
    """
    first = _decode_one(pictures[0], mode, size)
    pixels = np.empty((len(pictures), *first.shape), np.uint8)
    pixels[0] = first
    for index, picture in enumerate(pictures[1:], start=1):
        image = _decode_one(picture, mode, size)
        if image.shape != first.shape:
            raise InputError(
                picture.where,
                f"is {image.shape[2]} x {image.shape[1]} pixels, {pictures[0].where} is"
                f" {first.shape[2]} x {first.shape[1]}; give `size` to resize all",
            )
        pixels[index] = image
    return torch.from_numpy(pixels)


def _decode_one(picture: Picture, mode: str, size: int | None) -> npt.NDArray[np.uint8]:
    content = picture.source if isinstance(picture.source, bytes) else read(picture.source)
    source = io.BytesIO(content)
    try:
        with Image.open(source) as opened:
            if opened.mode.startswith(("I", "F")):  # 16 or 32 bits a pixel, which Pillow would clip at 255
                raise InputError(picture.where, f"has more than 8 bits a pixel (mode {opened.mode})")
            image = opened.convert(mode)
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever they stumble over in a damaged file
        raise damaged(picture.where, f"not a readable image ({error})") from error
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    array = np.asarray(image, np.uint8)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
