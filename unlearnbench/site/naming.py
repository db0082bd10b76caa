"""File names and ids made from text that others wrote."""

from __future__ import annotations

import hashlib
import re

_UNSAFE = re.compile(r"[^a-z0-9_]+")
_LONGEST = 48


def slug(text: str) -> str:
    """A name of lower-case letters, digits, ``_`` and ``-``: different texts have different names.

    Such a name stays as it is. Only lower case is used, as some file systems ignore case.
    """
    safe = _UNSAFE.sub("-", text.lower())[:_LONGEST].strip("-")
    if safe and safe == text:
        return safe
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe}-{digest}" if safe else digest


def split_id(name: str) -> tuple[str, str]:
    """A contender's id as its plugin's name and its parameters: ``crfu[lr=1]`` gives ``crfu`` and ``lr=1``."""
    head, bracket, tail = name.partition("[")
    return (head, tail.removesuffix("]")) if bracket and name.endswith("]") else (name, "")
