"""Receipts of finished runs, so that running one again ends at once: planning needs torch, comparing hashes does not.

A receipt holds the SHA-256 of all that a plan depends on (suite, options, this package, plugins, data) and of every
record that the run left. Where anything differs or can't be read there is no receipt, and the run goes its ordinary
way. Nothing here may import torch, pandas or pyarrow, nor what this package makes of pydantic.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.registry.identity import of_folder
from unlearnbench.system import regular_files, yaml_reading
from unlearnbench.system.errors import InputError, UnreadableError
from unlearnbench.system.package_code import PLUGINS, package_files
from unlearnbench.system.package_versions import version_of
from unlearnbench.system.provenance import PACKAGES
from unlearnbench.system.version import PROTOCOL_VERSION, __version__

if TYPE_CHECKING:
    from unlearnbench.suite.plan import Plan


@dataclass(frozen=True)
class Request:
    """What was asked of a run: everything that its plan depends on but the data, which planning finds.

    Attributes:
        asked: options and environment, as JSON.
        files: SHA-256 of the suite file and this package's files, by absolute path, and of what the plugins of each
            folder are made of.
        results: the result folder.
    """

    asked: Mapping[str, Any]
    files: Mapping[str, str]
    results: Path

    @property
    def path(self) -> Path:
        """Where the receipt lies: a name for each selection, so that they don't replace each other's."""
        name = hashlib.sha256(json.dumps(self.asked, sort_keys=True).encode()).hexdigest()
        return self.results / "receipts" / f"{name}.json"


def request(
    suite: Path,
    selection: Mapping[str, Any],
    data_root: Path,
    plugin_dirs: Sequence[Path],
    results: Path | None,
    default: Path = Path("results"),
) -> Request | None:
    """Hash what the plan will be made from; None where that can't be known without planning.

    Args:
        results: the result folder; None: that of the suite's name in `default`.
    """
    try:
        results = results if results is not None else default / str(yaml_reading.read(suite)["name"])
    except (InputError, KeyError):
        return None
    # What else an installed plugin is made of, only itself knows.
    if any(importlib.metadata.entry_points(group=f"unlearnbench.{name}") for name in PLUGINS):
        return None
    asked = {
        "suite": str(suite.absolute()),
        "selection": dict(selection),
        "data_root": str(data_root.absolute()),
        "plugins": [str(folder.absolute()) for folder in plugin_dirs],
        "results": str(results.absolute()),
        "python": [sys.version, sys.prefix, os.environ.get("PYTHONPATH", "")],
        "version": [__version__, PROTOCOL_VERSION],
    }
    try:
        own = {str(folder.absolute()): of_folder(folder.resolve()) for folder in plugin_dirs}
        files = _hashes([suite.absolute(), *package_files().values()])
    except (OSError, InputError):  # planning says what is missing or can't be read
        return None
    if any(made_of.unknown for made_of in own.values()):
        return None  # every run is to say that changes of these go unnoticed
    used = (*PACKAGES, *(package for made_of in own.values() for package in made_of.packages))
    asked["packages"] = {name: version_of(name) for name in used}
    files |= {f"{folder}{os.sep}": made_of.sha256 for folder, made_of in own.items()}
    return Request(asked, files, results.absolute())


def find(wanted: Request) -> tuple[int, int] | None:
    """How many cells an earlier, finished run planned and skipped, if all that it read and wrote is as it was."""
    try:
        receipt = json.loads(regular_files.read(wanted.path))
        same = (
            receipt["asked"] == json.loads(json.dumps(wanted.asked))
            and receipt["files"] == dict(wanted.files)
            and all(regular_files.entries(Path(folder)) == listed for folder, listed in receipt["data_folders"].items())
            and _hashes(receipt["data_files"]) == receipt["data_files"]
            and leaderboard_is_current(wanted.results)
            and _hashes(receipt["records"]) == receipt["records"]
        )
        return (len(receipt["records"]), len(receipt["skipped"])) if same else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UnreadableError):
        return None


def keep(asked_before: Request, asked_after: Request | None, plan: Plan) -> None:
    """Write the receipt of a run that completed all its cells.

    Args:
        asked_before: hashed before anything was imported.
        asked_after: hashed now. If it differs, nobody knows which of the two was run.
    """
    if asked_after != asked_before:
        return
    settings = [cell.setting for cell in plan.cells]
    # Where a dataset of one's own looks for files, only its code knows; and only the suite names some packages.
    others = {package for setting in settings for package in setting.network.params.keyed_packages} - {*PACKAGES}
    if others or not all(setting.dataset.info.builtin for setting in settings):
        return
    from unlearnbench.system.parquet_files import write_atomically

    folder = asked_before.results / "records"
    records = [f"{folder}{os.sep}{cell.key}.parquet" for cell in plan.cells]
    content: dict[str, Any] = {"asked": asked_before.asked, "files": asked_before.files}
    content |= {"data_files": plan.data_files, "data_folders": plan.data_folders}
    content["skipped"] = [cell.key for cell in plan.cells if cell.skip is not None]
    with contextlib.suppress(OSError, UnreadableError):  # without a receipt the next run only takes longer
        content["records"] = _hashes(records)
        write_atomically(asked_before.path, json.dumps(content, sort_keys=True).encode())


def leaderboard_is_current(results: Path) -> bool:
    """Whether the leaderboard is there and no record came, went or changed since."""
    try:
        newest = (results / "records").stat().st_mtime_ns  # files are renamed into it, never changed in place
        return all((results / f"leaderboard.{end}").stat().st_mtime_ns > newest for end in ("parquet", "md"))
    except OSError:
        return False


def _hashes(files: Iterable[str | Path]) -> dict[str, str]:
    found = {}
    for file in files:
        name = os.fspath(file)
        with regular_files.opened(name) as stream:
            found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
