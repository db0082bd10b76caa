"""Text from outside (plugins, files, exceptions) made safe to print, and the two streams everything is printed to."""

from __future__ import annotations

import json
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from unlearnbench.roots import as_named

WIDTH = 80  # columns of a terminal, for text that is read and not searched
LONGEST = 400  # characters of a foreign text worth showing in one line


def emit(text: str = "") -> None:
    """A line of results, on stdout."""
    sys.stdout.write(f"{text}\n")


def emit_json(value: Any) -> None:
    """Results for machines, on stdout."""
    emit(json.dumps(value, indent=2, allow_nan=False))


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Results as aligned columns, one row a line however narrow the terminal, so that they can be searched."""
    lines = [list(columns), *([visible("" if cell is None else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        emit("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def emit_folded(text: str, indent: str = "") -> None:
    """A paragraph of foreign text on as many lines as a terminal needs, the later ones indented."""
    start = text[: len(text) - len(text.lstrip())]
    words = visible(" ".join(text.split()))
    lines = textwrap.wrap(
        words, WIDTH, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False, break_long_words=True
    )
    emit("\n".join(lines) or start.rstrip())


def emit_text(text: str) -> None:
    """A docstring: paragraphs are folded anew, lines that are indented (equations, lists) are left as they are where
    they fit."""
    paragraph: list[str] = []

    def flush() -> None:
        if paragraph:
            emit_folded(" ".join(paragraph))
            paragraph.clear()

    for line in text.expandtabs(4).splitlines():
        if line.strip() and line == line.lstrip() and not line.startswith(("-", "*")):
            paragraph.append(line)
            continue
        flush()
        indent = line[: len(line) - len(line.lstrip())]
        if len(visible(line)) <= WIDTH:
            emit(visible(line.rstrip()))
        else:
            emit_folded(line, indent + "  ")
    flush()


def complain(text: str) -> None:
    """A message for the user, on stderr, as one line."""
    sys.stderr.write(f"{one_line(as_named(text), longest=2_000)}\n")


def visible(text: str) -> str:
    """`text` with everything that could command a terminal shown as escapes; tabs and line ends too."""
    return "".join(_visible(character) for character in text)


def one_line(text: str, longest: int = LONGEST) -> str:
    """`text` on one line: white space folded, control characters shown as escapes, cut after `longest`."""
    safe = visible(" ".join(text[: 8 * longest].split()))
    return safe if len(safe) <= longest else safe[: longest - 3] + "..."


def error_line(error: BaseException) -> str:
    """An exception as one line, also when its own text can't be had."""
    try:
        text = str(error)
    except Exception:  # a plugin's exception may be as broken as the plugin
        text = "(its message can't be shown)"
    name = type(error).__name__
    return one_line(f"{name}: {text}" if text else name)


def _visible(character: str) -> str:
    # Cc: control, Cf: invisible and direction marks, Cs: lone surrogates, which no stream can encode.
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs"):
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
