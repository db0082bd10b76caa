"""A dataset's fingerprint: what the keys of everything computed from it begin with."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from unlearnbench.registry.base import name_of
from unlearnbench.system.regular_files import entries, opened


class Fingerprinted(Protocol):
    """The part of a dataset that its fingerprint needs."""

    params: Any
    version: ClassVar[int]

    def files(self, root: Path) -> list[Path]: ...


def fingerprint(dataset: Fingerprinted, root: Path, seen: MutableMapping[str, str] | None = None) -> str:
    """SHA-256 over the dataset's name, version and parameters and the names and contents of its files.

    Names are relative to the files' common parent, so that a data root can be moved. Nothing is decoded: resuming a
    finished suite costs one pass over the files.

    Args:
        seen: receives the SHA-256 of each file under its absolute path.

    Raises:
        InputError: files are missing, or can't be read.
    """
    files = dataset.files(root)
    parent = os.path.commonpath([file.absolute().parent for file in files])
    hashes = {file.absolute(): _sha256(file) for file in files}
    if seen is not None:
        seen.update((str(file), sha256) for file, sha256 in hashes.items())
    contents = sorted((file.relative_to(parent).as_posix(), sha256) for file, sha256 in hashes.items())
    identity = {
        "name": name_of(dataset),
        "version": dataset.version,
        "params": dataset.params.model_dump(mode="json"),
        "files": contents,
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def listings(files: Iterable[Path], root: Path) -> dict[str, list[str]]:
    """The contents of the folders where a dataset looked for `files`: files that are added later may belong to it.

    These are the data root and each file's folders, up to one above all of them.
    """
    parents = {file.absolute().parent for file in files}
    folders = {root.absolute(), *parents}
    top = Path(os.path.commonpath(parents)).parent if parents else root.absolute()
    for folder in parents:
        folders |= {above for above in folder.parents if above.is_relative_to(top)}
    return {str(folder): entries(folder) for folder in folders}


def _sha256(file: Path) -> str:
    with opened(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
