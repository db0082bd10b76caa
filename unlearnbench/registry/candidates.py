"""Where plugins may be: built-in files, the files of --plugins folders, and installed entry points. Loads none."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from unlearnbench.registry.base import BUILT_IN, KINDS, Kind
from unlearnbench.registry.identity import Identity, of_folder
from unlearnbench.system import regular_files
from unlearnbench.system.errors import InputError
from unlearnbench.system.package_code import PLUGIN_FILES, subpackage


@dataclass(frozen=True)
class Candidate:
    """Something that should hold a plugin: a file, or an entry point."""

    kind: Kind | None  # None: a file at the top of a --plugins folder may hold any kind
    name: str
    origin: str
    source: Path | importlib.metadata.EntryPoint
    module: str = ""
    builtin: bool = False
    folder: Path | None = None  # of --plugins, which it lies in
    made_of: Callable[[], Identity] | None = None  # what that folder is made of


def candidates(plugin_dirs: Sequence[Path] = ()) -> Iterator[Candidate]:
    """All candidates. Entry points come last: listing them reads the metadata of every installed package.

    Raises:
        InputError: one of the folders is missing.
    """
    yield from _builtin()
    yield from _in_folders(plugin_dirs)
    yield from _entry_points()


def _builtin() -> Iterator[Candidate]:
    for kind in KINDS:
        for folder in subpackage(BUILT_IN[kind]):
            for file in _files(folder):
                module = f"unlearnbench.{BUILT_IN[kind]}.{file.stem}"
                yield Candidate(kind, file.stem, str(file), file, module, builtin=True)


def _in_folders(plugin_dirs: Sequence[Path]) -> Iterator[Candidate]:
    for folder in dict.fromkeys(Path(folder).resolve() for folder in plugin_dirs):
        if not folder.is_dir():
            raise InputError(f"--plugins {folder}", "not a folder" if folder.exists() else "no such folder")
        made_of = cache(partial(of_folder, folder))  # once for all plugins there, and not if none is loaded
        places: list[tuple[Kind | None, Path]] = [(None, folder), *((kind, folder / f"{kind}s") for kind in KINDS)]
        for kind, place in places:
            for file in _files(place):
                digest = hashlib.sha256(str(file).encode(errors="surrogateescape")).hexdigest()[:16]
                module = f"{PLUGIN_FILES}{digest}_{file.stem}"
                yield Candidate(kind, file.stem, str(file), file, module, folder=folder, made_of=made_of)


def _entry_points() -> Iterator[Candidate]:
    for kind in KINDS:
        for point in sorted(importlib.metadata.entry_points(group=f"unlearnbench.{kind}s"), key=lambda p: p.name):
            distribution = f"{point.dist.name} {point.dist.version}" if point.dist else "entry point"
            yield Candidate(kind, point.name, f"{distribution}: {point.value}", point)


def _files(folder: Path) -> list[Path]:
    try:
        names = regular_files.listing(folder)
    except FileNotFoundError:
        return []
    others = ("_", "test_")  # code that plugins share, and their tests
    return [folder / name for name in names
            if name.endswith(".py") and not name.startswith(others) and name != "conftest.py"]  # fmt: skip
