"""Encoded images: as a viewer would show them, or refused by name."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from unlearnbench.datasets._decode import EncodedImage, decode
from unlearnbench.system.errors import InputError

GREY = np.array([[0, 60, 120], [180, 200, 255]], np.uint8)  # 3 x 2 pixels, unlike itself however it is turned


def encoded(image: Image.Image, format: str = "PNG", **how: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **how)
    return stream.getvalue()


def shown(content: bytes, mode: str = "L", background: str | None = "white", size: int | None = None) -> np.ndarray:
    """H x W (x 3) of one image."""
    pixels = decode([EncodedImage("here", content)], mode, size, background).pixels[0].numpy()
    return pixels[0] if mode == "L" else pixels.transpose(1, 2, 0)


def how(content: bytes, **more: Any) -> dict[str, int]:
    return dict(decode([EncodedImage("here", content)], "L", more.get("size"), more.get("background", "white")).how)


def with_orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def clear(mode: str) -> Image.Image:
    """A black drawing whose shape is in its transparency only."""
    alpha = Image.fromarray(GREY)
    black = Image.new(mode.rstrip("Aa"), alpha.size)
    black.putalpha(alpha)
    return black


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_a_drawing_in_the_transparency_is_laid_over_the_background(mode: str, format: str) -> None:
    content = encoded(clear(mode), format, **({"lossless": True} if format == "WEBP" else {}))
    assert np.abs(shown(content).astype(int) - (255 - GREY)).max() <= 1
    assert shown(content, background="black").max() == 0
    assert shown(content, "RGB").shape == (2, 3, 3)
    assert how(content)["transparent, laid over white"] == 1
    with pytest.raises(InputError, match="here: is transparent in places"):
        shown(content, background=None)


def test_opaque_images_with_a_transparency_are_as_without(tmp_path: Any) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    plain, opaque = Image.fromarray(colours), Image.fromarray(colours).convert("RGBA")
    for mode in ("L", "RGB"):
        assert np.array_equal(shown(encoded(opaque), mode, None), shown(encoded(plain), mode))


def test_transparent_colours_of_palettes_and_of_grey_are_laid_over_the_background() -> None:
    palette = Image.fromarray(GREY).convert("P")
    palette.putpalette([channel for index in range(256) for channel in (index, 0, 0)])
    assert shown(encoded(palette), "RGB")[..., 0].tolist() == GREY.tolist()
    see_through = encoded(palette, transparency=int(np.asarray(palette)[0, 0]))
    assert shown(see_through, "RGB")[0, 0].tolist() == [255, 255, 255]
    assert shown(see_through, "RGB")[1, 2].tolist() == [255, 0, 0]
    grey = encoded(Image.fromarray(GREY), transparency=60)
    assert shown(grey).tolist() == [[0, 255, 120], [180, 200, 255]]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("number", "turned"), [(1, GREY), (3, GREY[::-1, ::-1]), (6, np.rot90(GREY, -1))])
def test_images_are_turned_as_their_exif_tag_says(format: str, number: int, turned: np.ndarray) -> None:
    big = np.kron(GREY, np.ones((16, 16), np.uint8))  # JPEG's blocks and WebP's keep so large ones apart
    image = Image.fromarray(big)
    lossless = {"lossless": True} if format == "WEBP" else {"quality": 100} if format == "JPEG" else {}
    pixels = shown(encoded(image, format, exif=with_orientation(number), **lossless))
    assert pixels.shape == (turned.shape[0] * 16, turned.shape[1] * 16)
    assert np.abs(pixels[8::16, 8::16].astype(int) - turned).max() <= 2


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    deep = (GREY.astype(np.uint16) * 257)[:, :, None].repeat(1, 2)[..., 0]
    for content in (
        encoded(Image.fromarray(deep)),
        encoded(Image.fromarray(deep), "TIFF"),
        b"P5 3 2 65535\n" + deep.astype(">u2").tobytes(),
        encoded(Image.fromarray(deep.astype(">u2")), "TIFF"),
    ):
        assert shown(content).tolist() == GREY.tolist()
        assert how(content)["16 bits scaled to 8"] == 1


def test_one_bit_is_black_and_white() -> None:
    bits = Image.fromarray(GREY > 100)
    assert bits.mode == "1"
    assert shown(encoded(bits)).tolist() == [[0, 0, 255], [255, 255, 255]]


def test_ink_becomes_light() -> None:
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for content in (encoded(ink, "JPEG", quality=100), encoded(ink, "TIFF")):
        red, green, blue = shown(content, "RGB")[8, 8].tolist()
        assert red > 250
        assert max(green, blue) < 5


def frames(format: str) -> bytes:
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    return encoded(first, format, save_all=True, append_images=[second])


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_and_pages_are_refused(format: str) -> None:
    with pytest.raises(InputError, match="here: holds 2 frames or pages; give each image a file of its own"):
        shown(frames(format))


def test_a_gif_of_one_frame_is_read() -> None:
    assert shown(encoded(Image.fromarray(GREY), "GIF")).tolist() == GREY.tolist()


def test_a_cameras_picture_with_another_behind_it_is_read() -> None:
    image = Image.fromarray(np.kron(GREY, np.ones((16, 16), np.uint8)))
    content = encoded(image, "MPO", save_all=True, append_images=[Image.new("L", image.size)], quality=100)
    assert Image.open(io.BytesIO(content)).n_frames == 2  # type: ignore[attr-defined]
    assert shown(content).mean() > 100


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_numbers_that_are_no_bytes_are_refused(kind: type) -> None:
    with pytest.raises(InputError, match=r"here: holds numbers of 32 bits \(mode [FI]\), whose white is not known"):
        shown(encoded(Image.fromarray(GREY.astype(kind)), "TIFF"))


def noise(format: str) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    return encoded(Image.fromarray(pixels), format)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("filling", [False, True])
def test_a_truncated_image_is_damaged_whatever_the_process_allows(
    format: str, filling: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", filling)
    content = noise(format)
    shown(content)
    with pytest.raises(InputError, match="here: not a readable image"):
        shown(content[: len(content) * 2 // 3])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is filling


def test_formats_that_run_programs_are_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    postscript = encoded(Image.fromarray(GREY), "EPS")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("Ghostscript was asked"))
    with pytest.raises(InputError, match="not a readable image"):
        shown(postscript)


def test_resizing_and_stretching_are_counted() -> None:
    found = how(encoded(Image.fromarray(GREY)), size=4)
    assert found == {"stored as L": 1, "resized to 4x4": 1, "of these not square before, hence stretched": 1}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_broken_exif_tag_says_nothing() -> None:
    def make(exif: bytes) -> bytes:
        return encoded(Image.fromarray(GREY), "PNG", exif=exif)

    assert shown(make(b"Exif\0\0MM\0*\0\0\0\x08\0\x09")).tolist() == GREY.tolist()
