"""Makes the kernel deny this process files and signals, where it can (Landlock, Linux 5.13 and later; no root needed).

What is denied stays denied, also to whatever the process starts, and to C code as well as to Python.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache

# linux/landlock.h; the numbers of its system calls are those of all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH, _READ_FILE, _SCOPE_SIGNAL = 1, 1, 1 << 2, 1 << 1
_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h


def version() -> int:
    """The version of Landlock that this kernel has; 0: none. From 6 on it can deny signals, too."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(_call(_CREATE_RULESET, None, 0, _VERSION), 0)


def refuse_to_read(closed: Sequence[str], open_: Sequence[str]) -> bool:
    """From now on this process can't read files below closed folders, nor signal processes that it has not started.

    It still sees names and sizes there. It can't read what is put beside or above these folders later, either.

    Args:
        closed: folders.
        open_: folders that may be read even inside closed ones; where both are nested, the inner one counts.

    Returns:
        Whether the kernel does that.
    """
    known = version()
    if not known:
        return False
    # struct landlock_ruleset_attr: files, network, scopes; older kernels know a shorter one.
    attributes = struct.pack("QQQ", _READ_FILE, 0, _SCOPE_SIGNAL)[: 24 if known >= 6 else 16 if known >= 4 else 8]
    ruleset = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    try:
        barred = [os.path.realpath(folder) for folder in closed]
        for folder in (os.sep, *map(os.path.realpath, open_)):
            for path in _beside(folder, barred) if _is_above(folder, barred) else [folder]:
                _allow(ruleset, path)
        return bool(_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 and _call(_RESTRICT_SELF, ruleset, 0, 0) == 0)
    finally:
        os.close(ruleset)


def _beside(folder: str, barred: Sequence[str]) -> Iterator[str]:
    """Everything in a folder but what is barred; folders that lead to barred ones are replaced by their contents."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() or entry.path in barred:
                continue  # where a link leads is allowed under its own name, or not at all
            if _is_above(entry.path, barred):
                yield from _beside(entry.path, barred)
            else:
                yield entry.path


def _is_above(folder: str, barred: Sequence[str]) -> bool:
    return any(path.startswith(folder.rstrip(os.sep) + os.sep) for path in barred)


def _allow(ruleset: int, path: str) -> None:
    with suppress(OSError):  # it is gone, or may not be looked at
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            # struct landlock_path_beneath_attr, which is packed
            _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", _READ_FILE, place), 0)
        finally:
            os.close(place)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _call(number: int, *arguments: int | bytes | None) -> int:
    try:
        given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
        return int(_libc().syscall(ctypes.c_long(number), *given))
    except (OSError, AttributeError):
        return -1
