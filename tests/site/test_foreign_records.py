"""Any text in any column of a record: reports in every format and the site show it, and it does nothing there."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hostile_text import EVERYTHING, PAYLOADS, active, cells, commanding, kinds, links, texts, words
from hypothesis import HealthCheck, example, given, settings
from sample_records import judged, row, rows
from site_records import pages, results

from unlearnbench.cli import main as cli
from unlearnbench.records.schema import SCHEMA
from unlearnbench.report.export import FORMATS, export
from unlearnbench.report.files import write_leaderboard
from unlearnbench.site import publishing

NAMES = ("suite", "experiment", "dataset", "scenario_id", "method", "method_id", "attack", "attack_id", "tier",
         "observation", "device", "git_sha", "plugin_sha256", "data_sha256", "cell_key", "error")  # fmt: skip
NESTED = ("dataset_params", "method_params", "attack_params", "scenario", "versions", "sizes")
WORDS = ("metric", "direction", "status", "ranked_by")  # of a fixed vocabulary
MARKDOWN = {
    "inline", "text", "text_special", "softbreak", "strong_open", "strong_close", "em_open", "em_close", "code_inline",
    *(f"{part}_{end}" for end in ("open", "close") for part in (
        "table", "thead", "tbody", "tr", "th", "td", "bullet_list", "list_item", "paragraph", "heading")),
}  # fmt: skip

LATEX = (
    "begin", "end", "centering", "caption", "toprule", "midrule", "bottomrule", "par", "footnotesize", "pm", "Delta",
    "beta", "epsilon", "lambda", "textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater",
    "textbar", "textasciigrave", "texttt",
)  # fmt: skip


def foreign(text: str, suffix: str = "") -> dict[str, Any]:
    """A value for every column that holds text."""
    nested = dict.fromkeys(NESTED, json.dumps({text: text}))
    nested |= {"scenario": json.dumps({"beta": 0.1, "erased_count": 9, text: text}), "sizes": json.dumps({text: 1})}
    return {**dict.fromkeys(NAMES, text), **nested, "error": None, "method_id": f"{text}{suffix}"}


def records(text: str) -> list[dict[str, Any]]:
    """Two methods of such a name under attack and without, a trajectory, and a failure whose error is the text."""
    made = []
    for suffix, level in (("", 0.8), ("2", 0.6)):
        own = foreign(text, suffix)
        bare = {**own, "attack": None, "attack_id": None, "attack_params": None, "tier": None, "observation": None}
        for each in rows("m", "auc", [level, level + 0.01, level - 0.02, level, level], attack="a"):
            made.append({**each, **own, "cell_key": f"a{suffix} {each['seed']} {text}"})
        for each in judged("m"):
            made.append({**each, **bare, "cell_key": f"b{suffix} {each['seed']} {text}"})
        for step in (0, 10, 20):
            made.append({**row("m", 0, "accuracy", 0.9, step=step), **bare, "cell_key": f"b{suffix} 0 {text}"})
    failed = row("m", 0, "cell", None, status="failed", attack="a")
    made.append({**failed, **foreign(text, "3"), "error": text, "cell_key": f"f {text}"})
    return made


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder for each example anew, which pytest's own would not be."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def fresh(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))


def test_every_column_of_text_is_attacked() -> None:
    text = {field.name for field in SCHEMA if pa.types.is_string(field.type)}
    assert text == {*NAMES, *NESTED, *WORDS}


def check_markdown(text: str) -> None:
    assert kinds(text) <= MARKDOWN
    assert not links(words(text))
    assert not commanding(text)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len(set(cells(table.splitlines()))) == 1


def check_csv(text: str, count: int) -> None:
    found = list(csv.DictReader(io.StringIO(text)))
    assert len(found) == count
    for line in found:
        assert None not in line
        assert not any(cell.lstrip()[:1] in ("=", "@", "\uff1d") for cell in line.values())
    assert not commanding(text)


def check_latex(text: str) -> None:
    assert text.count(r"\begin{table}") == text.count(r"\end{table}")
    commands = set(re.findall(r"\\(?:[a-z]+|.)", re.sub(r"\\[{}$&#%_\\]", "", text), re.IGNORECASE))
    assert commands <= {f"\\{name}" for name in LATEX}


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[tuple[str, tuple[str, ...]]] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add((tag, tuple(name for name, _ in attrs)))


def check_reports(folder: Path) -> None:
    frame = write_leaderboard(folder / "records", folder)
    found = {name: export(frame, name) for name in FORMATS}
    check_markdown(found.pop("markdown"))
    check_markdown(found.pop("leaks"))
    check_markdown((folder / "leaderboard.md").read_text())
    check_csv(found.pop("csv"), len(frame))
    check_latex(found.pop("latex"))
    allowed = {(name, ()) for name in ("title", "table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "li")}
    assert Tags(found["html"]).found <= {*allowed, ("meta", ("charset",))}
    assert not commanding(found.pop("html"))
    assert len(json.loads(found["json"])) == len(frame)
    assert found.pop("json").isascii()
    assert not commanding(found.pop("table"))
    assert found == {}


def check_site(site: Path) -> None:
    for path, page in pages(site).items():
        names = {tag for tag, _ in page.elements}
        assert not names & {"iframe", "object", "embed", "form", "base", "style", "template"}, path
        assert all(each["src"].startswith(("assets/", "../")) for each in page.all("script")), path
        for tag, attributes in page.elements:
            assert not any(name.startswith("on") or name == "style" for name in attributes), path
            for name in ("href", "src"):
                assert not re.match(r"\s*(?:[a-z]+:|//)", attributes.get(name) or "", re.IGNORECASE), (path, tag)
        assert not commanding((site / path).read_text(encoding="utf-8")), path
    drawn = list(site.rglob("*.svg"))
    assert drawn
    for path in drawn:
        assert active(path.read_bytes()) == []
        assert not commanding(path.read_text(encoding="utf-8"))
    for path in (site / "data").rglob("leaderboard.md"):
        check_markdown(path.read_text())
        check_latex(path.with_suffix(".tex").read_text())
    for path in site.rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9_=-][A-Za-z0-9_.=-]*", path.name), path


@given(texts)
@example(EVERYTHING)
@example("=HYPERLINK(1)")
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_reports_in_every_format_hold_text_and_nothing_else(folder: Path, text: str) -> None:
    check_reports(results(fresh(folder) / "some", records(text)))


@pytest.mark.faults
@pytest.mark.parametrize("payload", PAYLOADS)
def test_every_payload_alone_is_text_in_every_report(folder: Path, payload: str) -> None:
    check_reports(results(fresh(folder) / "some", records(payload)))


def test_what_the_verbs_print_commands_no_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    some = results(fresh(folder) / "some", records(EVERYTHING))
    site = some.parent / "site"
    assert cli.main(["report", str(some)]) == 0
    assert cli.main(["publish", str(some), "--out", str(site), "--title", EVERYTHING]) == 0
    printed = capsys.readouterr()
    assert not commanding(printed.out + printed.err)
    assert "not drawn" not in printed.err
    check_site(site)


@pytest.mark.faults
@given(texts)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_site_holds_text_and_nothing_else(folder: Path, text: str) -> None:
    some = results(fresh(folder) / "some", records(text))
    publishing.publish([some], some.parent / "site", title=text)
    check_site(some.parent / "site")
