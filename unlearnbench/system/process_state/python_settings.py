"""What Python and numpy keep for the whole process."""

from __future__ import annotations

import decimal
import gc
import locale
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from unlearnbench.system.process_state.shared_state import Change, Read, SharedState, Write, named, table

# --- the process and its surroundings --------------------------------------------------------------------------------


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 (text, as os.chdir takes it back)
    except FileNotFoundError:  # removed under our feet: nothing to go back to
        return None


def _go_to(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _umask() -> int:
    # It can only be read by setting it. Files that another thread makes in between are readable to nobody else.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _set_environment(values: Mapping[bytes, bytes]) -> None:
    for name in [name for name in os.environb if name not in values]:
        del os.environb[name]
    for name, value in values.items():
        if os.environb.get(name) != value:
            os.environb[name] = value


def _environment_changes(before: Mapping[bytes, bytes], after: Mapping[bytes, bytes]) -> list[Change]:
    """By name only: values may be secrets, and these texts end up in records that are published."""
    found = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new and name not in LIBRARIES_SET:
            what = "unset" if new is None else "a value" if old is None else "another value"
            found.append(Change(f"os.environ[{os.fsdecode(name)!r}]", "unset" if old is None else "its value", what))
    return found


# What scikit-learn, matplotlib and torch's profiler and compiler set on first use, which may be in any stage. It is put
# back like everything else, without a failure.
LIBRARIES_SET = {
    b"CUBLAS_WORKSPACE_CONFIG", b"DISABLE_CUPTI_LAZY_REINIT", b"KMP_DUPLICATE_LIB_OK", b"KMP_INIT_AT_FORK",
    b"MPLCONFIGDIR", b"TEARDOWN_CUPTI", b"TORCHINDUCTOR_CACHE_DIR", b"TORCH_WARM_POOL", b"TRITON_CACHE_DIR",
    b"TRITON_LIBDEVICE_PATH", b"TRITON_PTXAS_PATH", b"_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR",
}  # fmt: skip

# --- the interpreter -------------------------------------------------------------------------------------------------


def _set_path(path: list[str]) -> None:
    sys.path[:] = path


def _path_changes(before: list[str], after: list[str]) -> list[Change]:
    """Plugins add entries to find modules beside them: these are removed again without a failure."""
    rest = iter(after)
    if all(entry in rest for entry in before):  # all of them, in their order
        return []
    return [Change("sys.path", f"{len(before)} entries", "less of them, or another order")]


_INTERPRETER: tuple[tuple[str, Read, Write], ...] = (
    ("sys.setrecursionlimit", sys.getrecursionlimit, sys.setrecursionlimit),
    ("sys.setswitchinterval", sys.getswitchinterval, sys.setswitchinterval),
    ("sys.set_int_max_str_digits", sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    ("sys.settrace", sys.gettrace, sys.settrace),
    ("sys.setprofile", sys.getprofile, sys.setprofile),
    ("gc.enable, gc.disable", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    ("gc.set_threshold", gc.get_threshold, lambda thresholds: gc.set_threshold(*thresholds)),
    ("gc.set_debug", gc.get_debug, gc.set_debug),
    ("os.umask", _umask, os.umask),
    ("the current folder (os.chdir)", _folder, _go_to),
    ("locale.setlocale", partial(locale.setlocale, locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL)),
)


def _context() -> tuple[Any, ...]:
    """The context of decimal numbers, without its flags, which every calculation sets."""
    context = decimal.getcontext()
    return (
        context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp,
        tuple(context.traps.values()),
    )  # fmt: skip


def _set_context(values: tuple[Any, ...]) -> None:
    context = decimal.getcontext()
    context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp, traps = values
    context.traps = dict(zip(context.traps, traps, strict=True))


# --- warnings and logging --------------------------------------------------------------------------------------------


def _set_filters(filters: list[Any]) -> None:
    warnings.simplefilter("default")  # tells the module that something changed; it is gone again in the next line
    warnings.filters[:] = filters  # type: ignore[index]


def _filters_changes(before: list[Any], after: list[Any]) -> list[Change]:
    """Changes of general filters. Filters of one message, one module or a library's own class are what libraries add
    for themselves on import."""

    def general(filters: list[Any]) -> list[Any]:
        return [
            (action, category)
            for action, message, category, module, line in filters
            if message is None and module is None and not line and category.__module__ == "builtins"
        ]

    old, new = general(before), general(after)
    if old == new:
        return []
    added = next((entry for entry in new if entry not in old), None)
    what = "another order, or less" if added is None else f"'{added[0]}' of {added[1].__name__}"
    return [Change("warnings.filters", f"{len(old)} general ones", what)]


_ROOT = logging.getLogger()


def _set_handlers(handlers: tuple[logging.Handler, ...]) -> None:
    _ROOT.handlers[:] = handlers


def _set_root_filters(filters: tuple[Any, ...]) -> None:
    _ROOT.filters[:] = filters


_LOGGING: tuple[tuple[str, Read, Write], ...] = (
    ("logging's root level", lambda: _ROOT.level, _ROOT.setLevel),
    ("logging.disable", lambda: _ROOT.manager.disable, partial(setattr, _ROOT.manager, "disable")),
    ("logging.raiseExceptions", lambda: logging.raiseExceptions, partial(setattr, logging, "raiseExceptions")),
    ("logging's root handlers", lambda: tuple(_ROOT.handlers), _set_handlers),
    ("logging's root filters", lambda: tuple(_ROOT.filters), _set_root_filters),
)

# --- numpy -----------------------------------------------------------------------------------------------------------

_NUMPY: tuple[tuple[str, Read, Write], ...] = (
    ("numpy.seterr", np.geterr, lambda errors: np.seterr(**errors)),
    ("numpy.seterrcall", np.geterrcall, np.seterrcall),
    ("numpy.setbufsize", np.getbufsize, np.setbufsize),
    ("numpy.set_printoptions", np.get_printoptions, lambda options: np.set_printoptions(**options)),
)

# --- all of them -----------------------------------------------------------------------------------------------------

_PRECISION = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")
STATES = (
    table("sys", _INTERPRETER),
    SharedState("os.environ", lambda: dict(os.environb), _set_environment, _environment_changes),
    SharedState("sys.path", lambda: list(sys.path), _set_path, _path_changes),
    SharedState("decimal", _context, _set_context, named([f"decimal.getcontext().{name}" for name in _PRECISION])),
    SharedState("warnings.filters", lambda: list(warnings.filters), _set_filters, _filters_changes),
    table("logging", _LOGGING),
    table("numpy", _NUMPY),
)
