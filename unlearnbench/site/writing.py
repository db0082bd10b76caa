"""A site's files to a folder: whole or not at all, and never over a folder that holds something else."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unlearnbench import __version__, regular_files
from unlearnbench.errors import InputError

MARK = "unlearnbench-site.json"
"""The file by which a later `publish` knows that a folder is a site."""


def check(site: Path) -> None:
    """Raises InputError if `site` is there and neither empty nor a site that `publish` wrote."""
    if site.is_symlink() or (site.exists() and not site.is_dir()):
        raise InputError(str(site), "is no folder; give --out a new folder, an empty one or an earlier site")
    if site.is_dir() and any(site.iterdir()) and not _is_site(site):
        raise InputError(
            str(site), f"is not empty and not a site (it has no {MARK}); give --out a new folder or an earlier site"
        )


@contextmanager
def building(site: Path) -> Iterator[Path]:
    """A folder to build in, which takes the place of `site` when the block ends and is removed if it fails.

    Raises:
        InputError: `site` holds something else, or can't be written.
    """
    check(site)
    target = site.absolute()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        try:
            temporary.mkdir(parents=True)
        except OSError as error:
            raise InputError(str(site), f"can't be written: {error.strerror or error}") from error
        yield temporary
        write(temporary, MARK, json.dumps({"written_by": f"unlearnbench {__version__}"}).encode() + b"\n")
        _replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write(folder: Path, name: str, content: bytes) -> None:
    """One file of a site that is being built; folders are made."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _replace(new: Path, target: Path) -> None:
    check(target)  # something else may have been put there meanwhile
    old = target.with_name(f".{target.name}.{secrets.token_hex(6)}.old")
    if not target.exists():
        new.rename(target)
        return
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _is_site(folder: Path) -> bool:
    try:
        found = json.loads(regular_files.read(folder / MARK))
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(found, dict) and str(found.get("written_by", "")).startswith("unlearnbench ")
