"""Folders of image files with one subfolder per class."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from unlearnbench.datasets._left_out import SYSTEM, LeftOut, is_system
from unlearnbench.system.errors import InputError, unreadable

_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".pbm", ".pgm", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
# Formats of images, and of arrays of them, that are not read: a class must not silently lose such files.
_OTHER_IMAGES = (
    ".avif", ".dcm", ".dng", ".eps", ".exr", ".hdr", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".jxl", ".mat", ".nii",
    ".npy", ".npz", ".pcx", ".pdf", ".psd", ".raw", ".svg", ".tga", ".xcf",
)  # fmt: skip
_EXPECTED = "expected <class>/*.png (or .jpg, .bmp, .webp, .tif and the like)"


class Listing(NamedTuple):
    """Image files and their class names, sorted by class and file name; no test files: there is no test split."""

    train: list[tuple[Path, str]]
    test: list[tuple[Path, str]]
    left_out: list[LeftOut]


def list_images(folder: Path, grouped: bool = False) -> Listing:
    """The images of `folder/train/<class>/` and `folder/test/<class>/`, or of `folder/<class>/`.

    Args:
        grouped: they are in `<class>/<group>/` instead.

    Raises:
        InputError: there are no classes, a class has no images (it would be counted but never seen), or something looks
            meant to be read and can't be: folders within classes, images in other formats, links to nothing.
    """
    found = Listing([], [], [])
    if not _has_folders(folder / "train"):
        found.train.extend(_list_classes(folder, found.left_out, grouped))
        return found
    for path in _entries(folder, found.left_out):
        if path.name not in ("train", "test"):
            found.left_out.append(LeftOut(path, "beside train/ and test/"))
    found.train.extend(_list_classes(folder / "train", found.left_out, grouped))
    if (folder / "test").is_dir():
        found.test.extend(_list_classes(folder / "test", found.left_out, grouped))
    return found


def _list_classes(folder: Path, left_out: list[LeftOut], grouped: bool) -> list[tuple[Path, str]]:
    classes = []
    for path in _entries(folder, left_out):
        if path.is_dir():
            classes.append(path)
        elif not path.is_file():
            raise _no_file(path)
        else:
            left_out.append(LeftOut(path, "beside the class folders"))
    if not classes:
        raise InputError(str(folder.absolute()), f"holds no class folders; {_EXPECTED}")
    found: list[tuple[Path, str]] = []
    for entry in classes:
        folders = _group_folders(entry, left_out) if grouped else [entry]
        images = [path for inner in folders for path in _entries(inner, left_out) if _is_image(path, left_out)]
        if not images:
            raise InputError(
                str(entry.absolute()), f"holds no images; put the class's images there or remove it; {_EXPECTED}"
            )
        found.extend((path, entry.name) for path in images)
    return found


def _group_folders(entry: Path, left_out: list[LeftOut]) -> list[Path]:
    """The folders of a class's groups."""
    folders = []
    for path in _entries(entry, left_out):
        if path.is_dir():
            folders.append(path)
        elif path.suffix.lower() in (*_SUFFIXES, *_OTHER_IMAGES) or not path.is_file():
            raise InputError(str(path.absolute()), "is in no group; expected <class>/<group>/*.png (groups: folder)")
        else:
            left_out.append(LeftOut(path, "beside the group folders"))
    return folders


def _is_image(path: Path, left_out: list[LeftOut]) -> bool:
    """Whether a file of a class is an image, judged by its name."""
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES and path.is_file():
        return True
    if path.is_dir():
        if _entries(path, []):
            raise InputError(
                str(path.absolute()),
                f"a folder inside a class; move its images up or away, or set groups: folder: {_EXPECTED}",
            )
        left_out.append(LeftOut(path, "empty"))
        return False
    if not path.is_file():
        raise _no_file(path)
    if suffix in _OTHER_IMAGES:
        raise InputError(str(path.absolute()), f"{suffix} is not read; convert it, e.g. to .png, or move it away")
    left_out.append(LeftOut(path, "no images by their names"))
    return False


def _entries(folder: Path, left_out: list[LeftOut]) -> list[Path]:
    """The sorted contents of a folder without hidden files."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise unreadable(error, folder.absolute()) from error
    left_out.extend(LeftOut(path, SYSTEM) for path in paths if is_system(path))
    return [path for path in paths if not is_system(path)]


def _has_folders(folder: Path) -> bool:
    """Whether a folder is a split, rather than a class with the name of one."""
    return folder.is_dir() and any(path.is_dir() for path in _entries(folder, []))


def _no_file(path: Path) -> InputError:
    return InputError(str(path.absolute()), "is not an ordinary file, or a link to nothing; fix or remove it")
