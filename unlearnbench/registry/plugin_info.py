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

# JPEG may be other pixels under another Pillow; what other datasets read is exact.
DATASET_PACKAGES: Mapping[str, tuple[str, ...]] = {"images": ("pillow",)}


@dataclass(frozen=True)
class PluginInfo:
    """A plugin that can be used.

    Attributes:
        origin: the path of its file, or its entry point as ``distribution version: module:Class``.
        builtin: whether it comes with unlearnbench; others are keyed by `sha256`.
        sha256: hash of a released plugin's file; of others, of all that they are made of (plugin_identity.py).
        made_of: what that is; None for a released one, which is known by its `version`.
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
        """The installed packages whose versions are part of its keys, beside those in every key."""
        declared = DATASET_PACKAGES.get(self.name, ()) if self.builtin and self.kind == "dataset" else ()
        return (*declared, *(self.made_of.packages if self.made_of else ()))

    @property
    def is_released(self) -> bool:
        """Whether its code is a release's, which `check` has examined as it is."""
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
    """SHA-256 of the plugin files whose numbers are known under their `version` (`released.json`, made with the golden
    numbers of the tests)."""
    manifest = Path(__file__).with_name("released.json")
    return frozenset(json.loads(manifest.read_text(encoding="utf-8")).values())
