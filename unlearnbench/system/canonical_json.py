"""JSON text that is the same for equal values: sorted keys, no spaces, finite numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def dumps(value: Any) -> str:
    """A JSON value as text. Raises ValueError for NaN, infinities and halves of characters."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    text.encode()  # half a character may be written as an escape
    return text


def object_text(text: str) -> str:
    """The text of a JSON object in that form. Raises ValueError if it is not an object, or gives a key twice."""
    value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_distinct)
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return dumps(value)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _distinct(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    listed = list(pairs)
    values = dict(listed)
    if len(values) < len(listed):
        raise ValueError("a key is there twice")
    return values
