"""Runs the code blocks of a page of the documentation, in order, as a reader would.

By the language of a block: of `console` each line after "$ " is run by bash and must succeed, and lines below it are
what it prints; `python` is run, unless it has a title: then it becomes the file of that name, as `yaml` does; `text` is
shown only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

TITLE = re.compile(r'title="([^"]+)"')
LONGEST = 300  # seconds that a command may take


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file it is to become, its text, and its first line in the page."""

    language: str
    title: str | None
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A command of a console block; `printed` is empty if the page does not show what it prints."""

    text: str
    printed: list[str]


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a Markdown file."""
    found = []
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "fence":
            assert token.map is not None
            language, _, rest = token.info.partition(" ")
            title = TITLE.search(rest)
            found.append(Block(language, title[1] if title else None, token.content, token.map[0] + 1))
    return found


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block, each with the lines that it prints."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        first, *printed = part.rstrip("\n").split("\n")
        yield Command(first, printed)


def run_page(page: Path, folder: Path, environment: Mapping[str, str]) -> int:
    """Run a page's blocks in `folder`, with this Python's programs first in the path.

    Returns:
        How many commands, programs and files it had.

    Raises:
        AssertionError: the page, the line and what went wrong.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {**os.environ, **environment, "PATH": path, "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
    done = 0
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.language == "text":
            continue
        if block.title is not None:
            file = folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
            done += 1
        elif block.language == "python":
            _run([sys.executable, "-c", block.text], where, folder, variables)
            done += 1
        elif block.language == "console":
            for command in commands(block):
                printed = _run(["bash", "-c", command.text], f"{where}: {command.text}", folder, variables)
                if command.printed:
                    assert printed.split("\n") == command.printed, f"{where}: {command.text} prints\n{printed}"
                done += 1
        else:
            raise AssertionError(f"{where}: a block of {block.language or 'no language'} without a title")
    return done


def _run(arguments: list[str], where: str, folder: Path, variables: Mapping[str, str]) -> str:
    result = subprocess.run(
        arguments, cwd=folder, env=variables, capture_output=True, text=True, timeout=LONGEST, check=False
    )
    assert result.returncode == 0, f"{where}: exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result.stdout.rstrip("\n")
