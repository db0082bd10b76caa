"""Reads YAML as plain JSON values, refusing what makes YAML dangerous or ambiguous, each with a key path.

Values are those of YAML 1.2's core schema (yaml_values.py). Refused: what YAML 1.1 reads differently, files over 1 MB,
nesting over 20 deep, anchors and aliases (alias bombs), duplicate keys, keys that are not text, tags, and values that
could not be written back as JSON or printed.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from pathlib import Path
from typing import Any

import yaml

from unlearnbench.system import regular_files, yaml_values
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import one_line
from unlearnbench.system.roots import as_named

LARGEST_FILE = 1_000_000  # bytes
DEEPEST = 20
LARGEST_INTEGER = 2**63
_BREAK = re.compile("[\x85\u2028\u2029]")


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; raises InputError naming the file and the key at fault."""
    try:
        content = regular_files.read(path, LARGEST_FILE + 1)
    except FileNotFoundError:
        raise InputError(str(path), f"no such file{_neighbour(path)}") from None
    if len(content) > LARGEST_FILE:
        raise InputError(str(path), f"over {LARGEST_FILE:,} bytes; a suite is a small file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"not UTF-8 text (byte {error.start + 1})") from error
    value = parse(text, str(path))
    if not isinstance(value, dict):
        found = "empty" if value is None else f"a {_kind(value)} at the top level"
        raise InputError(str(path), f"{found}; expected a mapping of keys to values")
    return value


def parse(text: str, where: str) -> Any:
    """The JSON value of a YAML text; `where` stands before the key path in errors."""
    if found := _BREAK.search(text):
        line, name = text.count("\n", 0, found.start()) + 1, f"U+{ord(found.group()):04X}"
        raise InputError(
            where, f"line {line}: holds {name}, which ends a line in YAML 1.1 and not in YAML 1.2: leave it out"
        )
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            return None if node is None else _value(node, where, "")
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InputError(where, one_line(f"{place}{error.problem or error.context}")) from error
    except yaml.YAMLError as error:
        raise InputError(where, one_line(f"not YAML: {error}")) from error


class _Loader(yaml.SafeLoader):
    """SafeLoader that stops at anchors, aliases, tags and deep nesting; only the structure that it finds is used."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.composer.ComposerError(
                None, None, "anchors and aliases (& and *) are not allowed", event.start_mark
            )
        if (tag := getattr(event, "tag", None)) is not None:
            raise yaml.composer.ComposerError(None, None, f"tag {one_line(tag, 80)} is not allowed", event.start_mark)
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"nested more than {DEEPEST} deep", event.start_mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _value(node: yaml.Node, where: str, path: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if _is_letter(key_node) else _value(key_node, where, path)
            if not isinstance(key, str):
                raise InputError(_at(where, path), f"key {one_line(str(key), 40)} is not text: put it in quotes")
            if key in values:
                raise InputError(_at(where, path), f"key '{one_line(key, 40)}' is given twice")
            values[key] = _value(value_node, where, f"{path}.{key}" if path else key)
        return values
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, where, f"{path}[{i}]") for i, item in enumerate(node.value)]
    return _scalar(node, _at(where, path))


def _is_letter(key: yaml.Node) -> bool:
    """Whether a key is `n` or `y`: common names of numbers and axes, which no known program reads as truth values."""
    return isinstance(key, yaml.ScalarNode) and key.value in yaml_values.LETTERS


def _scalar(node: yaml.Node, where: str) -> Any:
    try:
        value = node.value if node.style else yaml_values.read(node.value)  # type: ignore[attr-defined] # of scalars
    except ValueError as error:
        raise InputError(where, str(error)) from error
    if isinstance(value, str):
        value = _paired(value)
        if any(c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cs") for c in value):
            raise InputError(where, "control characters are not allowed in text")
    elif isinstance(value, int) and abs(value) >= LARGEST_INTEGER:
        raise InputError(where, "number too large")
    return value


def _paired(text: str) -> str:
    """Join escaped pairs, by which JSON writes characters beyond 16 bits and which YAML reads as two halves."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _at(where: str, path: str) -> str:
    return f"{where}:{one_line(path)}" if path else where


def _kind(value: object) -> str:
    return {list: "list", str: "text", bool: "truth value", int: "number", float: "number"}.get(
        type(value), type(value).__name__
    )


def _neighbour(path: Path) -> str:
    try:
        names = [file.name for file in path.parent.iterdir() if file.suffix in (".yaml", ".yml")]
    except (OSError, ValueError):
        return ""
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"; did you mean '{Path(as_named(str(path))).with_name(near[0])}'?" if near else ""
