"""Which files of a folder `publish` wrote, by their hashes: files that are not listed, or changed, are the user's.

A manifest may lie in a folder that others wrote, a clone for instance. It names nothing outside the folder and nothing
that `publish` would not write, and files that it lists are inspected without following links.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlearnbench.system.version import __version__

MANIFEST_FILE = "unlearnbench-site.json"
"""The manifest's name."""

MISSING, OTHER = "missing", "other"

_PART = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9_.=-]*")  # of a path; nothing hidden, above all not .git
_HASH = re.compile(r"[0-9a-f]{64}")
_WRITER = "unlearnbench "


@dataclass(frozen=True)
class Manifest:
    """The files of a site.

    Attributes:
        files: the SHA-256 of each file, by path.
        before: the files of the earlier site while it is being replaced; an interrupted publish leaves files of both.
    """

    files: Mapping[str, str]
    before: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All paths, in order."""
        return sorted({*self.files, *self.before})

    def owns(self, name: str, content: str) -> bool:
        """Whether a path with this content, as `look` returns it, is an unchanged file that `publish` wrote."""
        return content in (self.files.get(name), self.before.get(name))

    def text(self) -> bytes:
        """The manifest as it is written."""
        content: dict[str, Any] = {"written_by": f"{_WRITER}{__version__}", "files": dict(self.files)}
        if self.before:
            content["before"] = dict(self.before)
        return json.dumps(content, indent=0, sort_keys=True).encode() + b"\n"


def read(folder: Path) -> Manifest | None:
    """The manifest of a folder; None without one that can be trusted."""
    path = folder / MANIFEST_FILE
    kind = _kind(path)
    if kind is None or not stat.S_ISREG(kind):
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not str(found["written_by"]).startswith(_WRITER):
            return None
        return Manifest(_checked(found["files"]), _checked(found.get("before", {})))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def of(folder: Path) -> Manifest:
    """The manifest for a folder that holds a site and nothing else."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return Manifest(_checked({name: digest for name, digest in sorted(files.items()) if name != MANIFEST_FILE}))


def look(folder: Path, name: str) -> str:
    """What lies at a path: the SHA-256 of a file, `MISSING`, or `OTHER` for anything else or an unreadable file."""
    *parents, _ = name.split("/")
    for number in range(len(parents)):
        kind = _kind(folder.joinpath(*parents[: number + 1]))
        if kind is None or not stat.S_ISDIR(kind):
            return MISSING if kind is None else OTHER
    kind = _kind(folder / name)
    if kind is None:
        return MISSING
    return _digest(folder / name) if stat.S_ISREG(kind) else OTHER


def holds_nothing_else(folder: Path, manifest: Manifest) -> bool:
    """Whether a folder holds nothing but the manifest and unchanged files that it lists."""
    listed = set(manifest.names)
    folders = {parent.as_posix() for name in listed for parent in Path(name).parents}
    for above, inner, names in os.walk(folder, onerror=_raise):
        here = Path(above).relative_to(folder)
        for name in inner:
            if (here / name).as_posix() not in folders or (folder / here / name).is_symlink():
                return False
        for name in names:
            path = (here / name).as_posix()
            if path != MANIFEST_FILE and not (path in listed and manifest.owns(path, look(folder, path))):
                return False
    return True


def remove(folder: Path, manifest: Manifest, names: Iterable[str]) -> list[str]:
    """Delete files that `publish` wrote, and folders that become empty.

    Returns:
        The files that stay because they were changed.
    """
    kept = []
    for name in names:
        content = look(folder, name)
        if manifest.owns(name, content):
            (folder / name).unlink()
            for parent in Path(name).parents[:-1]:
                with contextlib.suppress(OSError):  # it holds something else
                    (folder / parent).rmdir()
        elif content != MISSING:
            kept.append(name)
    return kept


def _checked(files: Any) -> dict[str, str]:
    """Check paths and hashes; raises ValueError for anything that `publish` does not write."""
    if not isinstance(files, dict):
        raise ValueError("no files are listed")
    for name, digest in files.items():
        if not all(_PART.fullmatch(part) for part in name.split("/")) or not _HASH.fullmatch(digest):
            raise ValueError(f"not a file of a site: {name!r}")
    return files


def _kind(path: Path) -> int | None:
    """The file mode at a path, without following links; None if nothing is there."""
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _digest(path: Path) -> str:
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:  # noqa: PTH123 (a descriptor)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return OTHER


def _raise(error: OSError) -> None:
    raise error
