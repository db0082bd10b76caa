"""Decodes image files with Pillow as a viewer would show them, or refuses them by name."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from unlearnbench.datasets._colour_profile import to_srgb
from unlearnbench.datasets._locate import damaged
from unlearnbench.datasets._stored import Stored, look
from unlearnbench.system.errors import InputError
from unlearnbench.system.regular_files import read

# The formats for which everything that pixels depend on is checked; Pillow reads more, and runs programs for EPS.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_ORIENTATION, _EXIF, _INTEROPERABILITY = 0x0112, 0x8769, 0xA005  # EXIF's tags
_ADOBE_RGB = "R03"


class EncodedImage(NamedTuple):
    """An encoded image: its file, or its bytes with a name for errors."""

    where: str
    source: Path | bytes


class Decoded(NamedTuple):
    """Images u8[N, C, H, W], and how many were stored or changed in which way."""

    pixels: Tensor
    how: Counter[str]


def decode(pictures: Sequence[EncodedImage], mode: str, size: int | None, background: str | None = None) -> Decoded:
    """Decode images of one size.

    Transparent images are laid over the background; images with an orientation tag are turned accordingly; 12 and 16
    bits are scaled to 8; colours with a profile become sRGB, and colours become grey by ITU-R 601.

    Args:
        pictures: N >= 1 encoded images.
        mode: Pillow's "L" (grey) or "RGB", to which every image is converted.
        size: resize to size x size pixels; None: all images must have the first one's size.
        background: colour; None: images must not be transparent.

    Raises:
        InputError: names the first image that can't be decoded, or has several frames, another size, or numbers whose
            meaning is unknown.
    """
    how: Counter[str] = Counter()
    with _whole_files_only():
        first = _decode_one(pictures[0], mode, size, background, how)
        pixels = np.empty((len(pictures), *first.shape), np.uint8)
        pixels[0] = first
        for index, picture in enumerate(pictures[1:], start=1):
            image = _decode_one(picture, mode, size, background, how)
            if image.shape != first.shape:
                raise InputError(
                    picture.where,
                    f"is {image.shape[2]} x {image.shape[1]} pixels, {pictures[0].where} is"
                    f" {first.shape[2]} x {first.shape[1]}; give `size` to resize all",
                )
            pixels[index] = image
    return Decoded(torch.from_numpy(pixels), how)


def _decode_one(
    picture: EncodedImage, mode: str, size: int | None, background: str | None, how: Counter[str]
) -> npt.NDArray[np.uint8]:
    content = picture.source if isinstance(picture.source, bytes) else read(picture.source)
    source = io.BytesIO(content)
    try:
        with Image.open(source, formats=_FORMATS) as opened:
            stored = look(opened, content, picture.where, how)
            opened.load()
            how[f"stored as {opened.mode}"] += 1
            image = _upright(_eight_bits(opened, stored, picture.where, how), how)
            image = to_srgb(image, picture.where, how)
            image = _flat(image, picture.where, background, how).convert(mode)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(
            picture.where,
            f"not a readable image: none of {', '.join(_FORMATS)}, or damaged; convert it or get it again",
        ) from error
    except Exception as error:  # decoders raise all kinds of errors on a damaged file
        raise damaged(picture.where, f"not a readable image ({error})") from error
    if size is not None and image.size != (size, size):
        how[f"resized to {size}x{size}"] += 1
        if image.width != image.height:
            how["of these not square before, hence stretched"] += 1
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    array = np.asarray(image, np.uint8)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _eight_bits(opened: Image.Image, stored: Stored, where: str, how: Counter[str]) -> Image.Image:
    """Scale grey of 12 or 16 bits to 8; Pillow by itself would clip it at 255."""
    # Pillow reads grey PNG and PPM of 16 bits as 32-bit numbers too, with white at 65,535.
    is_deep = opened.mode.startswith("I;16") or (opened.mode == "I" and opened.format in ("PNG", "PPM"))
    if not is_deep:
        if opened.mode.startswith(("I", "F")):
            raise InputError(
                where, f"holds numbers of 32 bits (mode {opened.mode}), whose white is not known; convert it"
            )
        return opened
    values = np.asarray(opened).astype(np.int64)
    if values.min() < 0 or values.max() > stored.white:
        raise InputError(where, f"not all its numbers are from 0 to {stored.white}; convert it")
    how[f"{stored.white.bit_length()} bits scaled to 8"] += 1
    if stored.is_ink:
        values = stored.white - values
    image = Image.fromarray(((values * 255 + stored.white // 2) // stored.white).astype(np.uint8))
    image.info = {key: opened.info[key] for key in ("exif", "icc_profile") if key in opened.info}
    return image


def _upright(image: Image.Image, how: Counter[str]) -> Image.Image:
    """Turn an image as its EXIF tag says; an unreadable tag is ignored, as by viewers."""
    try:
        exif = image.getexif()
        turned = exif.get(_ORIENTATION, 1) in range(2, 9)
        more = _INTEROPERABILITY in exif.get_ifd(_EXIF)
        is_adobe = more and exif.get_ifd(_INTEROPERABILITY).get(1) == _ADOBE_RGB
    except Exception:
        how["with an unreadable EXIF tag"] += 1
        return image
    if is_adobe and "icc_profile" not in image.info:
        how["of Adobe RGB by an EXIF tag, taken for sRGB as by most viewers"] += 1
    if not turned:
        return image
    how["turned as their EXIF tag says"] += 1
    return ImageOps.exif_transpose(image)


def _flat(image: Image.Image, where: str, background: str | None, how: Counter[str]) -> Image.Image:
    """Lay a transparent image over the background."""
    if not image.has_transparency_data:
        return image
    clear = image.convert("RGBA")
    if clear.getchannel("A").getextrema() == (255, 255):  # it could be transparent, but nowhere is
        return clear.convert("RGB")
    if background is None:
        raise InputError(where, "is transparent in places, which no image of this dataset is")
    how[f"transparent, laid over {background}"] += 1
    return Image.alpha_composite(Image.new("RGBA", clear.size, background), clear).convert("RGB")


@contextmanager
def _whole_files_only() -> Iterator[None]:
    """Override a process-wide setting of Pillow that fills in grey what a truncated file lacks."""
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
