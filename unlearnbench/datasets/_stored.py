"""What a file says about the meaning of its numbers; it is refused by name where Pillow would misread them.

Pillow reads ordinary files as every viewer does. These are the properties of formats that it ignores although pixels
depend on them; docs/tutorial/own_dataset.md lists all that are checked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from PIL import Image, ImageFile, TiffImagePlugin
from PIL.ExifTags import Base as Tag

from unlearnbench.system.errors import InputError

_GAMMA = 1 / 2.2  # of a PNG whose numbers are those of an ordinary screen
_SRGB_CORNERS = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # white, red, green, blue: x and y
_SRGB_CODES = bytes((1, 13, 0, 1))  # cICP: primaries, transfer, matrix, full range
_CALIBRATED, _PROFILES = 0, (b"LINK"[::-1], b"MBED"[::-1])  # BMP: colour spaces that the header itself describes


class Stored(NamedTuple):
    """What is needed once pixels of more than 8 bits are decoded: the largest number, and whether numbers are ink."""

    white: int = 65_535
    is_ink: bool = False


class _File(NamedTuple):
    """An opened image, the bytes it was opened from, and its name for errors."""

    opened: Image.Image
    content: bytes
    where: str


def look(opened: Image.Image, content: bytes, where: str, how: Counter[str]) -> Stored:
    """Look at an image that is opened and not yet decoded.

    Raises:
        InputError: names the property that would give other pixels than a viewer's.
    """
    _refuse_frames(opened, where)
    check = _CHECKS.get(opened.format or "")
    if check is not None:
        check(_File(opened, content, where))
    if opened.mode in ("RGB", "RGBA", "CMYK", "LA") and _is_deep(opened):
        how["16 bits a colour scaled to 8"] += 1
    if not isinstance(opened, TiffImagePlugin.TiffImageFile):
        return Stored()
    if opened.tag_v2.get(Tag.Orientation, 1) in range(2, 9):  # Pillow turns it while it decodes
        how["turned as their EXIF tag says"] += 1
    bits = opened.tag_v2.get(Tag.BitsPerSample, (1,))
    return Stored(2 ** max(bits) - 1, is_ink=opened.tag_v2.get(Tag.PhotometricInterpretation) == 0)


def _refuse_frames(opened: Image.Image, where: str) -> None:
    """Refuse animations and several pages: only one would be read. A camera's MPO is one picture."""
    frames = getattr(opened, "n_frames", 1)
    if frames > 1 and opened.format != "MPO":
        raise InputError(where, f"holds {frames} frames or pages; give each image a file of its own")


def _is_deep(opened: Image.Image) -> bool:
    """Whether colours have 16 bits each: Pillow's decoders get this as an argument, and return 8."""
    if opened.format not in ("PNG", "PPM", "TIFF"):
        return False
    return any(
        ";16" in word if isinstance(word, str) else opened.format == "PPM" and word > 255
        for _, _, _, words in _tiles(opened)
        for word in (words if isinstance(words, tuple) else (words,))
    )


def _tiles(opened: Image.Image) -> list[tuple[str, tuple[int, ...], int, Any]]:
    """Pillow's decoding plan: the decoder, its box in the picture, its offset in the file, and its arguments."""
    assert isinstance(opened, ImageFile.ImageFile)
    return [(tile[0], tuple(tile[1] or ()), tile[2], tile[3]) for tile in opened.tile]


def _png(file: _File) -> None:
    chunks = _png_chunks(file.content)
    depth, colour = chunks[b"IHDR"][8:10]
    if b"tRNS" in chunks and colour in (0, 2):  # one colour, not a palette's list
        _see_through(file.opened, depth, file.where)
    if chunks.get(b"cICP", _SRGB_CODES) != _SRGB_CODES:
        raise InputError(file.where, "is of another colour space than sRGB (PNG chunk cICP); convert it to sRGB")
    if b"sRGB" in chunks or b"iCCP" in chunks:  # these take precedence over what follows
        return
    gamma = int.from_bytes(chunks.get(b"gAMA", b""), "big") / 100_000
    if gamma and abs(gamma / _GAMMA - 1) > 0.05:  # libpng's threshold too
        raise InputError(
            file.where,
            f"says that its gamma is {gamma:g}, so that viewers show other numbers (PNG chunk gAMA); convert it to"
            " sRGB, or remove the chunk if it is wrong",
        )
    corners = [int.from_bytes(chunks.get(b"cHRM", b"")[at : at + 4], "big") / 100_000 for at in range(0, 32, 4)]
    differ = any(abs(corner - usual) > 0.01 for corner, usual in zip(corners, _SRGB_CORNERS, strict=True))
    if b"cHRM" in chunks and differ and colour not in (0, 4):  # grey has no primary colours
        raise InputError(file.where, "has other primary colours than sRGB (PNG chunk cHRM); convert it to sRGB")


