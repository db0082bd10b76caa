"""Errors that a user can act on. The command line prints them as one line and exits with code 2."""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

StrPath = str | os.PathLike[str]


class InputError(Exception):
    """Bad input: says where it is, what is wrong with it and, if there is one, the nearest valid name.

    Args:
        where: the file, key path or option at fault, e.g. ``suites/a.yaml:experiments.leak.methods[0]``.
        what: what is wrong and what to do about it, as one line.
    """

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str]]:
        # The default would rebuild from the one joined message and fail in another process.
        return type(self), (self.where, self.what)


class InputErrors(InputError):  # noqa: N818
    """Several mistakes in one suite: shown as the first and the number of the others, for whoever expects one.

    Args:
        errors: two or more, in the order in which they are reported.
    """

    def __init__(self, errors: Sequence[InputError]) -> None:
        first, more = errors[0], len(errors) - 1
        others = "1 more mistake" if more == 1 else f"{more} more mistakes"
        super().__init__(first.where, f"{first.what} (and {others}: `unlearnbench validate` shows all)")
        self.errors = tuple(errors)

    def __reduce__(self) -> tuple[type[InputErrors], tuple[Sequence[InputError]]]:  # type: ignore[override]
        return type(self), (self.errors,)


def each_of(error: InputError) -> tuple[InputError, ...]:
    """The errors that one stands for."""
    return error.errors if isinstance(error, InputErrors) else (error,)


class Mistakes:
    """Collects errors where work can go on after them; the same one twice counts once."""

    def __init__(self) -> None:
        self._found: dict[str, InputError] = {}

    @contextmanager
    def noted(self, but_at: str | None = None) -> Iterator[None]:
        """A context in which an InputError is kept instead of raised.

        Args:
            but_at: errors at this very place are dropped: they may only follow from another mistake.
        """
        try:
            yield
        except InputError as error:
            for each in each_of(error):
                if each.where != but_at:
                    self.add(each)

    def add(self, error: InputError) -> None:
        """Keep an error, or each one of several."""
        for each in each_of(error):
            self._found.setdefault(str(each), each)

    def settle(self) -> None:
        """Raises the error that was kept, or InputErrors if there are more; nothing if there are none."""
        found = list(self._found.values())
        if found:
            raise found[0] if len(found) == 1 else InputErrors(found)


class UnreadableError(InputError):
    """A file that exists and can't be read. Its content is unknown: it counts neither as missing nor as damaged, and is
    not replaced."""


def unreadable(error: Exception, place: StrPath) -> UnreadableError:
    """The error about a file or folder that exists and can't be read, with the system's reason."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UnreadableError(os.fspath(place), f"can't be read: {why}")


def unwritable(error: OSError, place: StrPath) -> InputError:
    """The error about a file or folder that can't be written, or about the file below it that the system names."""
    return InputError(str(error.filename or place), f"can't be written: {error.strerror or error}")


class AccessError(Exception):
    """An attack asked for something that it did not declare in its ``access``."""


def an(noun: str) -> str:
    """A noun with its article: a method, an attack."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def suggest(name: str, valid: Iterable[str]) -> str:
    """The tail of an error about an unknown name: the nearest valid one, else all valid ones."""
    choices = sorted(valid)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; valid: {', '.join(choices)}" if choices else "; there are none"


def records_of(folder: Path) -> Path:
    """The folder `records` of a result folder. Raises InputError if it has none, or can't be looked into."""
    records = folder / "records"
    try:
        is_folder = stat.S_ISDIR(records.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_folder = False
    except OSError as error:
        raise unreadable(error, records) from error
    if not is_folder:
        raise InputError(str(folder), "holds no folder 'records'; give one that run has written, e.g. results/<suite>")
    return records
