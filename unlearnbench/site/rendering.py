"""From pages to HTML: Jinja templates with autoescaping, and a policy under which only the site's own files run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from unlearnbench.report.wording import in_words
from unlearnbench.site.naming import slug, split_id
from unlearnbench.system.escaping import lines

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
"""The pages' Content-Security-Policy: no inline script or style, and nothing from another host."""

STATIC = ("style.css", "theme.js", "tables.js", "tips.js")


def render(template: str, path: str, values: Mapping[str, Any]) -> bytes:
    """One page.

    Args:
        template: the template's name in the folder `templates`.
        path: the page's path from the site's root. Links are relative to it, so that the site works at any address
            and from a disk.
        values: the values for the template.
    """
    root = "../" * path.count("/")
    page = _environment().get_template(template).render(**values, root=root, here=path, policy=POLICY)
    # A lone surrogate from a plugin's text cannot be encoded.
    return page.encode("utf-8", "replace")


def static() -> dict[str, bytes]:
    """The style sheet and the scripts, by path."""
    from importlib.resources import files

    folder = files("unlearnbench.site") / "static"
    return {f"assets/{name}": (folder / name).read_bytes() for name in STATIC}


def _harmless(value: Any) -> Any:
    """Text without characters that control a screen, reorder text or are invisible; Jinja escapes the markup."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return lines(value)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("unlearnbench.site"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["slug"] = slug
    made.filters["words"] = in_words
    made.filters["split_id"] = split_id
    made.filters["count"] = lambda number: f"{number:,}".replace(",", "\u202f")
    return made
