"""Prints to stdout and stderr, in such a way that no text but its line ends can control the terminal."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from unlearnbench.system.escaping import LONGEST, error_line, lines, one_line, visible
from unlearnbench.system.roots import as_named

__all__ = [
    "LONGEST", "WIDTH", "complain", "emit", "emit_folded", "emit_json", "emit_table", "emit_text", "error_line",
    "one_line", "visible",
]  # fmt: skip

WIDTH = 80  # columns of a terminal, for text that is read rather than searched


def emit(text: str = "") -> None:
    """Lines of results, on stdout."""
    sys.stdout.write(f"{lines(text)}\n")


def emit_json(value: Any) -> None:
    """Results for machines, on stdout."""
    emit(json.dumps(value, indent=2, allow_nan=False))


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Results as aligned columns, one row per line however narrow the terminal, so that they can be searched."""
    every = [list(columns), *([visible("" if cell is None else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in every) for i in range(len(columns))]
    for line in every:
        emit("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def emit_folded(text: str, indent: str = "") -> None:
    """A paragraph of foreign text on as many lines as a terminal needs, the later ones indented."""
    start = text[: len(text) - len(text.lstrip())]
    words = visible(" ".join(text.split()))
    folded = textwrap.wrap(
        words, WIDTH, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False, break_long_words=True
    )
    emit("\n".join(folded) or start.rstrip())


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
