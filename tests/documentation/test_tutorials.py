"""Every command and every block of the tutorial, the concepts and publishing.md works as it stands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from checkout import ROOT
from doc_blocks import Block, Command, blocks, commands, run_page

DOCS = ROOT / "docs"
PAGES = sorted([*(DOCS / "tutorial").glob("*.md"), *(DOCS / "concepts").glob("*.md"), DOCS / "publishing.md"])


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One store for all pages: what one has trained the next finds."""
    return {
        "UNLEARNBENCH_CACHE": str(tmp_path_factory.mktemp("cache")),
        "UNLEARNBENCH_DATA": str(tmp_path_factory.mktemp("data")),
    }


@pytest.mark.docs
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_can_be_followed(page: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "suites").symlink_to(ROOT / "suites")
    if page.stem == "publishing":
        for name in ("zoo", "attacks"):
            shutil.copytree(ROOT / "results" / name, tmp_path / "results" / name)
    done = run_page(page, tmp_path, environment)
    assert done or page.stem == "threat_model"


def test_blocks_and_commands_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('# A\n\n```yaml title="a b.yaml"\nx: 1\n```\n\n```console\n$ one\n$ two -x\nprints\nthis\n```\n')
    file, console = blocks(page)
    assert file == Block("yaml", "a b.yaml", "x: 1\n", 3)
    assert list(commands(console)) == [Command("one", []), Command("two -x", ["prints", "this"])]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("```console\n$ false\n```", "page.md:1: false: exit code 1"),
        ("```console\n$ echo a\nb\n```", "echo a prints\na"),
        ("```python\nraise SystemExit(3)\n```", "exit code 3"),
        ("```yaml\nx: 1\n```", "yaml without a title"),
        ("```\nx\n```", "no language without a title"),
    ],
)
def test_what_a_page_gets_wrong_is_said(block: str, said: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(block + "\n")
    with pytest.raises(AssertionError, match=r"page\.md:1") as error:
        run_page(page, tmp_path, {})
    assert said in str(error.value)


def test_what_a_page_gets_right_is_counted(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('```text title="x"\nno\n```\n```yaml title="sub/f"\na\n```\n```console\n$ cat sub/f\na\n```\n')
    assert run_page(page, tmp_path, {}) == 2
