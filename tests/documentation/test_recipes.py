"""The recipes: each method on the page is one that the registry takes, is checked there, and is run in its suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkout import ROOT
from doc_blocks import Block, blocks, commands

from unlearnbench.registry.registry import discover
from unlearnbench.suite.suite import load_suite

PAGE = ROOT / "docs" / "tutorial" / "recipes.md"


def files(suffix: str) -> dict[str, Block]:
    """The blocks of the page that become files, by the files' names without suffix."""
    return {Path(block.title).stem: block for block in blocks(PAGE) if block.title and block.title.endswith(suffix)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("recipes")
    (made / "mine").mkdir()
    for block in (*files(".py").values(), *files(".yaml").values()):
        (made / str(block.title)).write_text(block.text)
    return made


def test_each_recipe_is_a_method_in_a_valid_suite(folder: Path) -> None:
    registry = discover([folder / "mine"])
    assert not registry.broken
    assert set(files(".py")) == {"own_teacher", "plain_loop", "drop_out"}
    used = {setting.method.info.name for setting in load_suite(folder / "recipes.yaml", registry).settings()}
    assert set(files(".py")) <= used


def test_each_recipe_is_checked_and_run_on_the_page() -> None:
    typed = [command.text for block in blocks(PAGE) if block.language == "console" for command in commands(block)]
    for name in files(".py"):
        assert f"unlearnbench check {name} --plugins mine" in typed
    assert "unlearnbench run recipes.yaml --plugins mine" in typed


def test_what_is_run_at_once_and_what_in_a_loop_is_as_the_page_says(folder: Path) -> None:
    registry = discover([folder / "mine"])
    at_once = {name: registry.methods[name].cls().many_at_once for name in files(".py")}  # type: ignore[attr-defined]
    assert at_once == {"own_teacher": True, "plain_loop": False, "drop_out": False}
