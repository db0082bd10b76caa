"""State that a whole process shares and that plugin code could leave changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, TypeAlias

from unlearnbench.system.printing import error_line, one_line

SPOILT: list[str] = []  # why nothing may be computed in this process any more
LONGEST = 60  # characters of a value worth showing


class ProcessStateError(Exception):
    """A plugin left the process changed; the cell fails with this text."""


def spoil(what: str) -> NoReturn:
    """Something can't be put back: this cell fails, and so does everything that this process would compute after it."""
    SPOILT.append(f"{what} in this process; start the run again without the plugin that changed it")
    raise ProcessStateError(SPOILT[-1])


class Change(NamedTuple):
    """A change that was found and undone.

    Attributes:
        name: what a reader would search for, e.g. ``torch.set_default_dtype``.
        before, after: its values, as text.
    """

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name} (from {self.before} to {self.after})"


Read: TypeAlias = Callable[[], Any]
Write: TypeAlias = Callable[[Any], object]
Describe: TypeAlias = Callable[[Any, Any], list[Change]]


@dataclass(frozen=True)
class SharedState:
    """How one piece of shared state is read and put back, and its changes described.

    Attributes:
        read: its value; equal values are the same state.
        write: makes the value what it was, whatever it is now.
        describe: the changes between two values that differ. What is not a plugin's fault is left out, but put back.
    """

    name: str
    read: Read
    write: Write
    describe: Describe | None = None

    def changes(self, before: Any, after: Any) -> list[Change]:
        """The changes between two values that differ, in words."""
        if self.describe is not None:
            return self.describe(before, after)
        return [Change(self.name, shown(before), shown(after))]


def shown(value: Any) -> str:
    """A value on one short line, whatever it is: it comes from plugins."""
    try:
        text = value if isinstance(value, str) else getattr(value, "__qualname__", None) or repr(value)
        if " at 0x" in text:  # its place in memory, which is another one each time
            text = type(value).__qualname__
        return one_line(str(text) or "''", LONGEST)
    except Exception as error:
        return one_line(error_line(error), LONGEST)


def table(name: str, rows: Iterable[tuple[str, Read, Write]], describe: Describe | None = None) -> SharedState:
    """Values that are read together and put back one by one in this order; rows are (name, read, write)."""
    names, reads, writes = zip(*rows, strict=True)

    def read() -> tuple[Any, ...]:
        return tuple([read() for read in reads])

    def write(values: tuple[Any, ...]) -> None:
        for read, write, value in zip(reads, writes, values, strict=True):
            if read() != value:
                write(value)

    return SharedState(name, read, write, describe or named(names))


def named(names: Sequence[str]) -> Describe:
    """Describes tuples of values by their names: the changes are the values that differ."""

    def changes(before: Sequence[Any], after: Sequence[Any]) -> list[Change]:
        values = zip(names, before, after, strict=True)
        return [Change(name, shown(old), shown(new)) for name, old, new in values if old != new]

    return changes
