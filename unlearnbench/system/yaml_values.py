"""What an unquoted word means in YAML: by YAML 1.2's core schema, or an error where YAML 1.1 reads it differently.

Many programs (PyYAML among them) read YAML 1.1, in which 1:30 is 90, 010 is 8 and `no` is false. An author may mean
either; guessing would run a suite that nobody wrote.
"""

from __future__ import annotations

import json
import math
import re
from datetime import date
from typing import Any

import yaml

from unlearnbench.system.printing import one_line

_NULL = ("", "~", "null", "Null", "NULL")
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
LETTERS = {"y": True, "Y": True, "n": False, "N": False}  # truth values of YAML 1.1, text to PyYAML
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL, _HEXADECIMAL = re.compile(r"0o[0-7]+"), re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE, _NAN = re.compile(r"[-+]?\.(inf|Inf|INF)"), re.compile(r"\.(nan|NaN|NAN)")
_LONGEST = 400  # digits of a number


def read(word: str) -> Any:
    """The value of an unquoted word: None, a truth value, a number or text.

    Raises:
        ValueError: YAML 1.1 and YAML 1.2 differ, or the number is too large; says what to write instead.
    """
    value, old = _new(word), _old(word)
    if isinstance(value, float) and (old == word or isinstance(old, float)):
        return value  # YAML 1.1 takes 1e-3 for text, because it has no dot; everybody means the number
    if type(old) is type(value) and old == value:
        return value
    raise ValueError(_difference(word, old, value))


def is_text(word: str) -> bool:
    """Whether every version of YAML reads an unquoted word as text."""
    try:
        return bool(read(word) == word)
    except ValueError:
        return False


def dump(value: Any, width: int) -> str:
    """JSON values as YAML that every version reads alike, keys in the order given."""
    text: str = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=False, width=width)
    return text


class Dumper(yaml.SafeDumper):
    """SafeDumper that also quotes what some version does not read as text."""


def _text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, None if is_text(text) else "'")


Dumper.add_representer(str, _text)


def _new(word: str) -> Any:
    """By YAML 1.2."""
    if word in _NULL:
        return None
    if word in _TRUTH:
        return _TRUTH[word]
    if len(word) > _LONGEST and _FLOAT.fullmatch(word):
        raise ValueError("number too large")
    if _INTEGER.fullmatch(word):
        return int(word)
    if _OCTAL.fullmatch(word):
        return int(word, 8)
    if _HEXADECIMAL.fullmatch(word):
        return int(word, 16)
    if _FLOAT.fullmatch(word):
        number = float(word)
        if math.isinf(number):
            raise ValueError("number too large")
        return number
    if _INFINITE.fullmatch(word):
        return float(word.replace(".", ""))
    return math.nan if _NAN.fullmatch(word) else word


def _old(word: str) -> Any:
    """By YAML 1.1; only the kind of value, where PyYAML recognises one that it can't read."""
    if word in LETTERS:
        return LETTERS[word]
    loader = yaml.SafeLoader("")
    tag = loader.resolve(yaml.ScalarNode, word, (True, False))  # type: ignore[no-untyped-call]
    try:
        return loader.construct_object(yaml.ScalarNode(tag, word))
    except (yaml.YAMLError, ValueError):
        return _Kind(tag.rpartition(":")[2])


class _Kind(str):
    """A kind of value."""


def _difference(word: str, old: object, new: object) -> str:
    values = dict.fromkeys(json.dumps(value) for value in (old, new) if _is_plain(value))
    quotes = "put it in quotes" if len(values) < 2 else "put it in quotes if it is text"
    advice = f"write {' or '.join(values)}, or {quotes}" if values else quotes
    return f"'{one_line(word, 40)}' is {_shown(old, word)} in YAML 1.1 and {_shown(new, word)} in YAML 1.2: {advice}"


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float) and math.isfinite(value)


def _shown(value: object, word: str) -> str:
    if isinstance(value, date):
        return "a date"
    if isinstance(value, _Kind):
        return {"merge": "a merge key", "value": "a default key"}.get(value, f"a {value}")
    return "text" if value == word else one_line(json.dumps(value), 40)
