"""What names stand for: functions, classes and constants of the harness and of the libraries it computes with.

Replacing `torch.nn.functional.log_softmax` changes what every other plugin computes. Each name is compared by identity
with what it stood for before, and so are the parts of functions (code, defaults) and the entries of the harness's
mappings and lists. New names in modules come from lazy imports; new names in classes hide inherited ones.
"""

from __future__ import annotations

import builtins
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from operator import attrgetter, is_, methodcaller
from pathlib import Path
from typing import Any

from unlearnbench.system.package_code import PLUGIN_FILES
from unlearnbench.system.process_state.kernels import Kernels
from unlearnbench.system.process_state.shared_state import Change, shown, spoil

HARNESS = ("unlearnbench", PLUGIN_FILES)
PLUGINS = ("unlearnbench.methods.", "unlearnbench.attacks.", PLUGIN_FILES)
# Everything that the harness computes with, and what most plugins call. Only functions, classes and modules are
# compared in libraries: what else they keep under a name is their own affair.
LIBRARIES = (
    "base64", "builtins", "collections", "contextlib", "copy", "dataclasses", "datetime", "functools", "gc", "hashlib",
    "heapq", "inspect", "io", "itertools", "json", "math", "operator", "os", "os.path", "pathlib", "random", "re",
    "signal", "statistics", "struct", "sys", "tempfile", "threading", "time", "types", "zlib",
    "numpy", "numpy.fft", "numpy.linalg", "numpy.random", "pandas", "PIL", "PIL.ExifTags",
    "PIL.Image", "PIL.ImageCms", "PIL.ImageFile", "PIL.ImageOps", "PIL.TiffImagePlugin", "PIL.features",
    "pyarrow", "pyarrow.compute", "pyarrow.parquet", "pydantic", "pydantic.fields", "pydantic_core", "safetensors",
    "safetensors.torch", "scipy.optimize", "scipy.special", "scipy.stats",
    "sklearn.base", "sklearn.cluster", "sklearn.datasets", "sklearn.ensemble", "sklearn.exceptions",
    "sklearn.linear_model", "sklearn.metrics", "sklearn.neural_network", "sklearn.pipeline", "sklearn.preprocessing",
    "sklearn.svm", "sklearn.tree", "threadpoolctl",
    "torch", "torch._C", "torch._C._functorch", "torch._C._linalg", "torch._C._nn", "torch._C._special",
    "torch._functorch.apis", "torch._functorch.eager_transforms", "torch._functorch.functional_call",
    "torch._functorch.vmap", "torch._tensor", "torch.autograd", "torch.autograd.forward_ad", "torch.autograd.function",
    "torch.backends", "torch.backends.cudnn", "torch.cuda", "torch.distributions", "torch.fft", "torch.func",
    "torch.library", "torch.linalg", "torch.nn", "torch.nn.functional", "torch.nn.init", "torch.nn.modules.module",
    "torch.nn.utils", "torch.optim", "torch.optim.adam", "torch.optim.sgd", "torch.optim.optimizer", "torch.overrides",
    "torch.random", "torch.special", "torch.utils._device", "torch.utils._pytree", "torchvision.models",
)  # fmt: skip
# Names that Python and libraries themselves set later.
LATE = frozenset(("__warningregistry__", "__annotations__", "__doc__", "__abstractmethods__", "_abc_impl",
                  "__annotations_cache__", "__static_attributes__", "__slotnames__"))  # fmt: skip
_MUTABLE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class that Python code can change
_IMMUTABLE = 1 << 8
_ABSENT = object()
_PARTS = ("__code__", "__defaults__", "__kwdefaults__")
_values, _parts = methodcaller("values"), attrgetter(*_PARTS)


@dataclass
class _Names:
    """The names of a module, class or mapping, and what they stood for.

    Attributes:
        minds: whether a changed name matters, given the name and what it stood for.
        grows: whether a new name matters, given the name and what it stands for.
    """

    title: str
    live: Mapping[Any, Any]
    kept: dict[Any, Any]
    put: Callable[[Any, Any], None]
    drop: Callable[[Any], None]
    minds: Callable[[Any, Any], bool]
    grows: Callable[[Any, Any], bool]

    @property
    def is_same(self) -> bool:
        """Whether these are the same names in the same order, for the same things."""
        return len(self.live) == len(self.kept) and all(map(is_, self.live.values(), self.kept.values()))

    def settle(self) -> Iterator[Change]:
        """Put back what names stood for, and yield the changes."""
        for name, old in self.kept.items():
            new = self.live.get(name, _ABSENT)
            if _is_same(old, new) or not self.minds(name, old) or _is_torchs_own(f"{self.title}.{name}", old, new):
                continue
            self.put(name, old)
            after = "nothing" if new is _ABSENT else f"another {shown(new)}"
            yield Change(f"{self.title}.{name}", _kind(old), after)
        more = {name: new for name, new in self.live.items() if name not in self.kept and self.grows(name, new)}
        for name, new in more.items():
            self.drop(name)
            yield Change(f"{self.title}.{name}", "nothing of its own", shown(new))
        self.kept = dict(self.live)


