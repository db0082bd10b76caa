"""Files among a dataset's files that are not read, and why: nothing is left out silently."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from unlearnbench.system.printing import visible

SYSTEM = "hidden, or made by the system"
_SYSTEM = ("thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", "__macosx")
_NAMED = 3  # files that are shown of each kind


class LeftOut(NamedTuple):
    """A file or folder that is not read."""

    path: Path
    why: str


def is_system(path: Path) -> bool:
    """Whether a file or folder is hidden, or made by a file manager, and so not meant to be an image."""
    return path.name.startswith(".") or path.name.lower() in _SYSTEM


def describe_left_out(left_out: Sequence[LeftOut], folder: Path) -> str:
    """All of it on one line, by reason, the first few by name."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for path, why in left_out:
        kinds[why].append(visible(path.relative_to(folder).as_posix()))
    return "left out: " + ("; ".join(f"{len(names)} {why} ({_some(names)})" for why, names in kinds.items()) or "none")


def _some(names: Sequence[str]) -> str:
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])


def counted(kinds: Iterable[tuple[str, int]]) -> str:
    """Counts in words: ``300 RGBA over white, 20 L``."""
    return ", ".join(f"{number} {what}" for what, number in kinds)
