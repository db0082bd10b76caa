"""What a page needs to show a figure or a picture: files, and descriptions for readers who do not see them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_SIZE = re.compile(rb'<svg[^>]* width="([0-9.]+)pt" height="([0-9.]+)pt"')


@dataclass(frozen=True)
class Figure:
    """A drawn figure.

    Attributes:
        name: the name of its files, without an ending.
        title: what it shows, as a heading.
        caption: how to read it.
        alt: what can be seen, in words.
        light, dark: the file's content for each colour scheme.
        ending: the ending of the files' names.
        headers, rows: the numbers in the figure, as a table.
    """

    name: str
    title: str
    caption: str
    alt: str
    light: bytes
    dark: bytes
    ending: str = "svg"
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = field(default=())

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in CSS pixels, for which a page reserves space; 0 if they are unknown."""
        found = _SIZE.search(self.light[:2000])
        return (round(float(found[1]) * 4 / 3), round(float(found[2]) * 4 / 3)) if found else (0, 0)

    @property
    def files(self) -> dict[str, bytes]:
        """The files by path from the site's root."""
        return {self.path("light"): self.light, self.path("dark"): self.dark}

    def path(self, scheme: str) -> str:
        """The path of the file for a colour scheme."""
        return f"plots/{self.name}.{scheme}.{self.ending}"


@dataclass(frozen=True)
class DrawnPicture:
    """A gallery, or a set of curves, that a run drew."""

    path: str
    title: str
    alt: str
    content: bytes
