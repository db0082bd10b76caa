"""The package's code as it is installed: two machines with the same `__version__` may have different code."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

PLUGINS = ("methods", "attacks", "datasets", "models")  # subpackages, and groups of entry points
PLUGIN_FILES = "_unlearnbench_plugin_"  # the modules that files of --plugins folders become begin with it


def subpackage(name: str) -> list[Path]:
    """The folders of a subpackage, without importing it: methods/ and attacks/ of a checkout lie beside the package."""
    spec = importlib.util.find_spec(f"unlearnbench.{name}")
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []


def package_files() -> dict[str, Path]:
    """The files that numbers depend on, by their names in the package wherever it lies; nothing is imported.

    Raises:
        OSError: a folder can't be read.
    """
    root = Path(__file__).parents[1]
    files = {f"unlearnbench/{file.relative_to(root).as_posix()}": file for file in root.rglob("*.py")}
    files["unlearnbench/registry/released.json"] = root / "registry" / "released.json"
    for name in PLUGINS:
        for folder in subpackage(name):
            files |= {f"unlearnbench/{name}/{file.name}": file for file in folder.glob("*.py")}
    return dict(sorted(files.items()))


def code_sha256() -> str:
    """The hash of the package's code: of names and contents, as it is on disk now. Takes milliseconds."""
    digest = hashlib.sha256()
    for name, file in package_files().items():
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()


CODE = code_sha256()
"""The hash when this process began, which is that of the code it runs."""
