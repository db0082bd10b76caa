"""Words that CONTRIBUTING.md drops stand in no code and no documentation, in identifiers neither."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from checkout import ROOT

PLACES = ("unlearnbench", "methods", "attacks", "docs", "examples", "README.md", "CONTRIBUTING.md")
KINDS = (".py", ".md", ".html", ".js", ".css", ".yaml", ".toml")
DROPPED = re.compile(
    r"(?<![a-z])(?i:guilty|innocents?|suspects?|lame|mates?|fallen|company|mend|mends|mended|mending|told)(?![a-z])"
)
LITERAL = re.compile(
    r"(can not|cannot|can't|could not|couldn't) be told"  # the verdict, which stands in records
    r"|told (apart|from)"  # distinguished
    r"|These words are not used: [^.]*\.|\"fix\" \(not \"mend\"\)|\(not\s+\"told\"\)",  # CONTRIBUTING's own list
    re.IGNORECASE,
)


def dropped(text: str) -> list[str]:
    """The dropped words of a text, each with what stands around it."""
    left = LITERAL.sub(lambda found: "_" * len(found.group()), re.sub(r"\s+", " ", text))
    return [left[max(0, found.start() - 30) : found.end() + 20] for found in DROPPED.finditer(left)]


def texts(place: str) -> list[Path]:
    path = ROOT / place
    found = [path] if path.is_file() else [each for each in sorted(path.rglob("*")) if each.suffix in KINDS]
    return [each for each in found if "__pycache__" not in each.parts and ".egg-info" not in str(each)]


@pytest.mark.parametrize("place", PLACES)
def test_dropped_words_stand_nowhere(place: str) -> None:
    files = texts(place)
    found = {str(file.relative_to(ROOT)): dropped(file.read_text(encoding="utf-8")) for file in files}
    assert files
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize("text", ["is told where", "Told.", "a_lame_name", "mend it", "class LameOnes", "the\nfallen"])
def test_a_dropped_word_is_found(text: str) -> None:
    assert dropped(text)


@pytest.mark.parametrize("text", ["cannot be told", "not told\nfrom the best", "recommended", "accompany", "estimates"])
def test_other_words_are_not(text: str) -> None:
    assert dropped(text) == []


def test_contributing_names_every_dropped_word() -> None:
    page = re.sub(r"\s+", " ", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    (named,) = re.findall(r"These words are not used: (.*?)\.", page)
    assert {"guilty", "innocent", "suspects", "lame", "mates", "fallen", "company", "mend", "told"} <= {
        *re.findall(r"\w+", named)
    }
