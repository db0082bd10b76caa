"""Text from records, plugins and folders stays text: on the pages, in file names, in figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from site_records import EVIL, pages

from unlearnbench.site import canvas
from unlearnbench.site.naming import slug, split_id
from unlearnbench.site.rendering import POLICY, render

TAGS = {
    "html", "head", "meta", "title", "link", "script", "body", "a", "header", "nav", "ul", "li", "button", "main", "h1",
    "h2", "h3", "p", "em", "dl", "div", "dt", "dd", "section", "table", "caption", "thead", "tbody", "tr", "th", "td",
    "span", "small", "svg", "rect", "footer", "code", "b", "i", "ol", "details", "summary", "fieldset", "legend",
    "label", "select", "option", "input", "figure", "img", "figcaption", "pre", "blockquote",
}  # fmt: skip


def test_hostile_text_makes_no_element_and_no_handler(hostile_site: Path) -> None:
    found = pages(hostile_site)
    assert len(found) > 10
    for path, page in found.items():
        assert {tag for tag, _ in page.elements} <= TAGS, path
        assert [each["src"] for each in page.all("script")] == [
            f"{'../' * path.count('/')}assets/{name}" for name in ("theme.js", "tables.js", "tips.js")
        ]
        for _, attributes in page.elements:
            assert not any(name.startswith("on") or name == "style" for name in attributes), path
            for name in ("href", "src"):
                assert not re.match(r"\s*[a-z]+:", attributes.get(name) or "", re.IGNORECASE), path


def test_hostile_text_is_shown_as_it_is(hostile_site: Path) -> None:
    text = pages(hostile_site)["index.html"].text
    assert "<script>alert(1)</script>" in text
    assert '"><img src=x onerror=alert(1)>' in text
    assert "{{7*7}}" in text
    assert "javascript:alert(1)" in text
    assert "49" not in re.findall(r"\b49\b", text)


def test_a_plugins_words_are_text(hostile_site: Path) -> None:
    page = pages(hostile_site)["methods/hostile.html"]
    assert "CRFU <script>alert(1)</script>" in page.text
    assert "</p><script>alert(2)</script>" in page.text
    assert "source javascript:alert(1)" in page.text


def test_characters_that_steer_a_screen_are_gone(hostile_site: Path) -> None:
    assert not any("\u202e" in path.read_text() for path in hostile_site.rglob("*.html"))


def test_hostile_names_stay_inside_the_site(hostile_site: Path) -> None:
    for path in hostile_site.rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", path.name), path
    assert not [path for path in hostile_site.parent.iterdir() if path.name.startswith("up")]


def test_figures_hold_no_script(hostile_site: Path) -> None:
    drawn = [path.read_text() for path in hostile_site.rglob("*.svg")]
    assert drawn
    assert not any(
        "<script" in text or "<img" in text or "onerror=" in re.sub(r">[^<]*<", "><", text) for text in drawn
    )


@pytest.mark.parametrize("text", [*EVIL, "", "..", "CON", "Ünï", "a" * 300, "A", "a", "a b", "a-b", "\ud800"])
def test_slugs_are_safe_and_different_texts_have_different_ones(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9_-]{1,60}", slug(text))
    assert slug(text) != slug(f"{text}x")


def test_slugs_keep_what_is_safe() -> None:
    assert slug("update_leak") == "update_leak"
    assert slug("A") != slug("a")


def test_ids_are_split_at_their_parameters() -> None:
    assert split_id("crfu[beta_u=1,lr=0.1]") == ("crfu", "beta_u=1,lr=0.1")
    assert split_id("crfu") == ("crfu", "")
    assert split_id("[x") == ("[x", "")


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere(site: Path) -> None:
    assert "unsafe" not in POLICY
    assert "http" not in POLICY
    for page in pages(site).values():
        assert POLICY in [each.get("content") for each in page.all("meta")]


def test_templates_escape_and_miss_nothing_silently() -> None:
    with pytest.raises(Exception, match="undefined"):
        render("overview.html", "index.html", {"title": "x"})


def test_no_template_marks_anything_as_safe() -> None:
    from importlib.resources import files

    for template in (files("unlearnbench.site") / "templates").iterdir():
        assert not re.search(r"\|\s*safe|autoescape|Markup", template.read_text()), template.name


def test_dark_figures_turn_greys_and_keep_hues() -> None:
    assert canvas.dark(b"#ffffff") == b"#121212"
    ink = canvas.dark(canvas.INK.encode())
    assert int(ink[1:3], 16) > 0xC0
    red, green, blue = (int(canvas.dark(b"#0173b2")[at : at + 2], 16) for at in (1, 3, 5))
    assert blue > green > red
