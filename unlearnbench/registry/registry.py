"""Finds the plugins there are: built-in files, installed entry points, and the files of --plugins folders.

A plugin is one class in one file and its name is the file's name. A file that can't be loaded is listed as broken and
harms nobody else; two plugins of one kind and name are an error, because a result must say which of them made it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from pathlib import Path
from types import ModuleType

from unlearnbench.registry.base import KINDS, Kind, Plugin
from unlearnbench.registry.identity import Identity, of_entry_point, of_folder
from unlearnbench.registry.importing import check_distinct, foreign_helper, forget_changed, import_file
from unlearnbench.settings.scenario import PluginParams
from unlearnbench.system import regular_files
from unlearnbench.system.errors import InputError, suggest
from unlearnbench.system.printing import error_line

# All that makes numbers imports or is imported by these.
NUMBERS = (
    "unlearnbench.stages.jobs", "unlearnbench.run.runner", "unlearnbench.leaderboard.build",
    "unlearnbench.records.cell_rows", "unlearnbench.leaderboard.tuning_choice", "unlearnbench.submissions.merge",
)  # fmt: skip
NAME = re.compile(r"[a-z][a-z0-9_]*")


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


@dataclass(frozen=True)
class Registry:
    """All plugins by name, and the broken ones."""

    methods: dict[str, PluginInfo]
    attacks: dict[str, PluginInfo]
    datasets: dict[str, PluginInfo]
    broken: list[BrokenPlugin]

    @property
    def is_released(self) -> bool:
        """Whether nobody's code is among them but a release's."""
        return all(info.is_released for kind in KINDS for info in self.of(kind).values())

    def of(self, kind: Kind) -> dict[str, PluginInfo]:
        """The plugins of one kind."""
        return {"method": self.methods, "attack": self.attacks, "dataset": self.datasets}[kind]

    def taken(self, folder: Path) -> list[str]:
        """The plugins that come from a --plugins folder, each with its kind."""
        return [f"{info.kind} {info.name}" for info in self._from(folder)]

    def unknown(self, folder: Path) -> tuple[str, ...]:
        """The modules that the files of a --plugins folder import and that were not found."""
        return next((info.made_of.unknown for info in self._from(folder) if info.made_of), ())

    def _from(self, folder: Path) -> list[PluginInfo]:
        every = [info for kind in KINDS for info in self.of(kind).values() if not info.builtin]
        return [info for info in every if Path(info.origin).is_relative_to(folder.resolve())]

    def method(self, name: str, where: str) -> PluginInfo:
        """The method `name`; raises InputError at `where` with the nearest name there is."""
        return self.find("method", name, where)

    def attack(self, name: str, where: str) -> PluginInfo:
        """The attack `name`; raises InputError at `where` with the nearest name there is."""
        return self.find("attack", name, where)

    def dataset(self, name: str, where: str) -> PluginInfo:
        """The dataset `name`; raises InputError at `where` with the nearest name there is."""
        return self.find("dataset", name, where)

    def find(self, kind: Kind, name: str, where: str) -> PluginInfo:
        """The plugin `name` of a kind; raises InputError at `where` with the nearest name there is."""
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


@cache
def released_plugins() -> frozenset[str]:
    """SHA-256 of the plugin files whose numbers are known under their `version` (`released.json`, made with the golden
    numbers of the tests)."""
    manifest = Path(__file__).with_name("released.json")
    return frozenset(json.loads(manifest.read_text(encoding="utf-8")).values())


def discover(plugin_dirs: Sequence[Path] = ()) -> Registry:
    """Load every plugin there is. Imports torch.

    Args:
        plugin_dirs: folders whose ``*.py``, ``methods/*.py``, ``attacks/*.py`` and ``datasets/*.py`` are plugins too;
            files starting with ``_``, and what pytest looks for (``test_*.py``, ``conftest.py``), are not.

    Raises:
        InputError: a folder is missing, or two plugins have one kind and name.
    """
    from unlearnbench.system.process_state.definitions import Definitions
    from unlearnbench.system.process_state.guard import guarded

    outside = [*_entry_points(), *_outside(plugin_dirs)]
    folders = {each.folder: each.made_of() for each in outside if each.folder and each.made_of}
    check_distinct(list(folders.items()))
    for module in NUMBERS if outside else ():  # what is imported before them can be told from what they make of it
        importlib.import_module(module)
    registry, definitions = Registry({}, {}, {}, []), None
    for candidate in (*_builtin(), *outside):
        if definitions is None and not candidate.builtin:
            definitions = Definitions()
        # What a plugin prints while it is loaded must not end up among the results on stdout.
        with contextlib.redirect_stdout(sys.stderr):
            loaded = candidate.load(guarded("its import", definitions, random=True))
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
        identified: whether to read all that it is made of; False where the caller's caller has: `sha256` is empty then.

    Raises:
        InputError: there is none, or it is broken.
    """
    # Entry points last: to list them, the metadata of every installed package is read.
    for candidate in chain(_builtin(), _outside(plugin_dirs), _entry_points()):
        if candidate.name == name and candidate.kind in (kind, None):
            loaded = candidate.load(contextlib.nullcontext(), identified)
            if isinstance(loaded, PluginInfo) and loaded.kind == kind:
                return loaded
            if isinstance(loaded, BrokenPlugin) and loaded.kind == kind:
                raise InputError(loaded.origin, loaded.error)
    raise InputError(f"{kind} '{name}'", "there is none")


def named(kind: Kind, plugin_dirs: Sequence[Path] = ()) -> dict[str, str]:
    """Where each plugin of a kind would come from, by name. Loads none, so that it is quick and finds broken ones."""
    candidates = (*_builtin(), *_entry_points(), *_outside(plugin_dirs))
    return {candidate.name: candidate.origin for candidate in candidates if candidate.kind in (kind, None)}


@dataclass(frozen=True)
class _Candidate:
    """Something that should hold a plugin: a file, or an entry point."""

    kind: Kind | None  # None: a file at the top of a --plugins folder may hold any kind
    name: str
    origin: str
    source: Path | importlib.metadata.EntryPoint
    module: str = ""
    builtin: bool = False
    folder: Path | None = None  # of --plugins, which it lies in
    made_of: Callable[[], Identity] | None = None  # what that is made of

    def load(self, guarded: AbstractContextManager[None], identified: bool = True) -> PluginInfo | BrokenPlugin:
        path = list(sys.path)
        try:
            sha256, made_of = self._identity() if identified else ("", None)  # before any of its code has run
            if made_of is not None:
                forget_changed(made_of)  # the harness's own doing, and not the plugin's
            with guarded:
                cls = self._class()
                if made_of is not None and (wrong := foreign_helper(made_of)) is not None:
                    raise _NotAPluginError(wrong)
                info = _check(self, cls, sha256, made_of)
                cls.name = self.name
                path += [entry for entry in sys.path if entry not in path]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit: a plugin must not be able to end the program
            plain = isinstance(error, _NotAPluginError | InputError) or type(error).__name__ == "ProcessStateError"
            text = str(error) if plain else error_line(error)
            return BrokenPlugin(self.kind, self.name, self.origin, text)
        sys.path[:] = path  # where it looks for modules beside it: the last place in which others look
        return info

    def _identity(self) -> tuple[str, Identity | None]:
        if self.made_of is not None:
            made_of = self.made_of()
        elif isinstance(self.source, Path):
            sha256 = hashlib.sha256(self.source.read_bytes()).hexdigest()
            if sha256 in released_plugins():
                return sha256, None
            made_of = of_folder(self.source.parent, released_plugins())
        else:
            made_of = of_entry_point(self.source)
        return made_of.sha256, made_of

    def _class(self) -> type[Plugin]:
        if isinstance(self.source, Path):
            regular_files.check_readable(self.source)  # to import a pipe would be to wait for it
            if self.builtin:
                return _only_plugin(importlib.import_module(self.module))
            assert self.folder is not None
            return _only_plugin(import_file(self.source, self.module, self.folder))
        loaded = self.source.load()
        return _only_plugin(loaded) if isinstance(loaded, ModuleType) else loaded


class _NotAPluginError(Exception):
    """A file that loads but does not hold one well-formed plugin class."""


def _builtin() -> Iterator[_Candidate]:
    for kind in KINDS:
        package = f"unlearnbench.{kind}s"
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for file in _files(Path(folder)):
                yield _Candidate(kind, file.stem, str(file), file, f"{package}.{file.stem}", builtin=True)


def _entry_points() -> Iterator[_Candidate]:
    for kind in KINDS:
        for point in sorted(importlib.metadata.entry_points(group=f"unlearnbench.{kind}s"), key=lambda p: p.name):
            distribution = f"{point.dist.name} {point.dist.version}" if point.dist else "entry point"
            yield _Candidate(kind, point.name, f"{distribution}: {point.value}", point)


def _outside(plugin_dirs: Sequence[Path]) -> Iterator[_Candidate]:
    for folder in dict.fromkeys(Path(folder).resolve() for folder in plugin_dirs):
        if not folder.is_dir():
            raise InputError(f"--plugins {folder}", "not a folder" if folder.exists() else "no such folder")
        made_of = cache(partial(of_folder, folder))  # once for all plugins there, and not if none is loaded
        places: list[tuple[Kind | None, Path]] = [(None, folder), *((kind, folder / f"{kind}s") for kind in KINDS)]
        for kind, place in places:
            for file in _files(place):
                digest = hashlib.sha256(str(file).encode(errors="surrogateescape")).hexdigest()[:16]
                module = f"_unlearnbench_plugin_{digest}_{file.stem}"
                yield _Candidate(kind, file.stem, str(file), file, module, folder=folder, made_of=made_of)


def _files(folder: Path) -> list[Path]:
    try:
        names = regular_files.listing(folder)
    except FileNotFoundError:
        return []
    return [folder / name for name in names if name.endswith(".py") and not _is_other(name)]


def _is_other(name: str) -> bool:
    """Whether a Python file beside plugins is none: shared code, or their tests."""
    return name.startswith(("_", "test_")) or name == "conftest.py"


def _only_plugin(module: ModuleType) -> type[Plugin]:
    """The one concrete plugin class that a module defines (not merely imports)."""
    own = {
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Plugin) and value.__module__ == module.__name__
    }
    concrete = sorted((cls for cls in own if not inspect.isabstract(cls)), key=lambda cls: cls.__name__)
    if len(concrete) == 1:
        return concrete[0]
    if concrete:
        names = ", ".join(cls.__name__ for cls in concrete)
        raise _NotAPluginError(f"{len(concrete)} plugin classes ({names}): keep one in a file")
    for cls in own:
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise _NotAPluginError(f"class {cls.__name__} does not implement {missing}")
    raise _NotAPluginError("no plugin class: define a subclass of Method, Attack or Dataset")


def _check(candidate: _Candidate, cls: type[Plugin], sha256: str, made_of: Identity | None) -> PluginInfo:
    """The plugin's entry in the registry; raises _NotAPluginError where the class breaks a rule."""
    if not (inspect.isclass(cls) and issubclass(cls, Plugin)) or inspect.isabstract(cls):
        raise _NotAPluginError("not a concrete subclass of Method, Attack or Dataset")
    kind = getattr(cls, "kind", None)
    if kind not in KINDS or candidate.kind not in (kind, None):
        raise _NotAPluginError(f"class {cls.__name__} is no {candidate.kind or 'method, attack or dataset'}")
    if not NAME.fullmatch(candidate.name):
        raise _NotAPluginError("the name must be lower-case letters, digits and _ and start with a letter")
    if not (inspect.isclass(cls.Params) and issubclass(cls.Params, PluginParams)):
        raise _NotAPluginError(f"{cls.__name__}.Params is not a subclass of unlearnbench.plugin.PluginParams")
    cls.Params.model_rebuild()  # an annotation that can't be resolved shows now, not in the middle of a run
    if type(cls.version) is not int:
        raise _NotAPluginError(f"{cls.__name__}.version is not a whole number")
    builtin, origin = candidate.builtin, candidate.origin
    return PluginInfo(candidate.name, kind, cls, origin, builtin, sha256, cls.version, made_of)