class Definitions:
    """What the names of all relevant modules stand for now; `settle` compares and puts back."""

    def __init__(self) -> None:
        self._modules: dict[str, types.ModuleType] = {}
        self._names: list[_Names] = []
        self._lists: list[tuple[str, list[Any], list[Any]]] = []
        self._functions: list[types.FunctionType] = []
        self._seen: set[int] = set()
        self._kernels = Kernels()
        self._include()

    def _include(self) -> None:
        """Include modules that were imported since."""
        for name in _chosen():
            module = sys.modules[name]
            if self._modules.get(name) is not module and isinstance(module, types.ModuleType):
                self._modules[name] = module
                self._take(name, module)
        self._remember()

    def _remember(self) -> None:
        """Keep all names in a few lists that are compared without a Python loop: there are tens of thousands."""
        self._lives = [names.live for names in self._names]
        self._kept = list(chain.from_iterable(map(_values, self._lives)))
        self._parts = list(chain.from_iterable(map(_parts, self._functions)))
        self._loaded = len(sys.modules)

    def settle(self) -> list[Change]:
        """Put back and return what has changed; what was imported since is included from now on."""
        found = []
        for name, module in self._modules.items():
            # A plugin's file is imported anew whenever plugins are looked for.
            if sys.modules.get(name) is not module and not name.startswith(PLUGIN_FILES):
                found.append(Change(f"sys.modules[{name!r}]", "a module", shown(type(sys.modules.get(name)).__name__)))
                sys.modules[name] = module
        same = sum(map(len, self._lives)) == len(self._kept)
        if not (same and all(map(is_, chain.from_iterable(map(_values, self._lives)), self._kept))):
            found += [change for names in self._names if not names.is_same for change in names.settle()]
            same = False
        for title, live, kept in self._lists:
            if len(live) != len(kept) or not all(map(is_, live, kept)):
                found.append(Change(title, f"{len(kept)} entries", "others"))
                live[:] = kept
        if not all(map(is_, chain.from_iterable(map(_parts, self._functions)), self._parts)):
            found += self._settle_parts()
        found += self._kernels.settle()
        if len(sys.modules) != self._loaded:
            found += _forgotten(name for name in _chosen() if name not in self._modules)
            same = False
        if not same:
            self._include()
        return found

    def _settle_parts(self) -> Iterator[Change]:
        kept = iter(self._parts)
        for function in self._functions:
            for part, old in zip(_PARTS, islice(kept, len(_PARTS)), strict=True):
                if getattr(function, part) is not old:
                    setattr(function, part, old)
                    yield Change(f"{function.__module__}.{function.__qualname__}'s {part}", "its own", "another")

    # --- taking in --------------------------------------------------------------------------------------------------

    def _take(self, name: str, module: types.ModuleType) -> None:
        space = vars(module)
        mine = name.startswith(HARNESS)
        # A plugin's own module may hold what it likes.
        own_affair = not mine or name.startswith(PLUGINS)
        minds: Callable[[Any, Any], bool] = _is_definition if own_affair else _any_name
        if module is sys:  # its hooks and last errors are not definitions
            minds = _is_built_in
        grows = _hides_builtin if module is not builtins else _never
        self._names.append(_Names(name, space, dict(space), space.__setitem__, space.__delitem__, minds, grows))
        parts = mine or name == "torch.nn.functional"  # elsewhere whole functions have to do
        for key, value in list(space.items()):
            if id(value) in self._seen:
                continue
            if isinstance(value, type):
                self._take_class(value, name)
            elif isinstance(value, types.FunctionType):
                if parts:
                    self._take_function(value)
            elif not own_affair and not key.startswith("__"):
                self._take_container(f"{name}.{key}", value)

    def _take_class(self, cls: type, module: str) -> None:
        root = cls.__module__.partition(".")[0]
        flags = cls.__flags__
        if root != module.partition(".")[0] or not flags & _MUTABLE or flags & _IMMUTABLE:
            return
        self._seen.add(id(cls))
        title, space = f"{cls.__module__}.{cls.__qualname__}", vars(cls)
        own_affair = not module.startswith(HARNESS) or module.startswith(PLUGINS)
        minds = _in_library_class if own_affair else _in_class
        put, drop = partial(type.__setattr__, cls), partial(type.__delattr__, cls)
        self._names.append(_Names(title, space, dict(space), put, drop, minds, minds))
        for value in space.values() if module.startswith(HARNESS) else ():
            for function in _functions_of(value):
                self._take_function(function)

    def _take_function(self, function: types.FunctionType) -> None:
        if id(function) not in self._seen:
            self._seen.add(id(function))
            self._functions.append(function)

    def _take_container(self, title: str, value: Any) -> None:
        self._seen.add(id(value))
        if type(value) is dict:
            self._names.append(
                _Names(title, value, dict(value), value.__setitem__, value.__delitem__, _any_name, _any_name)
            )
        elif type(value) is list:
            self._lists.append((title, value, list(value)))


