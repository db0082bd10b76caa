"""What pixels depend on beyond their numbers, by format: converted, or refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from unlearnbench.datasets._decode import EncodedImage, decode
from unlearnbench.system.errors import InputError

WHITE_GREY_BLACK = np.array([[65_535, 32_768, 0, 0]], np.uint16)


def encoded(image: Image.Image, format: str = "PNG", **how: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **how)
    return stream.getvalue()


def shown(content: bytes, mode: str = "L") -> list[Any]:
    """The pixels of the first row: numbers, or [red, green, blue]."""
    pixels = decode([EncodedImage("here", content)], mode, None, "white").pixels[0, :, 0]
    return (pixels[0] if mode == "L" else pixels.T).tolist()  # type: ignore[no-any-return]


def how(content: bytes, mode: str = "RGB") -> dict[str, int]:
    return dict(decode([EncodedImage("here", content)], mode, None, "white").how)


def refused(content: bytes, why: str) -> None:
    with pytest.raises(InputError, match=f"here: .*{why}"):
        shown(content)


def tiff(
    data: bytes, *, width: int = 4, more: dict[int, tuple[int, ...]] | None = None, order: str = "<", strips: int = 1
) -> bytes:
    """One row; `more` has tags of 16 bits over those of plain grey bytes, empty ones left out."""
    size = len(data) // strips
    tags: dict[int, tuple[int, ...]] = {
        256: (width,), 257: (1,), 258: (8,), 259: (1,), 262: (1,), 277: (1,), 278: (1,), 279: (size,) * strips,
    }  # fmt: skip
    tags |= {273: (0,) * strips} | (more or {})
    tags = {tag: tags[tag] for tag in sorted(tags) if tags[tag]}
    long_at = 8 + 2 + 12 * len(tags) + 4
    data_at = long_at + sum(2 * len(values) for values in tags.values() if len(values) > 2)
    tags[273] = tuple(data_at + size * strip for strip in range(strips))
    entries = long_values = b""
    for tag, values in tags.items():
        packed = struct.pack(f"{order}{len(values)}H", *values)
        if len(packed) > 4:
            where = struct.pack(f"{order}I", long_at + len(long_values))
            long_values, packed = long_values + packed, where
        entries += struct.pack(f"{order}HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return start + entries + bytes(4) + long_values + data


def png(raw: bytes, *chunks: tuple[bytes, bytes], depth: int = 8, colour: int = 0, width: int = 2) -> bytes:
    """One row."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (header, *chunks, (b"IDAT", zlib.compress(b"\0" + raw)), (b"IEND", b""))
    )


def packed(values: Sequence[int], bits: int) -> bytes:
    text = "".join(f"{value:0{bits}b}" for value in values)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


