"""Where things lie: the files and folders that a user names are absolute from the start, and shown as they were named.

A plugin is code that may call os.chdir, and what is relative would then lie elsewhere. Links are kept as they are.
"""

from __future__ import annotations

import re
from pathlib import Path

_named: dict[str, str] = {}  # this command's roots, as they were named


def forget() -> None:
    """A command begins: those of another one in this process are none of its own."""
    _named.clear()


def root(path: Path) -> Path:
    """The absolute path of what a user named."""
    absolute = path.absolute()
    if str(absolute) != str(path):
        _named[str(absolute)] = str(path)
    return absolute


def as_named(text: str) -> str:
    """A message with the roots in it as the user named them."""
    for absolute in sorted(_named, key=len, reverse=True):
        named = _named[absolute].replace("\\", r"\\")
        text = re.sub(rf"(?<![\w/.-]){re.escape(absolute)}(?!\w)", named, text)
    return text
