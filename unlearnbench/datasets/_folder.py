"""Folders of image files with one subfolder a class."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from unlearnbench.errors import InputError

_SUFFIXES = (".png", ".jpg", ".jpeg")


class Listing(NamedTuple):
    """Image files and their class names, sorted by class and file name; no test files: there is no test split."""

    train: list[tuple[Path, str]]
    test: list[tuple[Path, str]]


def list_images(folder: Path) -> Listing:
    """The images of `folder/train/<class>/` and `folder/test/<class>/`, or of `folder/<class>/`.

    Raises:
        InputError: no classes, or a class without images: it would be counted and never seen.
    """
    if (folder / "train").is_dir():
        test = folder / "test"
        return Listing(_list_classes(folder / "train"), _list_classes(test) if test.is_dir() else [])
    return Listing(_list_classes(folder), [])


def _list_classes(folder: Path) -> list[tuple[Path, str]]:
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise InputError(str(folder.absolute()), "holds no class folders; expected <class>/*.png or *.jpg")
    found: list[tuple[Path, str]] = []
    for entry in classes:
        images = sorted(path for path in entry.iterdir() if _is_image(path))
        if not images:
            raise InputError(str(entry.absolute()), "holds no .png or .jpg; put the class's images there or remove it")
        found.extend((path, entry.name) for path in images)
    return found


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and path.is_file() and not path.name.startswith(".")
