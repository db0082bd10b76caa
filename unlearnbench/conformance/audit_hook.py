"""Notices and refuses what a plugin does outside its process: connections, files, programs.

This is an audit hook of the interpreter, so it sees what Python does in any library, but not what C code does by
itself. For this reason the plugin's working folder is checked, too. The hook is there to find mistakes; it is not a
sandbox against an attacker.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

What = Literal["network", "file", "program"]

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Position of the paths among an event's arguments.
_CHANGES = {
    "os.remove": (0,), "os.rename": (0, 1), "os.mkdir": (0,), "os.rmdir": (0,), "os.truncate": (0,), "os.chmod": (0,),
    "os.chown": (0,), "os.link": (1,), "os.symlink": (1,), "os.utime": (0,),
}  # fmt: skip
_LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
_PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile"}
# Programs that numerical libraries call for the number of cores and the locations of libraries.
_HARMLESS = {"lscpu", "sysctl", "uname", "ldconfig", "nproc"}


class RefusedError(PermissionError):
    """A plugin tried something that no plugin may do."""


class Attempt(NamedTuple):
    """Something that was refused; `to`: e.g. a path or an address."""

    what: What
    to: str


class AuditHook:
    """Refuses and records attempts while plugin code runs.

    Args:
        scratch: the folder in which plugins may write, tempfile's default.
    """

    def __init__(self, scratch: Path) -> None:
        self.attempts: list[Attempt] = []
        self._allowed = (os.path.realpath(scratch), "/dev", "/proc")
        self._active = False
        sys.addaudithook(self._hook)  # can't be removed again: one hook per process

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The context in which plugin code runs."""
        before, self._active = self._active, True
        try:
            yield
        finally:
            self._active = before

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._active:
            return
        attempt = self._attempt(event, args)
        if attempt is not None:
            self.attempts.append(attempt)
            raise RefusedError(f"unlearnbench check refuses {attempt.what} {attempt.to}")

    def _attempt(self, event: str, args: tuple[Any, ...]) -> Attempt | None:
        if event == "open":
            path, mode, flags = args
            writing = (isinstance(flags, int) and flags & _WRITING) or (mode and set(mode) & set("wax+"))
            return self._file(path) if writing else None
        if event in _CHANGES:
            return next((found for at in _CHANGES[event] if (found := self._file(args[at])) is not None), None)
        if event == "socket.connect":
            own, address = args[0], args[1]
            inside = own.family not in (socket.AF_INET, socket.AF_INET6)  # sockets between processes of this machine
            return None if inside else Attempt("network", _address(address))
        if event in _LOOKUPS:
            return Attempt("network", _address(args[:2]))
        if event in _PROGRAMS:
            program = _text(args[0]) if args else event
            return None if Path(program).name in _HARMLESS else Attempt("program", program)
        return None

    def _file(self, path: Any) -> Attempt | None:
        if not isinstance(path, str | bytes | os.PathLike):
            return None  # a file descriptor: it was checked when it was opened
        full = os.path.realpath(os.fsdecode(path))
        if any(full == place or full.startswith(place + os.sep) for place in self._allowed):
            return None
        return Attempt("file", full)


def _address(parts: Any) -> str:
    listed = parts if isinstance(parts, tuple) else (parts,)
    return ":".join(_text(part) for part in listed[:2])


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