def _png_chunks(content: bytes) -> dict[bytes, bytes]:
    """The chunks before the pixels."""
    found: dict[bytes, bytes] = {}
    at = 8
    while at + 8 <= len(content) and content[at + 4 : at + 8] != b"IDAT":
        size = int.from_bytes(content[at : at + 4], "big")
        found.setdefault(content[at + 4 : at + 8], content[at + 8 : at + 8 + size])
        at += size + 12
    return found


def _see_through(opened: Image.Image, depth: int, where: str) -> None:
    """Convert the transparent colour to 8 bits, which Pillow compares it in."""
    if depth == 16:
        raise InputError(where, "16 bits a pixel with a transparent colour (PNG chunk tRNS); convert it")
    colour = opened.info["transparency"]
    if max(colour if isinstance(colour, tuple) else (colour,)) > 255:
        raise InputError(where, "has a transparent colour that no pixel can have (PNG chunk tRNS); convert it")
    if depth in (2, 4) and colour < 2**depth:  # larger: this Pillow has scaled it already
        opened.info["transparency"] = colour * (255 // (2**depth - 1))


def _jpeg(file: _File) -> None:
    if file.opened.mode == "CMYK" and "adobe" not in file.opened.info:
        raise InputError(file.where, "four inks and no word on whether 0 is none or all (no Adobe marker); convert it")


def _gif(file: _File) -> None:
    if (
        any(box != (0, 0, *file.opened.size) for _, box, _, _ in _tiles(file.opened))
        and "transparency" not in file.opened.info
    ):
        raise InputError(
            file.where, "its picture is smaller than its canvas, and what is beyond has no colour; convert it"
        )


def _bmp(file: _File) -> None:
    size = int.from_bytes(file.content[14:18], "little")
    if size < 108:  # no colour space in the header
        return
    space, corners = file.content[70:74], file.content[74:122]
    if space in _PROFILES or (int.from_bytes(space, "little") == _CALIBRATED and any(corners)):
        raise InputError(
            file.where, "is of a colour space of its own (header of BMP version 4 or 5); convert it to sRGB"
        )


def _ppm(file: _File) -> None:
    kind = file.content[:2]
    if re.match(rb"P[1-6]\s|P[1-6]#|Pf\s", file.content) is None:
        raise InputError(file.where, "is of a format that only Pillow knows; convert it")
    decoder, _, offset, _ = _tiles(file.opened)[0]
    width, height, colours = *file.opened.size, len(file.opened.getbands())
    rest = file.content[offset:]
    if decoder == "ppm_plain":
        rest = re.sub(rb"#[^\r\n]*", b"", rest)
        numbers = len(b"".join(rest.split())) if kind == b"P1" else len(rest.split())
        more = numbers > width * height * colours
    else:
        wide = 4 if kind == b"Pf" else 2 if file.opened.mode == "I" or _is_deep(file.opened) else 1
        row = (width + 7) // 8 if kind == b"P4" else width * colours * wide
        more = bool(rest[row * height :].strip())
    if more:
        raise InputError(file.where, "holds more than one image; give each image a file of its own")


def _tiff(file: _File) -> None:
    assert isinstance(file.opened, TiffImagePlugin.TiffImageFile)
    tags = file.opened.tag_v2
    bits = tags.get(Tag.BitsPerSample, (1,))
    samples, meaning = tags.get(Tag.SamplesPerPixel, 1), tags.get(Tag.PhotometricInterpretation)
    colours = tags.get(Tag.ColorMap, ())
    wrong = {
        "says not whether 0 is black or white (no PhotometricInterpretation)": meaning is None,
        "holds signed numbers, whose black is not known": 2 in tags.get(Tag.SampleFormat, (1,)) and max(bits) < 32,
        "holds Lab colours": meaning == 8,
        "holds YCbCr colours that are not compressed": meaning == 6
        and (tags.get(Tag.Compression, 1) == 1 or samples != 3),
        "holds planes of colours that are no RGB or CMYK of 8 bits": tags.get(Tag.PlanarConfiguration, 1) == 2
        and (samples > 1 and (max(bits) != 8 or file.opened.mode not in ("RGB", "CMYK"))),
        "four samples a pixel and no word on what the fourth is (no ExtraSamples)": (meaning, samples) == (2, 4)
        and Tag.ExtraSamples not in tags,
        "holds grey multiplied by its transparency": file.opened.mode == "La",
        "holds inks that are not CMYK (InkSet)": meaning == 5 and tags.get(Tag.InkSet, 1) != 1,
        "has a palette of 8 bits where one of 16 belongs": any(colours) and max(colours) < 256,
    }
    found = next((what for what, is_so in wrong.items() if is_so), None)
    if found is not None:
        raise InputError(file.where, f"{found}; convert it")


_CHECKS: dict[str, Callable[[_File], None]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "MPO": _jpeg,
    "GIF": _gif,
    "BMP": _bmp,
    "PPM": _ppm,
    "TIFF": _tiff,
}
