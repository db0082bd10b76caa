"""Commands in the documentation that are not followed as a page: their verbs, options, targets and files are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT
from markdown_it import MarkdownIt
from typer.main import get_group

from unlearnbench.cli import main as cli

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def lines(page: Path) -> Iterator[str]:
    """Each line of the page's code blocks that is a command, without prompt and comment."""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block") and not token.info.startswith(("python", "yaml")):
            for line in token.content.splitlines():
                command = line.removeprefix("$ ").split(" #")[0].strip()
                if re.match(r"(unlearnbench|make|python|pytest|\.venv/bin/\w+) ", command):
                    yield command


def options_of(verb: str) -> set[str]:
    commands = get_group(cli.app).commands
    assert verb in commands, f"no verb {verb}"
    inner = getattr(commands[verb], "commands", {})
    return {
        name
        for command in (commands[verb], *inner.values())
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def check(command: str) -> None:
    program, first, *_ = re.split(r"\s+", command)
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert first in targets, command
    elif program == "unlearnbench":
        # README shows two commands a line, each followed by what it does.
        for verb, words in re.findall(r"(?:^|  )unlearnbench ([a-z]+)([^|;&>]*)", command):
            known = options_of(verb)
            for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", words.split("  ")[0]):
                assert option in known, f"{command}: {verb} has no {option}"
    else:
        for word in shlex.split(command)[1:]:
            if re.fullmatch(r"(tests|suites|results)/[\w/.]+", word) and "my_method" not in word:
                assert (ROOT / word).exists(), f"{command}: {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_commands_name_is_there(page: Path) -> None:
    for command in lines(page):
        check(command)


def test_commands_are_found_and_mistakes_are_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    indented = "    unlearnbench run S --seeds 3   # three\n    make test\n"
    page.write_text(f"# A\n\n{indented}\n```sh\nunlearnbench report D\n```\n")
    assert list(lines(page)) == ["unlearnbench run S --seeds 3", "make test", "unlearnbench report D"]
    assert sum(len(list(lines(each))) for each in PAGES) > 40
    for wrong in ("unlearnbench runn S", "unlearnbench run S --sedes 3", "make tset", "python tests/nothing.py"):
        with pytest.raises(AssertionError):
            check(wrong)
