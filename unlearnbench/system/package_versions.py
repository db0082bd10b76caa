"""Versions of the packages that numbers depend on, as far as they go into keys.

A minor version of torch or numpy may round, or draw, in another way; a patch and a build (``+cpu``) are not meant to.
So ``2.13`` of ``2.13.0+cpu`` is part of every key: after an upgrade the same command computes again, and what was
computed before is neither taken for its result nor averaged with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version

IN_EVERY_KEY = ("torch", "numpy")
COMPUTING = (*IN_EVERY_KEY, "scipy", "scikit-learn")
"""What the harness and built-in plugins compute with: a table that mixes several versions of one says so."""


@cache
def version_of(package: str) -> str:
    """The installed version; empty if there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@lru_cache(maxsize=1000)
def shown(package: str, full: str) -> str:
    """The part of a version that keys hold: major and minor of what the harness computes with, else all that is public.

    Versions before a release differ from day to day, so all of theirs counts.
    """
    if package in COMPUTING and (release := re.fullmatch(r"v?(\d+\.\d+)(\.\d+)*(\.post\d+)?(\+.*)?", full)):
        return release[1]
    is_release = re.fullmatch(r"v?\d+(\.\d+)*(\.post\d+)?(\+.*)?", full)
    return full.partition("+")[0] if is_release else full


def keyed(packages: Iterable[str], recorded: Mapping[str, str] | None = None) -> dict[str, str]:
    """What keys hold of packages; None: as they are installed here. `recorded`: as a record says that they were."""
    found = {name: version_of(name) if recorded is None else recorded.get(name, "") for name in packages}
    return {name: shown(name, full) for name, full in found.items()}