def _chosen() -> list[str]:
    """The imported modules that are compared."""
    libraries = [name for name in LIBRARIES if name in sys.modules]
    return [*libraries, *(name for name in list(sys.modules) if name.startswith(HARNESS))]


def _forgotten(names: Iterable[str]) -> Iterator[Change]:
    """Forget modules that a plugin was the first to import and put its own functions or classes into: others import
    them anew. A class of another module that it changed can't be restored.

    Raises:
        ProcessStateError: there is such a class.
    """
    for name in names:
        if name.startswith(PLUGINS):
            continue
        for key, value in list(getattr(sys.modules[name], "__dict__", {}).items()):
            own = isinstance(value, type) and value.__module__.partition(".")[0] == name.partition(".")[0]
            changed = [part for part, each in vars(value).items() if _is_plugins(each)] if own else []
            if changed and value.__module__ != name:
                spoil(f"{value.__module__}.{value.__qualname__}.{changed[0]} can't be put back")
            if changed or _is_plugins(value):
                del sys.modules[name]
                yield Change(f"{name}.{key}", "its own", "another")
                break


def _is_plugins(value: Any) -> bool:
    return str(getattr(value, "__module__", None)).startswith(PLUGIN_FILES)


def _functions_of(value: Any) -> Iterator[types.FunctionType]:
    """The functions that a class has under a name."""
    parts = [value, getattr(value, "__func__", None)] if not isinstance(value, property) else [value.fget, value.fset]
    yield from (part for part in parts if isinstance(part, types.FunctionType))


def _any_name(name: Any, _: Any) -> bool:
    return name not in LATE


def _never(_name: str, _value: Any) -> bool:
    return False


def _hides_builtin(name: str, _: Any) -> bool:
    return name in vars(builtins)


def _in_class(name: str, _: Any) -> bool:
    return name not in LATE and not name.startswith(("__pydantic", "_abc_"))


def _in_library_class(name: str, value: Any) -> bool:
    """Numbers and the like are a library's own affair: torch counts hook handles in a class attribute."""
    return _in_class(name, value) and (callable(value) or hasattr(value, "__get__"))


def _is_definition(name: str, value: Any) -> bool:
    return name not in LATE and (callable(value) or isinstance(value, types.ModuleType))


def _is_built_in(_: str, value: Any) -> bool:
    return isinstance(value, types.BuiltinFunctionType) and value.__module__ == "sys"


def _is_same(old: Any, new: Any) -> bool:
    """Whether both are the same object, or equal numbers or texts."""
    return new is old or (type(new) is type(old) and type(old) in (bool, int, float, str) and bool(new == old))


def _is_torchs_own(name: str, old: Any, new: Any) -> bool:
    """Whether torch itself wrapped a function: the step of an optimiser when the first one of its class is made, and
    `torch.manual_seed`, which its compiler is to leave alone. `torch.Storage` follows the default type."""
    if name == "torch.Storage":
        return True
    if getattr(new, "__wrapped__", None) is not old or not name.startswith("torch."):
        return False
    file = getattr(getattr(new, "__code__", None), "co_filename", "")
    torchs = Path(str(sys.modules["torch"].__file__)).parent
    places = {"step": torchs / "optim" / "optimizer.py", "manual_seed": torchs / "_compile.py"}
    return Path(file) == places.get(name.rpartition(".")[2])


def _kind(value: Any) -> str:
    return "its own" if callable(value) else shown(value)
