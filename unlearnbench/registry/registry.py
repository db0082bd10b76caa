"""Finds the plugins there are: built-in files, the files of --plugins folders, and installed entry points.

A plugin is one class in one file, and its name is the file's name. A file that can't be loaded is listed as broken and
does not affect others; two plugins of one kind and name are an error, because a result must say which of them made it.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unlearnbench.registry.base import KINDS, Kind
from unlearnbench.registry.candidates import candidates
from unlearnbench.registry.importing import check_distinct
from unlearnbench.registry.loading import load_candidate
from unlearnbench.registry.plugin_info import BrokenPlugin, PluginInfo
from unlearnbench.system.errors import InputError, suggest

# Everything that makes numbers imports these or is imported by them.
NUMBERS = (
    "unlearnbench.stages.jobs", "unlearnbench.running.runner", "unlearnbench.leaderboard.build",
    "unlearnbench.records.cell_rows", "unlearnbench.leaderboard.tuning_choice", "unlearnbench.submissions.merge",
)  # fmt: skip


@dataclass(frozen=True)
class Registry:
    """All plugins by name, and the broken ones."""

    methods: dict[str, PluginInfo]
    attacks: dict[str, PluginInfo]
    datasets: dict[str, PluginInfo]
    models: dict[str, PluginInfo]
    broken: list[BrokenPlugin]

    @property
    def is_released(self) -> bool:
        """Whether all plugins are those of a release."""
        return all(info.is_released for kind in KINDS for info in self.of(kind).values())

    def of(self, kind: Kind) -> dict[str, PluginInfo]:
        """The plugins of one kind."""
        kinds = {"method": self.methods, "attack": self.attacks, "dataset": self.datasets, "model": self.models}
        return kinds[kind]

    def taken(self, folder: Path) -> list[str]:
        """The plugins that come from a --plugins folder, each with its kind."""
        return [f"{info.kind} {info.name}" for info in self._from(folder)]

    def unknown(self, folder: Path) -> tuple[str, ...]:
        """The modules that files of a --plugins folder import and that were not found."""
        return next((info.made_of.unknown for info in self._from(folder) if info.made_of), ())

    def _from(self, folder: Path) -> list[PluginInfo]:
        every = [info for kind in KINDS for info in self.of(kind).values() if not info.builtin]
        return [info for info in every if Path(info.origin).is_relative_to(folder.resolve())]

    def find(self, kind: Kind, name: str, where: str) -> PluginInfo:
        """The plugin `name` of a kind; raises InputError at `where` with the nearest existing name."""
        found = self.of(kind).get(name)
        if found is not None:
            return found
        for broken in self.broken:
            if broken.name == name and broken.kind in (kind, None):
                raise InputError(where, f"{kind} '{name}' is broken: {broken.error} ({broken.origin})")
        for other in KINDS:
            if name in self.of(other):
                raise InputError(where, f"no {kind} is named '{name}'; that is the name of an existing {other}")
        raise InputError(where, f"unknown {kind} '{name}'{suggest(name, self.of(kind))}")


def discover(plugin_dirs: Sequence[Path] = ()) -> Registry:
    """Load all plugins. Imports torch.

    Args:
        plugin_dirs: folders whose ``*.py``, ``methods/*.py``, ``attacks/*.py``, ``datasets/*.py`` and ``models/*.py``
            are plugins too; files starting with ``_``, and what pytest looks for (``test_*.py``, ``conftest.py``), are
            not.

    Raises:
        InputError: a folder is missing, or two plugins have one kind and name.
    """
    from unlearnbench.system.process_state.definitions import Definitions
    from unlearnbench.system.process_state.guard import guarded

    # The user's own folders last: of two plugins with one name, the error is about hers.
    every = sorted(candidates(plugin_dirs), key=lambda each: (not each.builtin, each.folder is not None))
    outside = [candidate for candidate in every if not candidate.builtin]
    folders = {each.folder: each.made_of() for each in outside if each.folder and each.made_of}
    check_distinct(list(folders.items()))
    for module in NUMBERS if outside else ():  # imported before plugins, so that their changes are found
        importlib.import_module(module)
    registry, definitions = Registry({}, {}, {}, {}, []), None
    for candidate in every:
        if definitions is None and not candidate.builtin:
            definitions = Definitions()
        # What a plugin prints on import must not end up among the results on stdout.
        with contextlib.redirect_stdout(sys.stderr):
            loaded = load_candidate(candidate, guarded("its import", definitions, random=True))
        if isinstance(loaded, BrokenPlugin):
            registry.broken.append(loaded)
            continue
        same = registry.of(loaded.kind)
        if loaded.name in same:
            raise InputError(
                loaded.origin, f"a second {loaded.kind} named '{loaded.name}'; the first is {same[loaded.name].origin}"
            )
        same[loaded.name] = loaded
    return registry


def load(kind: Kind, name: str, plugin_dirs: Sequence[Path] = (), identified: bool = True) -> PluginInfo:
    """One plugin, without importing the others.

    Args:
        identified: whether to read everything that it is made of. False where that has been done already: `sha256` is
            then empty.

    Raises:
        InputError: there is none, or it is broken.
    """
    for candidate in candidates(plugin_dirs):
        if candidate.name == name and candidate.kind in (kind, None):
            loaded = load_candidate(candidate, contextlib.nullcontext(), identified)
            if isinstance(loaded, PluginInfo) and loaded.kind == kind:
                return loaded
            if isinstance(loaded, BrokenPlugin) and loaded.kind == kind:
                raise InputError(loaded.origin, loaded.error)
    raise InputError(f"{kind} '{name}'", "there is none")


def named(kind: Kind, plugin_dirs: Sequence[Path] = ()) -> dict[str, str]:
    """Where each plugin of a kind would come from, by name. Quick, and includes broken ones, because it loads none."""
    every = candidates(plugin_dirs)
    return {candidate.name: candidate.origin for candidate in every if candidate.kind in (kind, None)}
