"""Loads the plugin of a candidate, or says in one line why it holds none."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

from unlearnbench.registry.base import KINDS, PLUGIN_NAME, Plugin, contract_error
from unlearnbench.registry.candidates import Candidate
from unlearnbench.registry.identity import Identity, of_entry_point, of_folder
from unlearnbench.registry.importing import foreign_helper, forget_changed, import_file
from unlearnbench.registry.plugin_info import BrokenPlugin, PluginInfo, released_plugins
from unlearnbench.settings.scenario import PluginParams
from unlearnbench.system import regular_files
from unlearnbench.system.errors import InputError, an
from unlearnbench.system.printing import error_line
from unlearnbench.system.process_state.shared_state import ProcessStateError


class _NotAPluginError(Exception):
    """A file that loads but does not hold one well-formed plugin class."""


def load_candidate(
    candidate: Candidate, guarded: AbstractContextManager[None], identified: bool = True
) -> PluginInfo | BrokenPlugin:
    """Load a plugin inside `guarded`; see `registry.load` for `identified`."""
    path = list(sys.path)
    try:
        sha256, made_of = _identity(candidate) if identified else ("", None)  # before any of its code has run
        if made_of is not None:
            forget_changed(made_of)  # outside the guard: this is the harness's doing, not the plugin's
            if "torchvision" in made_of.packages:  # a plain import may fail, which this one repairs
                from unlearnbench.system.torchvision_import import import_torchvision  # imports torch

                import_torchvision()
        with guarded:
            cls = _class(candidate)
            if made_of is not None and (wrong := foreign_helper(made_of)) is not None:
                raise _NotAPluginError(wrong)
            info = _check(candidate, cls, sha256, made_of)
            cls.name = candidate.name
            path += [entry for entry in sys.path if entry not in path]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit: a plugin must not be able to end the program
        plain = isinstance(error, _NotAPluginError | InputError | ProcessStateError)
        text = str(error) if plain else error_line(error)
        return BrokenPlugin(candidate.kind, candidate.name, candidate.origin, text)
    sys.path[:] = path  # where it finds modules beside it; for others this is searched last
    return info


def _identity(candidate: Candidate) -> tuple[str, Identity | None]:
    if candidate.made_of is not None:
        made_of = candidate.made_of()
    elif isinstance(candidate.source, Path):
        sha256 = hashlib.sha256(candidate.source.read_bytes()).hexdigest()
        if sha256 in released_plugins():
            return sha256, None
        made_of = of_folder(candidate.source.parent, released_plugins())
    else:
        made_of = of_entry_point(candidate.source)
    return made_of.sha256, made_of


def _class(candidate: Candidate) -> type[Plugin]:
    if isinstance(candidate.source, Path):
        regular_files.check_readable(candidate.source)  # importing a pipe would block
        if candidate.builtin:
            return _only_plugin(importlib.import_module(candidate.module))
        assert candidate.folder is not None
        return _only_plugin(import_file(candidate.source, candidate.module, candidate.folder))
    loaded = candidate.source.load()
    return _only_plugin(loaded) if isinstance(loaded, ModuleType) else loaded


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
    raise _NotAPluginError("no plugin class: define a subclass of Method, Attack, Dataset or Model")


def _check(candidate: Candidate, cls: type[Plugin], sha256: str, made_of: Identity | None) -> PluginInfo:
    """The plugin's entry in the registry; raises _NotAPluginError where the class breaks a rule."""
    if not (inspect.isclass(cls) and issubclass(cls, Plugin)) or inspect.isabstract(cls):
        raise _NotAPluginError("not a concrete subclass of Method, Attack, Dataset or Model")
    kind = getattr(cls, "kind", None)
    if kind not in KINDS or candidate.kind not in (kind, None):
        wanted = candidate.kind or "method, attack, dataset or model"
        raise _NotAPluginError(f"class {cls.__name__} is not {an(wanted)}")
    if (why := contract_error(getattr(cls, "contract", ""))) is not None:
        raise _NotAPluginError(why)
    if not PLUGIN_NAME.fullmatch(candidate.name):
        raise _NotAPluginError("the name must be lower-case letters, digits and _ and start with a letter")
    if not (inspect.isclass(cls.Params) and issubclass(cls.Params, PluginParams)):
        raise _NotAPluginError(f"{cls.__name__}.Params is not a subclass of unlearnbench.plugin.PluginParams")
    cls.Params.model_rebuild()  # an annotation that can't be resolved fails now, not in the middle of a run
    if kind == "model" and "name" in cls.Params.model_fields:
        raise _NotAPluginError(f"{cls.__name__}.Params.name: a suite gives parameters beside the name; rename it")
    if type(cls.version) is not int:
        raise _NotAPluginError(f"{cls.__name__}.version is not a whole number")
    builtin, origin = candidate.builtin, candidate.origin
    return PluginInfo(candidate.name, kind, cls, origin, builtin, sha256, cls.version, made_of)
