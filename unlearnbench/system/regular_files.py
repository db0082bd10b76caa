"""The one place that opens files which others may have put there: ordinary ones, or one line that says why not.

Three cases are distinguished. A file that does not exist is a FileNotFoundError, and may be made. One that exists and
can't be read (no permission, a broken disk, a pipe, a socket, a device, a folder, a link to nothing) is an
UnreadableError: its content is unknown, so it counts neither as missing nor as damaged, and is not replaced. Whether
readable content is damaged is for the caller to say. Nothing here blocks, as opening a pipe would.

Links to ordinary files are followed: git-annex and the like keep large files that way, and a link to nothing is one
whose content is elsewhere at the moment. Records that others send are checked more strictly: submissions/reading.py.
"""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from pathlib import Path

from unlearnbench.system.errors import StrPath, UnreadableError, unreadable

_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)  # Windows has neither, nor such pipes
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def opened(name: StrPath) -> FileIO:
    """An ordinary file, open for reading, unbuffered.

    Raises:
        FileNotFoundError: it does not exist.
        UnreadableError: it exists and can't be read, or is not an ordinary file.
    """
    path = os.fspath(name)
    if not is_there(path):  # before it is opened: opening a device may already use it
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    try:
        file = FileIO(path, opener=_open)
        try:
            _refuse_special(os.fstat(file.fileno()).st_mode, path)  # it may have been replaced meanwhile
        except BaseException:
            file.close()
            raise
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise unreadable(error, path) from error
    return file


def read(name: StrPath, most: int = -1) -> bytes:
    """The content of an ordinary file, or its first `most` bytes. Raises as `opened`."""
    with opened(name) as file:
        try:
            return file.readall() if most < 0 else _first(file, most)
        except OSError as error:
            raise unreadable(error, name) from error


def is_there(name: StrPath) -> bool:
    """Whether an ordinary file has this name. Looks only at its kind, and does not open it.

    Raises:
        UnreadableError: something else has the name, or it may not be looked at.
    """
    path = os.fspath(name)
    try:
        _refuse_special(os.stat(path).st_mode, path)  # noqa: PTH116 (of ten thousand files a Path each takes as long)
    except (FileNotFoundError, NotADirectoryError):
        if Path(path).is_symlink():
            raise UnreadableError(path, "can't be read: a link to nothing") from None
        return False
    except (OSError, ValueError) as error:
        raise unreadable(error, path) from error
    return True


def check_readable(name: StrPath) -> None:
    """Raise UnreadableError if a file of this name exists and can't be read; a missing one is no error."""
    try:
        opened(name).close()
    except FileNotFoundError:
        return


def listing(folder: StrPath) -> list[str]:
    """The sorted names of everything in a folder. (`Path.glob` finds nothing where it may not look.)

    Raises:
        FileNotFoundError: there is no such folder.
        UnreadableError: it can't be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(folder)) from error
    except (OSError, ValueError) as error:
        raise unreadable(error, folder) from error


def append(name: StrPath, text: str) -> None:
    """Add to an ordinary file, or make it; anything else is refused with an OSError."""
    number = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _AT_ONCE, 0o666)
    with os.fdopen(number, "a", encoding="utf-8", errors="backslashreplace") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, _what(os.fstat(number).st_mode), os.fspath(name))
        file.write(text)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | _AT_ONCE)


def _refuse_special(mode: int, path: str) -> None:
    if not stat.S_ISREG(mode):
        raise UnreadableError(path, f"can't be read: {_what(mode)}")


def _what(mode: int) -> str:
    kind = next((words for test, words in _KINDS if test(mode)), "something special")
    return f"{kind}, not an ordinary file"


def _first(file: FileIO, most: int) -> bytes:
    parts, left = [], most
    while left and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def entries(folder: Path) -> list[str]:
    """The entries of a folder, folders with a slash at the end; empty if there is no such folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as found:
        return sorted(entry.name + "/" * entry.is_dir() for entry in found)