# TIFF


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
@pytest.mark.parametrize("compression", [1, 8])
def test_a_tiff_of_any_depth_is_white_where_it_says_white(bits: int, compression: int) -> None:
    most = 2**bits - 1
    values = [most, most // 2, 0, most]
    data = np.array(values, "<u2").tobytes() if bits == 16 else packed(values, bits)
    data = zlib.compress(data) if compression == 8 else data
    grey = round(255 * (most // 2) / most)
    content = tiff(data, more={258: (bits,), 259: (compression,)})
    assert shown(content) == [255, grey, 0, 255]
    assert how(content).get(f"{bits} bits scaled to 8") == (1 if bits > 8 else None)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("compression", [1, 8])
def test_a_tiff_whose_zero_is_white_is_inverted(bits: int, compression: int) -> None:
    most = 2**bits - 1
    data = WHITE_GREY_BLACK.astype("<u2").tobytes() if bits == 16 else packed([most, most // 2 + 1, 0, 0], bits)
    data = zlib.compress(data) if compression == 8 else data
    pixels = shown(tiff(data, more={258: (bits,), 259: (compression,), 262: (0,)}))
    assert pixels == [0, int(255 * (most // 2) / most + 0.5 * (bits == 16)), 255, 255]


def test_a_tiff_of_the_other_byte_order_and_of_the_other_bit_order_is_read() -> None:
    assert shown(tiff(WHITE_GREY_BLACK.astype(">u2").tobytes(), more={258: (16,)}, order=">")) == [255, 128, 0, 0]
    assert shown(tiff(bytes([0b00000001, 0b10000000, 255, 0]), more={266: (2,)})) == [128, 1, 255, 0]


def test_a_tiff_that_pillow_turns_is_counted_as_turned() -> None:
    for more in ({}, {258: (16,)}):
        data = WHITE_GREY_BLACK.astype("<u2").tobytes() if more else bytes(4)
        content = tiff(data, more={274: (6,)} | more)
        assert how(content)["turned as their EXIF tag says"] == 1
        assert decode([EncodedImage("here", content)], "L", None).pixels.shape == (1, 1, 4, 1)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({262: ()}, "says not whether 0 is black or white"),
        ({339: (2,)}, "holds signed numbers"),
        ({339: (2,), 258: (16,)}, "holds signed numbers"),
        ({339: (3,), 258: (32,)}, r"holds numbers of 32 bits \(mode F\)"),
        ({258: (32,)}, r"holds numbers of 32 bits \(mode I\)"),
        ({262: (8,), 277: (3,), 258: (8, 8, 8)}, "holds Lab colours"),
        ({262: (6,), 277: (3,), 258: (8, 8, 8)}, "holds YCbCr colours that are not compressed"),
        ({262: (2,), 277: (3,), 258: (16, 16, 16), 284: (2,)}, "holds planes of colours that are no RGB or CMYK of 8"),
        ({262: (2,), 277: (4,), 258: (8, 8, 8, 8), 338: (1,), 284: (2,)}, "holds planes of colours"),
        ({262: (2,), 277: (4,), 258: (8, 8, 8, 8)}, "no word on what the fourth is"),
        ({277: (2,), 258: (8, 8), 338: (1,)}, "(holds grey multiplied by its transparency|not a readable image)"),
        ({262: (5,), 277: (4,), 258: (8, 8, 8, 8), 332: (2,)}, "holds inks that are not CMYK"),
        ({262: (3,), 320: tuple(range(256)) * 3}, "has a palette of 8 bits where one of 16 belongs"),
    ],
)
def test_a_tiff_whose_numbers_may_mean_anything_is_refused(more: dict[int, tuple[int, ...]], why: str) -> None:
    refused(tiff(bytes(range(64)), more=more), why)


def test_the_layouts_of_a_tiff_are_one_picture() -> None:
    red_green = [[255, 0, 0], [0, 255, 0]]
    rgb = {262: (2,), 277: (3,), 258: (8, 8, 8)}
    assert shown(tiff(bytes([255, 0, 0, 0, 255, 0]), width=2, more=rgb), "RGB") == red_green
    deep = np.array(red_green, "<u2") * 257
    content = tiff(deep.tobytes(), width=2, more={**rgb, 258: (16, 16, 16)})
    assert shown(content, "RGB") == red_green
    assert how(content)["16 bits a colour scaled to 8"] == 1
    unused = {262: (2,), 277: (4,), 258: (8, 8, 8, 8), 338: (0,)}
    assert shown(tiff(bytes([255, 0, 0, 9, 0, 255, 0, 0]), width=2, more=unused), "RGB") == red_green
    palette = {262: (3,), 320: (65_535, 0, *[0] * 254, 0, 65_535, *[0] * 254, *[0] * 256)}
    assert shown(tiff(bytes([0, 1]), width=2, more=palette), "RGB") == red_green
    planes = bytes([255, 0, 0, 255, 0, 0])
    assert shown(tiff(planes, width=2, more={**rgb, 284: (2,)}, strips=3), "RGB") == red_green
    inks = {262: (5,), 277: (4,), 258: (8, 8, 8, 8)}
    assert shown(tiff(bytes([0, 255, 255, 0, 255, 0, 255, 0]), width=2, more=inks), "RGB") == red_green


def test_an_alpha_that_colours_of_a_tiff_are_multiplied_by_is_taken_out() -> None:
    colours = {262: (2,), 277: (4,), 258: (8, 8, 8, 8), 338: (1,)}
    assert shown(tiff(bytes([64, 0, 0, 128]), width=1, more=colours), "RGB")[0] == pytest.approx([191, 127, 127], abs=1)


# PNG


@pytest.mark.parametrize(
    ("depth", "number", "pixels"),
    [
        (1, 0, [255, 255, 255, 255]),
        (2, 0, [255, 170, 85, 255]),
        (2, 1, [255, 170, 255, 0]),
        (2, 2, [255, 255, 85, 0]),
        (4, 8, [255, 255, 0, 255]),
        (4, 0, [255, 136, 255, 255]),
        (8, 8, [255, 255, 0, 100]),
    ],
)
def test_a_transparent_grey_is_laid_over_the_background_at_any_depth(
    depth: int, number: int, pixels: list[int]
) -> None:
    values = {1: [1, 0, 0, 1], 2: [3, 2, 1, 0], 4: [15, 8, 0, 15], 8: [255, 8, 0, 100]}[depth]
    content = png(packed(values, depth), (b"tRNS", struct.pack(">H", number)), depth=depth, width=4)
    assert shown(content) == pixels
    assert how(content)["transparent, laid over white"] == 1


def test_a_transparent_colour_of_eight_bits_is_laid_over_the_background() -> None:
    content = png(bytes([1, 2, 3, 4, 5, 6]), (b"tRNS", struct.pack(">HHH", 1, 2, 3)), colour=2)
    assert shown(content, "RGB") == [[255, 255, 255], [4, 5, 6]]


@pytest.mark.parametrize("number", [0x1234, 0x0012])
@pytest.mark.parametrize(("colour", "size"), [(0, 1), (2, 3)])
def test_a_transparent_colour_of_sixteen_bits_is_refused(colour: int, size: int, number: int) -> None:
    content = png(
        struct.pack(f">{2 * size}H", *[0x8000] * size, *[number] * size),
        (b"tRNS", struct.pack(f">{size}H", *[number] * size)),
        depth=16,
        colour=colour,
    )
    refused(content, "16 bits a pixel with a transparent colour")


def test_a_transparent_colour_that_no_pixel_can_have_is_refused() -> None:
    refused(png(bytes(2), (b"tRNS", struct.pack(">H", 300))), "has a transparent colour that no pixel can have")


def test_sixteen_bits_a_colour_are_counted() -> None:
    content = png(struct.pack(">6H", 65_535, 0, 0, 0, 65_535, 0), depth=16, colour=2)
    assert shown(content, "RGB") == [[255, 0, 0], [0, 255, 0]]
    assert how(content)["16 bits a colour scaled to 8"] == 1


def gamma(value: int) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", value)


def corners(*values: int) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *values)


SRGB_CORNERS = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
ADOBE_CORNERS = (31_270, 32_900, 64_000, 33_000, 21_000, 71_000, 15_000, 6_000)


@pytest.mark.parametrize(
    "chunks",
    [
        [gamma(45_455)],
        [gamma(45_454)],
        [gamma(0)],
        [gamma(45_455), corners(*SRGB_CORNERS)],
        [(b"sRGB", b"\0"), gamma(100_000), corners(*ADOBE_CORNERS)],
        [(b"cICP", bytes((1, 13, 0, 1)))],
    ],
)
def test_a_png_that_says_it_is_as_a_screen_is_taken_as_it_stands(chunks: list[tuple[bytes, bytes]]) -> None:
    content = png(bytes([1, 128, 255, 7, 8, 9]), *chunks, colour=2)
    assert shown(content, "RGB") == [[1, 128, 255], [7, 8, 9]]
    assert how(content) == {"stored as RGB": 1}


@pytest.mark.parametrize(
    ("chunk", "why"),
    [
        (gamma(100_000), "says that its gamma is 1, so that viewers show other numbers"),
        (gamma(55_556), r"says that its gamma is 0\.55556"),
        (corners(*ADOBE_CORNERS), "has other primary colours than sRGB"),
        ((b"cICP", bytes((9, 16, 0, 1))), "is of another colour space than sRGB"),
    ],
)
def test_a_png_of_other_colours_or_brightness_is_refused(chunk: tuple[bytes, bytes], why: str) -> None:
    refused(png(bytes(6), chunk, colour=2), why)


def test_primary_colours_say_nothing_of_grey() -> None:
    assert shown(png(bytes([7, 8]), corners(*ADOBE_CORNERS))) == [7, 8]


# Colour profiles


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped() -> bytes:
    """sRGB's profile with red and blue in each other's place."""
    profile = bytearray(srgb())
    at = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * profile[131], 12)}
    profile[at[b"rXYZ"] : at[b"rXYZ"] + 4], profile[at[b"bXYZ"] : at[b"bXYZ"] + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


def grey(power: float) -> bytes:
    """A profile of grey of that gamma, as Photoshop and scanners embed them."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(power * 256)) + b"\0\0"
    point = b"XYZ \0\0\0\0" + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", 156, 20, b"kTRC", 176, len(curve))
    body = tags + point + curve
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    header = header.ljust(36, b"\0") + b"acsp" + bytes(28) + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + body


COLOURS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_an_image_with_the_profile_of_srgb_is_taken_bit_by_bit(format: str) -> None:
    lossless = {"lossless": True} if format == "WEBP" else {}
    for image in (Image.fromarray(COLOURS), Image.fromarray(COLOURS[..., 0])):
        content = encoded(image, format, icc_profile=srgb(), **lossless)
        assert Image.open(io.BytesIO(content)).info["icc_profile"]
        pixels = decode([EncodedImage("here", content)], "RGB", None).pixels[0].numpy().transpose(1, 2, 0)
        assert np.array_equal(pixels, np.asarray(image.convert("RGB")))
        assert list(how(content)) == [f"stored as {Image.open(io.BytesIO(content)).mode}"]


def test_a_jpeg_with_the_profile_of_srgb_is_as_without() -> None:
    image = Image.fromarray(COLOURS)
    assert shown(encoded(image, "JPEG", icc_profile=srgb()), "RGB") == shown(encoded(image, "JPEG"), "RGB")


def test_a_photograph_with_the_profile_of_another_maker_of_srgb_is_taken_bit_by_bit() -> None:
    content = (resources.files("sklearn.datasets") / "images" / "china.jpg").read_bytes()
    image = Image.open(io.BytesIO(content))
    assert len(image.info["icc_profile"]) > len(srgb())
    pixels = decode([EncodedImage("here", content)], "RGB", None).pixels[0].numpy()
    assert np.array_equal(pixels.transpose(1, 2, 0), np.asarray(image))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_other_colours_are_converted_to_srgb(format: str) -> None:
    exact = {"lossless": True} if format == "WEBP" else {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    content = encoded(Image.new("RGB", (16, 16), (255, 0, 0)), format, icc_profile=swapped(), **exact)
    assert shown(content, "RGB")[8] == pytest.approx([0, 0, 255], abs=3)
    assert how(content)["converted to sRGB from their colour profile"] == 1


def test_a_palette_and_what_is_transparent_are_converted_too() -> None:
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 0), 1)
    assert shown(encoded(palette, icc_profile=swapped()), "RGB") == [[0, 0, 255], [0, 255, 0]]
    assert shown(encoded(palette, icc_profile=swapped(), transparency=0), "RGB") == [[255, 255, 255], [0, 255, 0]]
    half = Image.new("RGBA", (1, 1), (255, 0, 0, 128))
    assert shown(encoded(half, icc_profile=swapped()), "RGB")[0] == pytest.approx([127, 127, 255], abs=1)
    clear = encoded(Image.new("RGB", (1, 1), (255, 0, 0)), icc_profile=swapped(), transparency=(255, 0, 0))
    assert shown(clear, "RGB") == [[255, 255, 255]]


def test_grey_is_shown_by_its_profiles_curve() -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    linear = shown(encoded(ramp, icc_profile=grey(1.0)))
    assert linear[128] == pytest.approx(188, abs=1)
    assert (linear[0], linear[255]) == (0, 255)
    deep = Image.fromarray(np.array([[0, 128 * 257, 65_535]], np.uint16))
    assert shown(encoded(deep, icc_profile=grey(1.0))) == pytest.approx([0, 188, 255], abs=1)
    assert how(encoded(ramp, icc_profile=grey(2.2)), "L")["converted to sRGB from their colour profile"] == 1
    both = Image.merge("LA", (ramp, Image.new("L", ramp.size, 255)))
    assert shown(encoded(both, icc_profile=grey(1.0)))[128] == linear[128]


def test_a_profile_of_other_colours_or_of_none_says_nothing_and_is_counted() -> None:
    left_aside = "with a colour profile that is unreadable or of other colours, left aside"
    for profile in (grey(1.0), b"no profile", swapped()[:200]):
        content = encoded(Image.fromarray(COLOURS), icc_profile=profile)
        assert shown(content, "RGB") == COLOURS[0].tolist()
        assert how(content)[left_aside] == 1


def test_grey_in_the_colours_of_another_screen_is_refused() -> None:
    refused(encoded(Image.fromarray(COLOURS[..., 0]), icc_profile=swapped()), "is grey with a profile of other colours")


def test_without_littlecms_profiles_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.features.check", lambda _: False)
    refused(encoded(Image.fromarray(COLOURS), icc_profile=srgb()), "has a colour profile, which this Pillow can't read")


def test_adobe_rgb_by_an_exif_tag_alone_is_said() -> None:
    entry = struct.Struct("<HHHII")  # one entry a directory: EXIF's in the first one, interoperability's in that

    def link(tag: int, to: int) -> bytes:
        return entry.pack(1, tag, 4, 1, to) + bytes(4)

    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + link(0x8769, 26) + link(0xA005, 44)
    exif += struct.pack("<HHHI4sI", 1, 1, 2, 4, b"R03\0", 0)
    found = how(encoded(Image.fromarray(COLOURS), exif=exif))
    assert found["of Adobe RGB by an EXIF tag, taken for sRGB as by most viewers"] == 1


# JPEG


def inks(planes: Sequence[int]) -> bytes:
    return encoded(Image.new("CMYK", (16, 16), tuple(planes)), "JPEG", quality=100)


def test_inks_of_a_jpeg_are_read_by_adobes_rule() -> None:
    assert shown(inks((0, 255, 255, 0)), "RGB")[8] == pytest.approx([255, 0, 0], abs=4)
    luma = Image.new("RGB", (1, 1), (0, 255, 255)).convert("YCbCr").getpixel((0, 0))
    assert isinstance(luma, tuple)
    content = bytearray(inks([*(255 - int(part) for part in luma), 0]))
    content[content.index(b"Adobe") + 11] = 2  # YCCK: the same inks as luma and chroma
    assert shown(bytes(content), "RGB")[8] == pytest.approx([255, 0, 0], abs=4)


def test_inks_of_a_jpeg_without_adobes_marker_are_refused() -> None:
    content = inks((0, 255, 255, 0))
    at = content.index(b"\xff\xee")
    refused(content[:at] + content[at + 2 + int.from_bytes(content[at + 2 : at + 4], "big") :], "four inks and no word")


# GIF and BMP


@pytest.mark.parametrize(("left", "width"), [(1, 2), (0, 4)])
def test_a_gif_that_leaves_its_canvas_open_is_refused(left: int, width: int) -> None:
    whole = encoded(Image.new("P", (width, 1), 0), "GIF")
    at = whole.rindex(b",", 0, whole.index(struct.pack("<HH", width, 1), 13))
    content = whole[:6] + struct.pack("<HH", 4, 1) + whole[10 : at + 1] + struct.pack("<H", left) + whole[at + 3 :]
    if width == 4:
        assert len(shown(content)) == 4
    else:
        refused(content, "its picture is smaller than its canvas")


@pytest.mark.parametrize(
    ("space", "is_own"), [(b"BGRs", False), (b" niW", False), (bytes(4), True), (b"DEBM", True), (b"KNIL", True)]
)
def test_a_bmp_with_a_colour_space_of_its_own_is_refused(space: bytes, is_own: bool) -> None:
    plain = encoded(Image.fromarray(COLOURS), "BMP")
    body = plain[54:]
    header = struct.pack("<I", 108) + plain[18:54] + bytes(16) + space + b"\1" * 48
    content = b"BM" + struct.pack("<IHHI", 14 + 108 + len(body), 0, 0, 14 + 108) + header + body
    if is_own:
        refused(content, "is of a colour space of its own")
    else:
        assert shown(content, "RGB") == COLOURS[0].tolist()


def test_the_fourth_byte_of_a_plain_bmp_is_no_transparency() -> None:
    assert shown(encoded(Image.new("RGBA", (1, 1), (10, 20, 30, 0)), "BMP"), "RGB") == [[10, 20, 30]]


# PNM

ONE = {
    "P1": b"P1 2 1\n10\n",
    "P2": b"P2 2 1 255\n1 2\n# the end\n",
    "P3": b"P3 2 1 255\n1 2 3 4 5 6\n",
    "P4": b"P4 2 1\n\x80",
    "P5": b"P5 2 1 255\n\1\2",
    "P5 of 16 bits": b"P5 2 1 65535\n\1\2\3\4",
    "P5 of 12 bits": b"P5 2 1 4095\n\1\2\3\4",
    "P6": b"P6 2 1 255\n\1\2\3\4\5\6",
    "P6 of 16 bits": b"P6 2 1 65535\n\1\2\3\4\5\6\1\2\3\4\5\6",
    "P6 of 6 bits": b"P6 2 1 63\n\1\2\3\4\5\6",
}


@pytest.mark.parametrize("content", ONE.values(), ids=ONE)
def test_a_second_image_in_a_file_is_refused_and_a_line_end_is_none(content: bytes) -> None:
    pixels = shown(content)
    assert shown(content + b"\n") == pixels
    refused(content + content, "holds more than one image; give each image a file of its own")


def test_the_white_of_a_pnm_is_the_number_that_it_says() -> None:
    assert shown(b"P5 2 1 15\n\x0f\x07") == [255, 119]
    assert shown(b"P5 2 1 4095\n" + struct.pack(">HH", 4095, 2048)) == [255, 128]
    deep = b"P6 1 1 65535\n" + struct.pack(">HHH", 65_535, 32_768, 0)
    assert shown(deep, "RGB") == [[255, 128, 0]]
    assert how(deep)["16 bits a colour scaled to 8"] == 1


def test_formats_of_which_not_all_is_known_are_not_read() -> None:
    refused(b"PyRGBA 1 1 255\n\1\2\3\4", "is of a format that only Pillow knows")
    refused(encoded(Image.fromarray(COLOURS), "JPEG2000"), "not a readable image: none of BMP, GIF, JPEG")
