"""docs/protocol.md has an anchor for each rule: those that are cited are there, and each rule says what checks it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from checkout import ROOT

DOCS = ROOT / "docs"
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in (DOCS / "protocol.md", DOCS / "protocol_history.md")}
CITED = re.compile(r"\b(protocol|protocol_history).md#([\w-]+)")
NUMBERED = re.compile(r"PROTOCOL (section|rule|\d)|protocol\.md,? (section|\d)|section 1[123], rule")
TEXTS = (".py", ".yaml", ".md", ".html")


def anchor(heading: str) -> str:
    """What GitHub and MkDocs call a heading in an address; the two agree on letters, digits and single spaces."""
    assert re.fullmatch(r"\w[\w.,-]*( [\w.,-]+)*", heading), f"'{heading}' has no anchor that both agree on"
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def sections(page: str, marks: str = "##+") -> dict[str, str]:
    """The text below each heading, by anchor."""
    parts = re.split(rf"^{marks} (.+)$", PAGES[page], flags=re.MULTILINE)[1:]
    anchors = [anchor(heading) for heading in parts[::2]]
    assert len(set(anchors)) == len(anchors), "two headings have one anchor"
    return dict(zip(anchors, parts[1::2], strict=True))


def committed() -> list[Path]:
    """Texts and code of the repository, but for results."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [ROOT / name for name in names if name.endswith(TEXTS) and not name.startswith("results/")]


def citations() -> dict[tuple[str, str], list[str]]:
    """The files that cite each anchor."""
    found: dict[tuple[str, str], list[str]] = {}
    for file in committed():
        if file.is_file():
            for page, name in CITED.findall(file.read_text(encoding="utf-8")):
                found.setdefault((page, name), []).append(str(file.relative_to(ROOT)))
    return found


def test_anchors_that_are_cited_are_there() -> None:
    there = {(page, name) for page in PAGES for name in sections(page)}
    within = {(page, name): [page] for page in PAGES for name in re.findall(r"\]\(#([\w-]+)\)", PAGES[page])}
    cited = citations() | within
    assert {cite: files for cite, files in cited.items() if cite not in there} == {}
    assert len(cited) > 40


@pytest.mark.parametrize("rule", sections("protocol", "###"))
def test_a_rule_is_cited_by_code_or_says_what_checks_it(rule: str) -> None:
    text = re.split(r"^## ", sections("protocol", "###")[rule], flags=re.MULTILINE)[0]
    checks = re.findall(r"`(tests/[\w/]+\.py)`", text)
    assert [name for name in checks if not (ROOT / name).is_file()] == []
    code = [file for file in citations().get(("protocol", rule), ()) if not file.endswith(".md")]
    assert checks or code, f"docs/protocol.md#{rule}: name the test that checks it, or cite it where it is kept"


def test_code_cites_rules_by_name_and_not_by_number() -> None:
    numbered = {
        str(file.relative_to(ROOT)): found.group()
        for file in committed()
        if file.is_file() and file.stem not in ("protocol_history", "test_protocol", "CHANGELOG")
        if (found := NUMBERED.search(file.read_text(encoding="utf-8")))
    }
    assert numbered == {}


def test_headings_that_github_and_mkdocs_would_name_differently_are_refused() -> None:
    assert anchor("Readings of Eq. 13") == "readings-of-eq-13"
    for heading in ("A: b", "A  b", "Z -> X", "`code`"):
        with pytest.raises(AssertionError):
            anchor(heading)


def test_exact_reconstruction_gives_the_image() -> None:
    """The oracle of docs/protocol.md#exact-reconstruction: ridge regression with and without one image."""
    stream = np.random.default_rng(0)
    x = np.hstack([stream.uniform(size=(40, 9)), np.ones((40, 1))])  # the last coordinate is the bias
    y, penalty = stream.normal(size=40), 0.3 * np.eye(10)

    def fitted(rows: slice) -> np.ndarray:
        return np.linalg.solve(x[rows].T @ x[rows] + penalty, x[rows].T @ y[rows])

    change = (x.T @ x + penalty) @ (fitted(slice(None)) - fitted(slice(1, None)))
    assert np.allclose(change, x[0] * (y[0] - x[0] @ fitted(slice(1, None))), atol=1e-12)
    assert np.allclose(change / change[-1], x[0], atol=1e-9)
