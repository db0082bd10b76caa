"""Writes a site's files to a folder, without touching anything that `publish` did not write.

The site is built beside its target. If the target holds nothing else, it is replaced in one step. If an earlier site
shares the target with the user's own files (.git, CNAME), its files are replaced one by one, pages after what they
show; until that is done the manifest lists the files of both sites, so that the next `publish` can continue after a
crash.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from unlearnbench.site import manifest
from unlearnbench.site.manifest import MANIFEST_FILE, MISSING, Manifest
from unlearnbench.system.errors import InputError, unreadable
from unlearnbench.system.parquet_files import write_atomically
from unlearnbench.system.printing import complain

_NAMED = 3  # files in a message


def check(site: Path, read: Sequence[Path] = ()) -> Manifest | None:
    """Check that `publish` may write to a folder.

    Args:
        site: the folder.
        read: folders that are only read.

    Returns:
        The manifest of an earlier site; None for a new or an empty folder.

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
        raise unreadable(error, site) from error
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
    """A folder to build in, whose files move to `site` at the end of the block; it is removed if the block fails.

    Raises:
        InputError: `site` holds something else where a file of the site belongs, or cannot be written.
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
        old = check(site, read)  # the folder may have changed in the meantime
        with _writing(site):
            if old is None:
                temporary.rename(target)  # also replaces an empty folder
            elif manifest.holds_nothing_else(target, old):
                _exchange_whole(temporary, target, old)
            else:
                _exchange_files(temporary, target, new, old)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write(folder: Path, name: str, content: bytes) -> None:
    """Write one file of a site that is being built, with its folders."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _exchange_whole(new: Path, target: Path, known: Manifest) -> None:
    """Replace a whole site: readers see either the old or the new one."""
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
    except OSError as error:  # it was written to until the last moment, or a folder in it is read-only
        complain(f"the site is complete; of the earlier one {old} is left: {error.strerror or error}")


def _exchange_files(built: Path, target: Path, new: Manifest, old: Manifest) -> None:
    """Replace the files of a site in a folder that holds other files too."""
    there = {name: manifest.look(target, name) for name in {*new.files, *old.names}}
    same = {name for name, digest in new.files.items() if there[name] == digest}
    own = {name: content for name, content in there.items() if old.owns(name, content)}
    taken = sorted(name for name in new.files if name not in own and name not in same and there[name] != MISSING)
    if taken:
        raise InputError(
            str(target),
            f"holds {_listed(taken)}, which publish did not write or which changed since, where the site's own file"
            " belongs; move it away, or give --out another folder",
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
