"""Where a dataset's files lie, and the one-line errors about them."""

from __future__ import annotations

from pathlib import Path

from unlearnbench.errors import InputError
from unlearnbench.plugin import Dataset


def name_of(dataset: Dataset) -> str:
    """The plugin's name, which is its file's name."""
    return dataset.name or type(dataset).__module__.rpartition(".")[2]


def missing(dataset: Dataset, path: Path, how: str) -> InputError:
    """The error about files that aren't there: which dataset, the full path, how to get them."""
    return InputError(str(path.absolute()), f"dataset {name_of(dataset)}: not found; {how}")


def damaged(path: Path | str, what: str) -> InputError:
    """The error about a file that can't be what its name says."""
    where = path if isinstance(path, str) else str(path.absolute())
    return InputError(where, f"{one_line(what)}; delete it and get it again")


def prepare_hint(root: Path) -> str:
    return f"get it with `unlearnbench prepare SUITE --data {root.absolute()}`"


def inside(dataset: Dataset, root: Path, path: str) -> Path:
    """`path` as given if it is absolute, else below the data root.

    Raises:
        InputError: a relative path that would leave the data root.
    """
    given = Path(path)
    if not given.is_absolute() and ".." in given.parts:
        raise InputError(
            f"{name_of(dataset)}.path", f"'{path}' leaves the data root; give a path below it, or an absolute one"
        )
    return root / given


def one_line(text: object, longest: int = 300) -> str:
    """Another library's message without its line breaks, cut to a readable length."""
    joined = " ".join(str(text).split())
    return joined if len(joined) <= longest else joined[:longest] + "..."
