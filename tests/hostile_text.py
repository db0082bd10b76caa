"""Text that tries to be something else wherever it is shown, and what an innocent rendering of it looks like."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from xml.etree import ElementTree

from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

PAYLOADS = (
    "www.evil.example", "WWW.evil.example/x", "https://evil.example", "see http://evil.example/?a=b", "ftp://evil.example",
    "//evil.example", "evil.com", "mailto:me@evil.example", "me@evil.example", "@somebody", "<https://evil.example>",
    "[x](https://evil.example)", "](javascript:alert(1))", "![x](y.png)", "[x]: https://evil.example", "[^1]",
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<!-- -->", "&lt;b&gt;", "]]>", "{{7*7}}{% raw %}",
    "# heading", "- item", "1. item", "2) item", "> quote", "    code", "---", "===", "| a | b |", "|", "\\|", "\\",
    "`code`", "```", "~~~", "*x*", "__x__", "$x$", "$\\frac{1}{", "\\end{table}", "%", "{: onclick=x }", "!!! note",
    "=HYPERLINK(1)", "@SUM(1)", "+1", "-1", ";=1", "\uff1d1", "\t=1",
    "\x1b[31mred", "\x1b]8;;https://evil.example\x1b\\x\x1b]8;;\x1b\\", "\x9b2J", "a\rb", "a\nb", "a\n\n# b", "a\x0bb",
    "\x00",
    "\u202egnp.exe", "\u2066x\u2069", "retrain\u200b", "retrain\u3164", "retrain\ufe0f", "\u2028",
    "\ufeff", "\ufffe", "\U000e0041",
    "_hidden", "e\u0301\u0301\u0301", "\u4e2d\u6587", "[red]x[/red]", ":bomb:", "x" * 2_000,
)  # fmt: skip

EVERYTHING = " ".join(text for text in PAYLOADS if len(text) < 100)

texts = st.lists(st.sampled_from(PAYLOADS) | st.text(st.characters(codec="utf-8"), max_size=12), max_size=4).map(
    "".join
)
"""What a file can hold: any text but halves of characters."""

broken_texts = st.lists(st.sampled_from(PAYLOADS) | st.text(st.characters(), max_size=12), max_size=4).map("".join)
"""What a plugin can make up."""

# GitHub's rules (GFM 6.9) and linkify-it's, on the text as it is read: some renderers look at nothing else.
_LINK = re.compile(
    r"(?i)(?:https?|ftp)://\S|www\.\S|(?<![\w/])//\w|(?:mailto|xmpp):[\w.+-]*@\w|[\w.+-]+@[\w-]+\.\w|(?<!\w)@\w"
    r"|(?<![\w/.:@-])(?:[\w-]+\.)*[\w-]+\.(?:com|net|org|gov|info|[a-z]{2})(?![\w-])"
)


def links(shown: str) -> list[str]:
    """What of a shown text would be made a link of."""
    return _LINK.findall(shown)


def commanding(shown: str) -> set[str]:
    """Characters that command a terminal, reorder what is read, or can't be seen."""
    unseen = "\u034f\u115f\u1160\u2800\u3164\uffa0"
    return {
        each
        for each in shown
        if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        or each in unseen
        or "\ufe00" <= each <= "\ufe0f"
    } - {"\n"}


def tokens(text: str) -> list[Token]:
    """Markdown with tables and strikethrough, as tokens; those within a line too."""
    found = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    return [one for each in found for one in (each, *(each.children or ()))]


def kinds(text: str) -> set[str]:
    """Of which kinds of tokens a Markdown text is."""
    return {token.type for token in tokens(text)}


def words(text: str) -> str:
    """What is read of a Markdown text."""
    return "".join(token.content for token in tokens(text) if token.type in ("text", "text_special"))


SVG = {
    "svg", "g", "defs", "clipPath", "rect", "path", "use", "text", "tspan", "style", "metadata", "RDF", "Work", "type",
    "format", "creator", "Agent", "title",
}  # fmt: skip


def active(svg: bytes) -> list[str]:
    """What of an SVG is more than a drawing: elements, handlers, references to elsewhere."""
    found = []
    for element in ElementTree.fromstring(svg).iter():
        name = str(element.tag).rpartition("}")[2]
        found += [] if name in SVG else [name]
        for key, value in element.attrib.items():
            local = key.rpartition("}")[2]
            if local.startswith("on") or (local == "href" and not value.startswith("#")):
                found.append(f"{local}={value}")
    return found


def cells(lines: Iterable[str]) -> list[int]:
    """How many cells each line of a Markdown table has."""
    return [len(re.split(r"(?<!\\)(?:\\\\)*\|", line)) - 2 for line in lines]
