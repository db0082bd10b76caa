"""Python's standard streams: which objects they are, whether they are open, and which files their numbers stand for."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, NamedTuple

from unlearnbench.system.process_state.shared_state import Change, SharedState, shown
from unlearnbench.system.streams import reopen

_NAMES = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")
_HOOKS = ("excepthook", "displayhook")
_KEPT = 8


class Stream(NamedTuple):
    """A stream and its file descriptor, which is None if it has none or is closed."""

    stream: Any
    number: int | None
    is_open: bool


def _read(name: str) -> Stream:
    stream = getattr(sys, name)
    try:
        if stream.closed:
            return Stream(stream, None, False)
        return Stream(stream, stream.fileno(), True)
    except io.UnsupportedOperation:  # one in memory
        return Stream(stream, None, True)
    except ValueError:  # what it wrote to was taken from it
        return Stream(stream, None, False)
    except Exception:  # None, or anything else that plugins put there
        return Stream(stream, None, True)


def _streams() -> tuple[Any, ...]:
    return (*map(_read, _NAMES), *[getattr(sys, name) for name in _HOOKS])


def _set_streams(values: tuple[Any, ...]) -> None:
    for name, value in zip(_NAMES, values, strict=False):
        setattr(sys, name, value.stream)
        if value.is_open and value.number is not None and not _read(name).is_open:
            reopen(value.stream, value.number, "r" if "stdin" in name else "w")
    for name, value in zip(_HOOKS, values[len(_NAMES) :], strict=True):
        setattr(sys, name, value)


def _stream_changes(before: tuple[Any, ...], after: tuple[Any, ...]) -> list[Change]:
    found = []
    for name, old, new in zip((*_NAMES, *_HOOKS), before, after, strict=True):
        if old == new:
            continue
        if not isinstance(old, Stream) or old.stream is not new.stream:
            old, new = getattr(old, "stream", old), getattr(new, "stream", new)
            found.append(Change(f"sys.{name}", shown(old), shown(new)))
        else:
            found.append(Change(f"sys.{name}", "open", "open" if new.is_open else "closed"))
    return found


# --- the files that their numbers stand for --------------------------------------------------------------------------


class _Copies:
    """A descriptor of each file seen, to restore it with; no plugin knows of them.

    An object, because the guard compares a module's own dictionaries.
    """

    def __init__(self) -> None:
        self.descriptors: dict[tuple[int, int], int] = {}

    def keep(self, identity: tuple[int, int], number: int) -> None:
        if identity not in self.descriptors:
            while len(self.descriptors) >= _KEPT:
                os.close(self.descriptors.pop(next(iter(self.descriptors))))
            self.descriptors[identity] = os.dup(number)


_COPIES = _Copies()


def _files() -> tuple[tuple[int, int] | None, ...]:
    return tuple(map(_file, range(3)))


def _file(number: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(number)
    except OSError:
        return None
    identity = (found.st_dev, found.st_ino)
    _COPIES.keep(identity, number)
    return identity


def _set_files(identities: tuple[tuple[int, int] | None, ...]) -> None:
    for number, identity in enumerate(identities):
        if identity != _file(number):
            if identity is None:
                os.close(number)
            else:
                os.dup2(_COPIES.descriptors[identity], number)


def _files_changes(before: tuple[Any, ...], after: tuple[Any, ...]) -> list[Change]:
    return [
        Change(f"file descriptor {number}", "its file" if old else "none", "another" if new else "closed")
        for number, (old, new) in enumerate(zip(before, after, strict=True))
        if old != new
    ]


STATES = (
    SharedState("file descriptors 0 to 2", _files, _set_files, _files_changes),
    SharedState("sys.stdout", _streams, _set_streams, _stream_changes),
)
