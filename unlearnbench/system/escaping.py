"""Makes text from outside (records, plugins, files, exceptions) harmless, by one function per place where it is shown.

    terminal                `visible`, `lines` where line ends stay, `one_line`, `error_line`; logs too
    tables, before a format `plain`
    Markdown                `markdown`, `markdown_block` for what begins a line
    HTML                    `html`; on the site's pages `lines`, and Jinja escapes the markup
    pictures                `figure`
    LaTeX                   `latex`
    CSV                     `csv`

Invisible characters are shown as escapes everywhere, never left out: names that differ look different.
"""

from __future__ import annotations

import re
import unicodedata
from html import escape as _html

LONGEST = 400  # characters of foreign text that are shown on one line
LONGEST_LABEL = 100  # of a name in a picture

# Letters, marks and symbols of Unicode that are drawn as nothing; all other invisible characters are of category C.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_BREAKS = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")


# --- terminal --------------------------------------------------------------------------------------------------------


def visible(text: str) -> str:
    """`text` with escapes for everything that is invisible or could control a terminal, line ends included."""
    if text.isprintable() and not _UNSEEN.search(text):
        return text
    return "".join(map(_visible, text))


def lines(text: str) -> str:
    """The same, but line ends stay."""
    return "\n".join(map(visible, text.split("\n")))


def one_line(text: object, longest: int = LONGEST) -> str:
    """`text` on one line: white space folded, control characters shown as escapes, cut after `longest`."""
    safe = visible(" ".join(str(text)[: 8 * longest].split()))
    return safe if len(safe) <= longest else safe[: longest - 3] + "..."


def error_line(error: BaseException) -> str:
    """An exception as one line, also when its own text can't be had."""
    try:
        text = str(error)
    except Exception:  # a plugin's exception may be as broken as the plugin
        text = "(its message can't be shown)"
    name = type(error).__name__
    return one_line(f"{name}: {text}" if text else name)


def commands(text: str) -> bool:
    """Whether a text holds what belongs in no name: control characters, direction marks, halves of characters."""
    return any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in text)


def plain(text: object) -> str:
    """The text of a table cell on one line, uncut, before a format escapes what is special to it."""
    return visible(_BREAKS.sub(" ", str(text)))


def _visible(character: str) -> str:
    # C: control, invisible and direction marks, lone surrogates, private and unassigned; Zl, Zp: separate lines.
    if not unicodedata.category(character).startswith(("C", "Zl", "Zp")) and not _UNSEEN.match(character):
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


# --- Markdown --------------------------------------------------------------------------------------------------------

_MARKUP = re.compile(r"[\\`*_\[\]{}|~$]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# What renderers (GitHub's, linkify-it) turn into links: they look at the rendered text, in which escapes are gone.
_LINKS = (
    (re.compile(r"//"), "[//]"),
    (re.compile(r"(?i)(?<=www)\.(?=\S)"), "[.]"),
    (
        re.compile(
            r"(?i)((?<![\w/.:@-])(?:[\w-]+\.)*[\w-]+)\.(?=(?:[a-z]{2}|biz|com|edu|gov|net|org|pro|web|xxx|aero|asia|coop|info|museum|name|shop|рф"
            r"|xn--[a-z0-9-]+)(?![\w-]))"
        ),
        r"\1[.]",  # a host's name on its own, but not a file in a folder
    ),
    (re.compile(r"@(?=\S)(?!\.?\d+%)"), "[@]"),  # mail and people, but not TPR@1%
)
# Headings, lists, rules, underlines of headings, definitions and admonitions; numbers are broken behind their digits.
_BLOCK = re.compile(r"(?=(?:#{1,6}|[+:-])(?:\s|$)|[=-]+\s*$|!!!|\?\?\?)|\d{1,9}(?=[.)](?:\s|$))")


def markdown(text: str) -> str:
    """Text for a table cell or the middle of a line: no markup, no HTML, no formulas, no links, no further cells.

    Visible brackets break what would become a link: ``https:[//]``, ``www[.]``, ``a[@]b``.
    """
    text = plain(text)
    for pattern, broken in _LINKS:
        text = pattern.sub(broken, text)
    text = "".join(_ENTITIES.get(character, character) for character in text)
    return _MARKUP.sub(r"\\\g<0>", text)


def markdown_block(text: str) -> str:
    """The same for text that begins a line or a list item: no heading, list, rule or indented code."""
    text = markdown(text).strip()
    begins = _BLOCK.match(text)
    return text if begins is None else f"{begins[0]}\\{text[begins.end() :]}"


# --- HTML, pictures, LaTeX, CSV --------------------------------------------------------------------------------------


def html(text: str) -> str:
    """Text between tags, or in a quoted attribute."""
    return _html(plain(text))


def figure(text: object, longest: int = LONGEST) -> str:
    """Text in a picture, which is drawn with matplotlib's formulas switched off (report/drawing.py)."""
    text = one_line(text, longest)
    return f" {text}" if text.startswith("_") else text  # matplotlib leaves such a name out of its legends


def label(text: object) -> str:
    """A name in a picture; a long one is cut in the middle, because parameters come last."""
    name = figure(text, 100 * LONGEST_LABEL)
    return name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 33]}...{name[-30:]}"


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after a line break it would start an optional argument
    "*": "{*}",  # and this would belong to the line break
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "\u2013": "--",
    "\u2212": "$-$",
    "β": r"$\beta$",
    "ε": r"$\epsilon$",
    "λ": r"$\lambda$",
}


def latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character) or _latin(character) for character in plain(text))


def _latin(character: str) -> str:
    """A character itself if LaTeX's own fonts have it, else its number: a missing one would end the run."""
    return character if " " <= character <= "~" else rf"\texttt{{U+{ord(character):04X}}}"


# A semicolon separates cells where a comma is the decimal sign; in Japan full-width signs count as the narrow ones.
_FORMULA = re.compile(r"(?:^|;)\s*(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")


def csv(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return _FORMULA.sub(r"\g<0>'", plain(text))
