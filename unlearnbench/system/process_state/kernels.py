"""The kernels that Python code has registered for torch's operators, under any dispatch key.

A kernel changes what an operator computes for everybody, and no name in any module shows it. What matters are kernels
of torch's own operators and of operators that Python code had defined before, and new overloads of torch's own. A
plugin's own operators are its own affair, and what torch's modules register on import is torch's.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Iterator, Set
from pathlib import Path
from typing import NamedTuple

import torch
import torch.library  # (which `torch` alone does not promise)
from torch import _C
from torch._functorch.vmap import lazy_load_decompositions  # type: ignore[attr-defined]

from unlearnbench.system.process_state.shared_state import Change, spoil

_REGISTERED: set[str] = torch.library._impls  # "namespace/operator/dispatch key"
_DEFINED: set[str] = torch.library._defs  # "namespace::operator"
_KEYS = tuple(key for key in _C.DispatchKey.__members__.values() if not key.name.startswith(("StartOf", "EndOf")))
_TORCHS = Path(torch.__file__).parent
# Files of torch that register what others hand to them.
_ON_BEHALF = (_TORCHS / "library.py", _TORCHS / "_library")
_META = "/Meta"  # these compute shapes only


class _State(NamedTuple):
    """What is registered.

    Attributes:
        dumps: the dispatcher's description of each of torch's own operators that has a kernel in Python: such a kernel
            can be registered again under the same name.
        fallbacks: whether each dispatch key has a kernel for all operators.
    """

    kernels: frozenset[str]
    operators: frozenset[str]
    dumps: tuple[str, ...]
    fallbacks: tuple[bool, ...]


class Kernels:
    """What is registered now; `settle` compares and puts back."""

    def __init__(self) -> None:
        # The only ones of torch's own that it registers late, and not when a module is imported.
        lazy_load_decompositions()
        self._keep()

    def _keep(self) -> None:
        self._twice = sorted(name for name in _REGISTERED if name.startswith("aten/") and not name.endswith(_META))
        self._kept = self._state()
        self._modules = frozenset(sys.modules)

    def settle(self) -> Iterator[Change]:
        """Undo registrations made or ended since, and yield them.

        Raises:
            ProcessStateError: one can't be undone.
        """
        kept, now = self._kept, self._state()
        if now == kept:
            return
        changes = [Change(f"torch.library's kernel {name}", "torch's own", "another") for name in self._replaced(now)]
        changes += [Change(f"torch.library's kernel {name}", "its own", "none") for name in self._lost(now)]
        changes += [Change(f"torch.library's operator {name}", "none", "one") for name in self._defined(now)]
        pairs = zip(_KEYS, kept.fallbacks, now.fallbacks, strict=True)
        changes += [Change(f"torch.library's fallback of {key.name}", str(old), str(new))
                 for key, old, new in pairs if old != new]  # fmt: skip
        if changes:
            since = (now.kernels - kept.kernels) | (now.operators - kept.operators)
            wrong = {*self._replaced(now), *self._defined(now)}
            _end(wrong, since | wrong, kept.fallbacks != now.fallbacks)
            _REGISTERED.update(self._twice)  # whose other registrations ended; if their own did, too, it shows
            now = self._state()
            if [*self._replaced(now), *self._lost(now), *self._defined(now)] or kept.fallbacks != now.fallbacks:
                spoil(f"{', '.join(map(str, changes[:2]))} can't be put back")
        self._keep()
        yield from changes

    def _state(self) -> _State:
        dumps = tuple([_C._dispatch_dump(_operator(name)) for name in self._twice])
        return _State(frozenset(_REGISTERED), frozenset(_DEFINED), dumps,
                      tuple(map(_C._dispatch_has_backend_fallback, _KEYS)))  # fmt: skip

    def _replaced(self, now: _State) -> list[str]:
        """New kernels of operators that are not new, and kernels that were registered a second time."""
        there = self._kept.operators
        new = now.kernels - self._kept.kernels
        names = {name for name in new if name.startswith("aten/") or _operator(name) in there}
        pairs = zip(self._twice, self._kept.dumps, now.dumps, strict=True)
        names |= {name for name, before, after in pairs if before != after}
        return sorted(name for name in names if not self._is_torchs(_file_of(name)))

    def _lost(self, now: _State) -> list[str]:
        """Kernels of torch's own operators that are gone."""
        return sorted(name for name in self._kept.kernels - now.kernels if name.startswith("aten/"))

    def _defined(self, now: _State) -> list[str]:
        """New overloads of torch's own operators."""
        names = (name for name in now.operators - self._kept.operators if name.startswith("aten::"))
        return sorted(name for name in names if not self._is_torchs(_definer(name)))

    def _is_torchs(self, file: Path) -> bool:
        """Whether a module of torch that was imported since registered it by itself."""
        if not file.is_relative_to(_TORCHS) or any(file.is_relative_to(place) for place in _ON_BEHALF):
            return False
        return str(file) in {getattr(sys.modules[name], "__file__", None) for name in {*sys.modules} - self._modules}


def _operator(kernel: str) -> str:
    namespace, operator, _ = kernel.split("/")
    return f"{namespace}::{operator}"


def _file_of(kernel: str) -> Path:
    """The file that registered a kernel, according to the dispatcher."""
    key = kernel.rpartition("/")[2] or "CompositeImplicitAutograd"
    return _registered_by(_operator(kernel), rf"{key}(?:\[alias\])?")


def _definer(operator: str) -> Path:
    return _registered_by(operator, "debug")


def _registered_by(operator: str, of: str) -> Path:
    found = re.search(rf"^{of}: registered at (.*?):\d+(?: ::|$)", _C._dispatch_dump(operator), re.MULTILINE)
    return Path(found[1] if found else "")


def _end(wrong: set[str], since: Set[str], fallbacks: bool) -> None:
    """End these registrations, whoever holds them: torch lists only their names. A library that had registered
    something before is kept, and its new registrations can't be undone."""
    for each in gc.get_objects():
        if not issubclass(type(each), torch.library.Library):
            continue
        names = each._op_impls | each._op_defs
        if (names & wrong and names <= since) or (each.ns == "_" and fallbacks):
            each._destroy()
            _DEFINED.difference_update(each._op_defs)
