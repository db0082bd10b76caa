"""What the registry knows of a plugin that can be used, and of one that can't."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from unlearnbench.registry.base import Kind, Plugin
from unlearnbench.registry.identity import Identity

# Another Pillow may decode a JPEG to other pixels; what other datasets read is exact.
DATASET_PACKAGES: Mapping[str, tuple[str, ...]] = {"images": ("pillow",)}


@dataclass(frozen=True)
class PluginInfo:
    """A plugin that can be used.

    Attributes:
        origin: the path of its file, or its entry point as ``distribution version: module:Class``.
        builtin: whether it comes with unlearnbench; others are keyed by `sha256`.
        sha256: of a released plugin's file, or of everything that another plugin is made of (identity.py).
        made_of: what that is; None for a released plugin, which is identified by its `version`.
    """

    name: str
    kind: Kind
    cls: type[Plugin]
    origin: str
    builtin: bool
    sha256: str
    version: int
    made_of: Identity | None = None

    @property
    def packages(self) -> tuple[str, ...]:
        """The installed packages whose versions are part of its keys, in addition to those in every key."""
        declared = DATASET_PACKAGES.get(self.name, ()) if self.builtin and self.kind == "dataset" else ()
        return (*declared, *(self.made_of.packages if self.made_of else ()))

    @property
    def is_released(self) -> bool:
        """Whether its code is that of a release, which `check` has examined in this form."""
        return self.builtin and self.sha256 in released_plugins()

    @property
    def documentation(self) -> str:
        """The docstrings of the plugin's module and of its class (not an inherited one); may be empty."""
        module = getattr(sys.modules.get(self.cls.__module__), "__doc__", None)
        texts = [inspect.cleandoc(text) for text in (module, self.cls.__dict__.get("__doc__")) if text]
        return "\n\n".join(texts)

    @property
    def description(self) -> str:
        """The first line of the documentation."""
        return next((line.strip() for line in self.documentation.splitlines() if line.strip()), "")


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin file that can't be used, and why, in one line."""

    kind: Kind | None
    name: str
    origin: str
    error: str


@cache
def released_plugins() -> frozenset[str]:
    """SHA-256 of the plugin files that are identified by their `version` (`released.json`, written with the tests'
    golden numbers)."""
    manifest = Path(__file__).with_name("released.json")
    return frozenset(json.loads(manifest.read_text(encoding="utf-8")).values())
