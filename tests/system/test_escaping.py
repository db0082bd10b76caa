"""One function for each place where foreign text is shown: whatever the text, it is text there and nothing else."""

from __future__ import annotations

import csv
import io
import re
from html import unescape
from html.parser import HTMLParser

import pytest
from hostile_text import EVERYTHING, PAYLOADS, active, broken_texts, commanding, kinds, links, words
from hypothesis import example, given
from hypothesis import settings as of_hypothesis

from unlearnbench.report import drawing
from unlearnbench.system import escaping

INLINE = {"inline", "text", "text_special", "paragraph_open", "paragraph_close"}
TABLE = {f"{part}_{end}" for part in ("table", "thead", "tbody", "tr", "th", "td") for end in ("open", "close")}
LIST = {"bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"}


@given(broken_texts)
@example(EVERYTHING)
@of_hypothesis(deadline=None)
def test_nothing_commands_a_terminal(text: str) -> None:
    for shown in (escaping.visible(text), escaping.plain(text), escaping.one_line(text)):
        assert not commanding(shown)
        assert "\n" not in shown
        assert escaping.visible(shown) == shown
        shown.encode()
    assert not commanding(escaping.lines(text))
    assert escaping.lines(text).count("\n") == text.count("\n")
    assert len(escaping.one_line(text, 50)) <= 50


def test_texts_that_differ_look_different() -> None:
    names = ["retrain", "retrain\u200b", "retrain\u3164", "retrain\ufe0f", "retrain\u202e", "retrain\ufffe"]
    assert len({escaping.plain(name) for name in names}) == len(names)
    assert (
        escaping.plain("accuracy ± 0.1, Δ≈β, \u4e2d\u6587, na\u00efve")
        == "accuracy ± 0.1, Δ≈β, \u4e2d\u6587, na\u00efve"
    )


def test_an_error_whose_text_can_not_be_had_is_a_line() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert escaping.error_line(BrokenError()) == "BrokenError: (its message can't be shown)"
    assert escaping.error_line(ValueError("a\x1b[31m\nb")) == "ValueError: a\\x1b[31m b"


@given(broken_texts)
@example(EVERYTHING)
@of_hypothesis(deadline=None)
def test_markdown_is_one_cell_of_plain_text(text: str) -> None:
    cell = escaping.markdown(text)
    table = f"| {cell} | b |\n| --- | --- |\n| a | {cell} |\n"
    assert kinds(table) <= INLINE | TABLE
    assert kinds(f"before {cell} after") <= INLINE
    shown = words(f"before {cell} after")
    assert not links(shown)
    assert not links(unescape(cell))
    assert not commanding(cell)
    # Nothing is lost: without the brackets that break links it is the text, white space at the ends apart.
    read = re.sub(r"\[(//|\.|@)\]", r"\1", shown)
    assert read == re.sub(r"\[(//|\.|@)\]", r"\1", f"before {escaping.plain(text)} after")


@given(broken_texts)
@example(EVERYTHING)
@example("# x")
@example("1) x")
@of_hypothesis(deadline=None)
def test_markdown_that_begins_a_line_begins_nothing_else(text: str) -> None:
    block = escaping.markdown_block(text)
    assert kinds(f"before\n\n{block}\n\nafter") <= INLINE
    assert kinds(f"before\n{block}\nafter") <= INLINE | {"softbreak"}
    assert kinds(f"- {block}\n- {block}\n") <= INLINE | LIST
    assert kinds(f"> {block}\n") <= INLINE | {"blockquote_open", "blockquote_close"}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_every_payload_alone_is_text_in_markdown(payload: str) -> None:
    test_markdown_is_one_cell_of_plain_text.hypothesis.inner_test(payload)  # type: ignore[attr-defined]
    test_markdown_that_begins_a_line_begins_nothing_else.hypothesis.inner_test(payload)  # type: ignore[attr-defined]


def test_markdown_leaves_what_tables_hold_as_it_is() -> None:
    for text in ("0.0314 ± 0.0026", "-0.01", "TPR@1%", "TPR@.1%", "#", "crfu, same", "1≈", "bd.acc.", "lr 0.5 (n 5)"):
        assert escaping.markdown(text) == text
    assert escaping.markdown_block("#: place by the mean") == "#: place by the mean"


@given(broken_texts)
@example(EVERYTHING)
@of_hypothesis(deadline=None)
def test_html_is_text_between_tags_and_in_attributes(text: str) -> None:
    shown, found = escaping.html(text), []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, attrs))

    reader = Reader()
    reader.feed(f'<p title="{shown}">{shown}</p>')
    reader.close()
    assert found == [("p", [("title", escaping.plain(text))])]
    assert not commanding(shown)


@given(broken_texts)
@example(EVERYTHING)
@of_hypothesis(max_examples=20, deadline=None)
def test_pictures_hold_text_and_no_formula(text: str) -> None:
    name = escaping.label(text)
    assert len(name) <= escaping.LONGEST_LABEL + 1
    assert len(escaping.figure(text)) <= escaping.LONGEST + 1
    for fonts in ("none", "path"):
        with drawing.settings({"svg.fonttype": fonts}, "ticks"):
            figure = drawing.blank((3, 2))
            axes = figure.add_subplot()
            axes.plot([0, 1], [0, 1], label=name)
            axes.legend()
            axes.set_title(escaping.figure(text))
            axes.set_xlabel(name)
            assert [each.get_text() for each in axes.get_legend().get_texts()] == ([name] if name else [])
            svg = drawing.saved(figure, "svg")
        assert active(svg) == []
        assert not commanding(svg.decode())


@given(broken_texts)
@example(EVERYTHING)
@of_hypothesis(deadline=None)
def test_latex_prints_text_and_runs_no_command(text: str) -> None:
    shown = escaping.latex(text)
    assert all(" " <= character <= "~" for character in shown)
    known = (
        r"\\(?:textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar|textasciigrave)\{\}"
        r"|\\[{}$&#%_]|\\texttt\{U\+[0-9A-F]{4,6}\}|\$\\(?:pm|Delta|beta|epsilon|lambda)\$|\$-\$|\{\[\}|\{\*\}"
    )
    assert not re.search(r"[\\{}$&#%_^~<>|`\[*]", re.sub(known, "", shown))


@given(broken_texts)
@example(EVERYTHING)
@of_hypothesis(deadline=None)
def test_csv_is_one_cell_and_no_formula(text: str) -> None:
    shown = escaping.csv(text)
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow([shown, "b"])
    (row,) = csv.reader(io.StringIO(file.getvalue()))
    assert row == [shown, "b"]
    for cell in shown.split(";"):
        assert cell.lstrip()[:1] not in set("=+-@\uff1d\uff0b\uff0d\uff20\t\r") - {""}
    assert not commanding(shown)
