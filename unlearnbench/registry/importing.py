"""Imports the files of plugins, such that what is loaded is what was hashed: changed helpers are read again."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from types import ModuleType

from unlearnbench.registry.identity import Identity
from unlearnbench.system.errors import InputError


class _Memory:
    """What this process has loaded. An object, because a module's own dictionaries are guarded against changes."""

    def __init__(self) -> None:
        self.loaded: dict[tuple[Path, ...], str] = {}


_MEMORY = _Memory()


def import_file(file: Path, name: str, folder: Path) -> ModuleType:
    """Import a file as a module called `name`.

    Args:
        folder: of the plugins. Other modules from there are removed from `sys.modules` again: plugins of another
            folder may have modules of the same names.
    """
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    # pydantic and dataclasses look their module up by name to understand annotations.
    sys.modules[name] = module
    known = set(sys.modules)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        for other in [other for other in sys.modules if other not in known]:
            if _is_below(sys.modules[other], (folder,)):
                del sys.modules[other]
    return module


def forget_changed(made_of: Identity) -> None:
    """Have modules that have changed since they were loaded imported anew: a worker may outlive a helper's content."""
    before = _MEMORY.loaded.get(made_of.places)
    if before is not None and before != made_of.content:
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] != "unlearnbench" and _is_below(module, made_of.places):
                del sys.modules[name]
        importlib.invalidate_caches()
    _MEMORY.loaded[made_of.places] = made_of.content


def foreign_helper(made_of: Identity) -> str | None:
    """Why a helper's name stands for a module from elsewhere than beside the plugin; None if all are its own."""
    for name in made_of.beside:
        module = sys.modules.get(name)
        if module is not None and getattr(module, "__file__", None) and not _is_below(module, made_of.places):
            return f"it imports {name}, which lies beside it, but that is {module.__file__}; give it another name"
    return None


def check_distinct(folders: Sequence[tuple[Path, Identity]]) -> None:
    """Raises InputError if a plugin that runs could import another folder's module in place of its own."""
    for (folder, one), (other, two) in permutations(folders, 2):
        if both := set(one.late) & set(two.tops):
            what = f"imports {min(both)} in a function, and {other} has a module of that name, too"
            raise InputError(f"--plugins {folder}", f"{what}; import it at the top of the file, or rename it")


def _is_below(module: ModuleType, places: Sequence[Path]) -> bool:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return False
    real = Path(file).resolve()
    return any(real.is_relative_to(place.resolve()) for place in places)
