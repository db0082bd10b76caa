"""Where a record comes from: code, packages, machine."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from pathlib import Path

from unlearnbench.system.package_code import CODE
from unlearnbench.system.package_versions import version_of
from unlearnbench.system.version import __version__

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "pillow", "pyarrow")


def versions(*more: str) -> dict[str, str]:
    """Versions of everything that numbers depend on, and the hash of this package's code.

    Args:
        more: packages that plugins need.
    """
    found = {"unlearnbench": __version__, "code": CODE[:12], "python": platform.python_version()}
    return found | {package: known for package in (*PACKAGES, *more) if (known := version_of(package))}


@cache
def git_state() -> tuple[str | None, bool | None]:
    """Commit of the checkout that the package runs from, and whether it has changes; None outside a checkout."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None, None
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit, None if status is None else bool(status)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
