"""Versions of the packages that numbers depend on, in the form that keys hold.

A minor version of torch or numpy may round or draw differently; a patch or a build (``+cpu``) should not. So ``2.13``
of ``2.13.0+cpu`` is part of every key: after an upgrade the same command computes again, and earlier results are
neither taken for the new ones nor averaged with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version

IN_EVERY_KEY = ("torch", "numpy")
COMPUTING = (*IN_EVERY_KEY, "scipy", "scikit-learn")
"""What the harness and built-in plugins compute with: a table that mixes versions of one of them says so."""


@cache
def version_of(package: str) -> str:
    """The installed version; empty if there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@lru_cache(maxsize=1000)
def shown(package: str, full: str) -> str:
    """The part of a version that keys hold: major and minor for what the harness computes with, else all but the build.

    Pre-releases differ from day to day, so their full version counts.
    """
    if package in COMPUTING and (release := re.fullmatch(r"v?(\d+\.\d+)(\.\d+)*(\.post\d+)?(\+.*)?", full)):
        return release[1]
    is_release = re.fullmatch(r"v?\d+(\.\d+)*(\.post\d+)?(\+.*)?", full)
    return full.partition("+")[0] if is_release else full


def keyed(packages: Iterable[str], recorded: Mapping[str, str] | None = None) -> dict[str, str]:
    """What keys hold of packages, as they are installed here or, with `recorded`, as a record lists them."""
    found = {name: version_of(name) if recorded is None else recorded.get(name, "") for name in packages}
    return {name: shown(name, full) for name, full in found.items()}
