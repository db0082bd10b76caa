"""A site's files to a folder, where nothing is touched that `publish` did not write.

The site is built beside its place. Where nothing else is there, it is put there in one go. Where an earlier site
shares its folder with files of the user's (.git, CNAME), its files are exchanged one by one, pages after what they
show; until that is done the manifest has both sites' files, so that the next `publish` goes on after a crash.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from unlearnbench.site import manifest
from unlearnbench.site.manifest import MANIFEST_FILE, MISSING, Manifest
from unlearnbench.system.errors import InputError
from unlearnbench.system.parquet_files import write_atomically
from unlearnbench.system.printing import complain

_NAMED = 3  # files in a message


def check(site: Path, read: Sequence[Path] = ()) -> Manifest | None:
    """Whether `publish` may write to a folder.

    Args:
        site: the folder.
        read: folders that are only read.

    Returns:
        What it wrote there before; None for a new or an empty folder.

    Raises:
        InputError: something else is there.
    """
    if site.is_symlink() or (site.exists() and not site.is_dir()):
        raise InputError(str(site), "is not a folder; give --out a new folder, an empty one or an earlier site")
    for folder in read:
        if site.resolve().is_relative_to(folder.resolve()):
            raise InputError(str(site), f"is not a place for a site: it lies in {folder}, which is only read")
    try:
        if not site.is_dir() or not any(site.iterdir()):
            return None
    except OSError as error:
        raise InputError(str(site), f"can't be read: {error.strerror or error}") from error
    known = manifest.read(site)
    if known is None:
        raise InputError(
            str(site),
            f"is not empty and not a site (it has no {MANIFEST_FILE} that lists its files, as publish writes it);"
            " give --out a new folder, or move away what is there",
        )
    return known


@contextmanager
def building(site: Path, read: Sequence[Path] = ()) -> Iterator[Path]:
    """A folder to build in, whose files come to `site` when the block ends; it is removed if it fails.

    Raises:
        InputError: `site` holds something else where a file of the site belongs, or can't be written.
    """
    check(site, read)
    target = site.absolute()
    temporary = _beside(target, "tmp")
    try:
        with _writing(site):
            temporary.mkdir(parents=True)
        yield temporary
        new = manifest.of(temporary)
        write(temporary, MANIFEST_FILE, new.text())
        old = check(site, read)  # something else may have been put there meanwhile
        with _writing(site):
            if old is None:
                temporary.rename(target)  # also in the place of an empty folder
            elif manifest.holds_nothing_else(target, old):
                _exchange_whole(temporary, target, old)
            else:
                _exchange_files(temporary, target, new, old)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write(folder: Path, name: str, content: bytes) -> None:
    """One file of a site that is being built; folders are made."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _exchange_whole(new: Path, target: Path, known: Manifest) -> None:
    """Nobody sees anything but one of both sites."""
    old = _beside(target, "old")
    shutil.copymode(target, new)
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    try:
        manifest.remove(old, known, known.names)
        (old / MANIFEST_FILE).unlink(missing_ok=True)
        old.rmdir()
    except OSError as error:  # somebody wrote into it until the last moment, or made a folder in it read-only
        complain(f"the site is in its place; left of the earlier one is {old}: {error.strerror or error}")


def _exchange_files(built: Path, target: Path, new: Manifest, old: Manifest) -> None:
    """All files of a site for those of another, in a folder that holds other things too."""
    there = {name: manifest.look(target, name) for name in {*new.files, *old.names}}
    same = {name for name, digest in new.files.items() if there[name] == digest}
    own = {name: content for name, content in there.items() if old.owns(name, content)}
    taken = sorted(name for name in new.files if name not in own and name not in same and there[name] != MISSING)
    if taken:
        raise InputError(
            str(target),
            f"holds {_listed(taken)}, which publish did not write or which changed since, where the site's own belongs;"
            " move it away, or give --out another folder",
        )
    write_atomically(target / MANIFEST_FILE, Manifest(new.files, own).text())
    for name in sorted(new.files.keys() - same, key=lambda name: (name.endswith(".html"), name == "index.html", name)):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (built / name).replace(target / name)
    kept = manifest.remove(target, old, [name for name in old.names if name not in new.files])
    if kept:
        complain(f"left in {target}, no longer part of the site but changed since it was published: {_listed(kept)}")
    write_atomically(target / MANIFEST_FILE, new.text())


@contextmanager
def _writing(site: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = "" if error.filename is None else f" ({error.filename})"
        raise InputError(str(site), f"can't be written: {error.strerror or error}{where}") from error


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(6)}.{what}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
