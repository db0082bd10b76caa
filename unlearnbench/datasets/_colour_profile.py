"""Converts colours to sRGB by the ICC profile in an image, as viewers with colour management do."""

from __future__ import annotations

import io
from collections import Counter
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, features

from unlearnbench.system.errors import InputError

_SAME = 2  # of 255: profiles of sRGB from different sources differ by rounding
_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}


def to_srgb(image: Image.Image, where: str, how: Counter[str]) -> Image.Image:
    """The same image object if its profile is sRGB, whatever the profile's name; else one of mode RGB or RGBA.

    A profile that can't be read, or is for other kinds of colours than the image's, is ignored, as by viewers:
    programs that convert an image often leave the old profile in the file.

    Raises:
        InputError: this Pillow can't convert colours, or a grey image has the profile of a screen unlike sRGB, which
            viewers interpret in different ways.
    """
    if "icc_profile" not in image.info:
        return image
    profile = image.info["icc_profile"] or b""
    colours, alpha = _apart(image)
    if not features.check("littlecms2"):
        raise InputError(
            where, "has a colour profile, which this Pillow can't read (no littlecms2); convert it to sRGB"
        )
    space = _space(profile)
    if space == "RGB" and colours.mode == "L":
        if _is_srgb(profile, "RGB"):
            return image
        raise InputError(where, "is grey with a profile of other colours than sRGB; convert it to sRGB")
    if space != _SPACES[colours.mode] or not _can_convert(profile, colours.mode):
        how["with a colour profile that is unreadable or of other colours, left aside"] += 1
        return image
    if _is_srgb(profile, colours.mode):
        return image
    how["converted to sRGB from their colour profile"] += 1
    converted = _converted(colours, profile)
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _apart(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The image as grey, colours or inks without a palette, and its transparency."""
    alpha = None
    if image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
    if image.mode not in _SPACES:
        image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
    return image, alpha


def _space(profile: bytes) -> str:
    """The colour space that a profile's header names."""
    return profile[16:20].decode("latin-1").strip()


@lru_cache(maxsize=32)
def _can_convert(profile: bytes, mode: str) -> bool:
    from PIL import ImageCms

    try:
        _converted(Image.new(mode, (1, 1)), profile)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False
    return True


@lru_cache(maxsize=32)
def _is_srgb(profile: bytes, mode: str) -> bool:
    """Whether a profile means the same as sRGB: tried on colours from the whole range."""
    if mode == "CMYK" or not _can_convert(profile, mode):
        return False
    colours = _all_over(mode)
    shown = np.asarray(_converted(colours, profile), np.int16)
    return bool(np.abs(shown - np.asarray(colours.convert("RGB"), np.int16)).max() <= _SAME)


def _all_over(mode: str) -> Image.Image:
    """All greys, then colours in steps of 17."""
    greys: npt.NDArray[np.uint8] = np.arange(256, dtype=np.uint8)[None]
    if mode == "L":
        return Image.fromarray(greys)
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    return Image.fromarray(np.concatenate([greys[0][:, None].repeat(3, 1), lattice])[None])


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    """By the profile's perceptual table, viewers' default."""
    from PIL import ImageCms

    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    made = ImageCms.profileToProfile(image, opened, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert made is not None
    return made
