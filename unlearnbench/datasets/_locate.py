"""The places of a dataset's files, and one-line errors about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unlearnbench.plugin import Dataset
from unlearnbench.registry.base import name_of
from unlearnbench.system.errors import InputError
from unlearnbench.system.escaping import one_line


def missing(dataset: Dataset, path: Path, how: str) -> InputError:
    """The error about missing files: which dataset, the full path, how to get them."""
    return InputError(str(path.absolute()), f"dataset {name_of(dataset)}: not found; {how}")


def damaged(path: Path | str, what: str) -> InputError:
    """The error about a file whose content does not fit its name."""
    where = path if isinstance(path, str) else str(path.absolute())
    return InputError(where, f"{one_line(what)}; delete it and get it again")


def prepare_hint(root: Path) -> str:
    return f"get it with `unlearnbench prepare SUITE --data {root.absolute()}`"


def inside(dataset: Dataset, root: Path, path: str) -> Path:
    """`path` below the data root: a suite may come from anyone, and must read nothing but declared data.

    Raises:
        InputError: the path, or a link in it, leaves the data root.
    """
    found = root / path
    if "\0" in path or ".." in Path(path).parts or not is_inside(root, found):
        raise InputError(
            f"{name_of(dataset)}.path", f"'{one_line(path)}' leaves the data root {root.absolute()}; see --data"
        )
    return found


def check_inside(root: Path, files: Sequence[Path]) -> None:
    """Raise InputError for the first file that is a link out of the data root, or lies in one."""
    folders = {file.parent for file in files}
    for path in [*sorted(folders), *(file for file in files if file.is_symlink())]:
        if not is_inside(root, path):
            raise InputError(str(path.absolute()), f"is a link out of the data root {root.absolute()}; see --data")


def is_inside(root: Path, path: Path) -> bool:
    """Whether a path, with all links followed, lies below the data root."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return False
