"""The content-keyed store: what a stage computed, under the hash of everything it was computed from.

One safetensors file per artifact, its JSON inside the file's metadata, with a checksum over both and one over the JSON
alone, which is often all that is read. Files are written under a temporary name, synced and renamed, so that a reader
sees a whole artifact or none; two writers of one key write the same content.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from unlearnbench.system import regular_files
from unlearnbench.system.parquet_files import write_atomically

_FOLDER = re.compile(r"[0-9a-f]{2}")
_ARTIFACT = re.compile(r"([0-9a-f]{64})\.safetensors")
_CHECKPOINTS = re.compile(r"([0-9a-f]{64})\.checkpoints")
_TEMPORARY = re.compile(r"\.[0-9a-f]{64}\.safetensors\.[0-9a-f]+\.tmp")


class CorruptArtifactError(Exception):
    """An artifact whose content does not match its checksum."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(what)
        self.key = key


@dataclass(frozen=True, eq=False)
class Artifact:
    """Tensors and plain JSON values."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


class Store:
    """Artifacts below a directory.

    Args:
        root: created when something is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """Where the artifact of a key lies or would lie."""
        return self.root / key[:2] / f"{key}.safetensors"

    def has(self, key: str) -> bool:
        """Whether there is an artifact; raises UnreadableError if something else has its name, or it can't be seen."""
        return regular_files.is_there(self.path(key))

    def put(self, key: str, artifact: Artifact) -> None:
        """Write atomically, replacing what the key had; raises OSError if that can't be read."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in artifact.tensors.items()}
        try:
            values = json.dumps(artifact.values, sort_keys=True, allow_nan=False)
        except ValueError as error:
            raise ValueError(f"a measured value is not a finite number ({error})") from error
        metadata = {
            "key": key,
            "values": values,
            "sha256": _checksum(tensors, values),
            "values_sha256": _digest(values),
        }
        write_atomically(self.path(key), save(tensors, metadata))

    def get(self, key: str) -> Artifact | None:
        """The artifact, or None where there is none.

        Raises:
            CorruptArtifactError: if the file is damaged; delete it and compute it again.
            UnreadableError: if it exists and can't be read.
        """
        path = self.path(key)
        try:
            # Of a file that it may not open, safetensors says that it does not exist; on a pipe it blocks.
            with regular_files.opened(path), safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError) as error:
            raise CorruptArtifactError(key, f"{path}: {error}") from error
        values = metadata.get("values", "")
        if metadata.get("key") != key or metadata.get("sha256") != _checksum(tensors, values):
            raise CorruptArtifactError(key, f"{path}: checksum does not match")
        return Artifact(tensors, json.loads(values))

    def values(self, key: str) -> dict[str, Any]:
        """An artifact's JSON values without its tensors.

        Raises:
            CorruptArtifactError: if they are missing or damaged.
            UnreadableError: if they exist and can't be read.
        """
        path = self.path(key)
        try:
            with regular_files.opened(path), safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
        except (SafetensorError, OSError, ValueError) as error:
            raise CorruptArtifactError(key, f"{path}: {error}") from error
        text = metadata.get("values", "")
        if metadata.get("key") != key or metadata.get("values_sha256") != _digest(text):
            raise CorruptArtifactError(key, f"{path}: checksum does not match")
        values: dict[str, Any] = json.loads(text)
        return values

    def discard(self, key: str) -> None:
        """Delete an artifact, if it exists; raises UnreadableError for one that can't be read, and leaves it."""
        regular_files.check_readable(self.path(key))
        self.path(key).unlink(missing_ok=True)

    def keys(self) -> list[str]:
        """The sorted keys of all artifacts, damaged ones too; links and files that `put` did not name are left out."""
        found = (_ARTIFACT.fullmatch(path.name) for path in self._files())
        return sorted(match[1] for match in found if match)

    def special(self) -> list[Path]:
        """Links, pipes and folders with an artifact's name; none of them is touched."""
        return sorted(path for path in self._files(ordinary=False) if _ARTIFACT.fullmatch(path.name))

    def checkpoints(self, key: str) -> Store:
        """A store for what is kept of an artifact while it is computed, in a folder beside the artifact's place."""
        return Store(self.root / key[:2] / f"{key}.checkpoints")

    def discard_checkpoints(self, key: str) -> None:
        """Delete them, if there are any; what can't be deleted stays."""
        folder = self.checkpoints(key).root
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)

    def interrupted(self) -> list[str]:
        """The sorted keys of the artifacts that have checkpoints: they are being computed, or were interrupted."""
        folders = (path for path in self._files(ordinary=False) if path.is_dir() and not path.is_symlink())
        found = (_CHECKPOINTS.fullmatch(path.name) for path in folders)
        return sorted(match[1] for match in found if match)

    def leftovers(self) -> list[Path]:
        """Temporary files of writers at work, or left behind by killed ones."""
        return sorted(path for path in self._files() if _TEMPORARY.fullmatch(path.name))

    def _files(self, ordinary: bool = True) -> Iterator[Path]:
        """The ordinary files in the folders of artifacts, or everything else there."""
        with os.scandir(self.root) as entries:
            folders = [e.path for e in entries if _FOLDER.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
        for folder in folders:
            with os.scandir(folder) as entries:
                yield from (
                    Path(entry.path)
                    for entry in entries
                    if entry.is_file(follow_symlinks=False) is ordinary
                    and entry.name.removeprefix(".").startswith(Path(folder).name)
                )


def _digest(values: str) -> str:
    return hashlib.sha256(values.encode()).hexdigest()


def _checksum(tensors: Mapping[str, Tensor], values: str) -> str:
    digest = hashlib.sha256(values.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name}:{value.dtype}:{tuple(value.shape)}".encode())
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
