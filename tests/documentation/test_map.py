"""CONTRIBUTING.md's map: a row's example is defined in the files of that row, or stands in them and nowhere else."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from checkout import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
Row = tuple[str, tuple[str, ...], tuple[str, ...]]


def rows() -> list[Row]:
    """Of each change its name, files and examples."""
    part = PAGE[PAGE.index("Where a change goes:") : PAGE.index("### A reader's test")]
    found = []
    for name, files, example in re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", part, re.MULTILINE)[1:]:
        if not set(name) <= set(":- "):
            ticked = re.findall(r"`([\w./]+)`", example)
            paths = [each for each in ticked if "/" in each]
            found.append((name, (*re.findall(r"`([\w./]+/[\w./]*)`", files), *paths), tuple(ticked)))
    return found


@cache
def trees() -> dict[str, ast.Module]:
    """Of each file of the package and of the built-in plugins."""
    files = [path for place in ("unlearnbench", "methods", "attacks") for path in (ROOT / place).rglob("*.py")]
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in files}


def defined(word: str) -> set[str]:
    """Files that define a function, a class or a constant of that name."""
    return {name for name, tree in trees().items() if any(word in _names(node) for node in ast.iter_child_nodes(tree))}


def _names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {each.id for each in node.targets if isinstance(each, ast.Name)}
    return {node.target.id} if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else set()


def standing(word: str) -> set[str]:
    """Files in which it stands as a text or as the name of a field or an attribute."""

    def has(node: ast.AST) -> bool:
        values = (getattr(node, name, None) for name in ("value", "attr", "id", "arg"))
        return any(isinstance(value, str) and value == word for value in values)

    return {name for name, tree in trees().items() if any(map(has, ast.walk(tree)))}


def test_the_map_has_a_row_for_what_people_want_to_change() -> None:
    names = [name for name, *_ in rows()]
    assert len(names) == len(set(names)) > 25
    assert {"a metric", "a stop rule", "an observation level", "an engine", "a page of the site", "a network"} <= {
        *names
    }


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_the_example_of_a_row_stands_in_its_files(row: Row) -> None:
    name, files, examples = row
    assert [each for each in files if not (ROOT / each).exists()] == []
    assert examples, f"{name}: give an example"
    for word in examples:
        if "/" in word:
            assert any(Path(word).is_relative_to(each) for each in files), f"{name}: {word}"
            continue
        there = defined(word)
        places = there if there & set(files) else there or standing(word)
        assert places, f"{name}: {word} is nowhere"
        inside = {place for place in places if any(Path(place).is_relative_to(each) for each in files)}
        assert inside == places if not there else inside, f"{name}: {word} stands in {sorted(places)}"


@pytest.mark.parametrize("change", re.findall(r"^\| [^|]+ \| `([^`]+)` \| (?:right|wrong)", PAGE, re.MULTILINE))
def test_files_that_readers_looked_for_are_there(change: str) -> None:
    assert (ROOT / change).is_file()
    assert sum(change in files for _, files, _ in rows()) >= 1, "the map does not name it"
