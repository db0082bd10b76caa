"""The files and folders that a user names: absolute from the start, and shown as they were named.

A plugin may call os.chdir, after which relative paths would point elsewhere. Links are kept as they are.
"""

from __future__ import annotations

import re
from pathlib import Path

_named: dict[str, str] = {}  # this command's roots, as they were named


def forget() -> None:
    """Begin a command: forget the roots of an earlier one in this process."""
    _named.clear()


def root(path: Path, named: str | None = None) -> Path:
    """The absolute path of what a user named, by this path or by the name that is given."""
    absolute, shown = path.absolute(), named or str(path)
    if str(absolute) != shown:
        _named[str(absolute)] = shown
    return absolute


def as_named(text: str) -> str:
    """A message with the roots in it as the user named them."""
    for absolute in sorted(_named, key=len, reverse=True):
        named = _named[absolute].replace("\\", r"\\")
        text = re.sub(rf"(?<![\w/.-]){re.escape(absolute)}(?!\w)", named, text)
    return text
