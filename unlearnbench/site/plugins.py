"""How methods and attacks describe themselves: description, source and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnbench.system.printing import visible

if TYPE_CHECKING:
    from unlearnbench.registry.plugin_info import PluginInfo


@dataclass(frozen=True)
class Paragraph:
    """Running text, or preformatted lines such as an equation."""

    text: str
    as_it_stands: bool = False

    @property
    def spans(self) -> list[tuple[str, bool]]:
        """The text in pieces, each with whether it was in backquotes, which are removed."""
        pieces = self.text.split("`")
        if len(pieces) % 2 == 0:  # an unpaired one
            return [(self.text, False)]
        return [(piece, number % 2 == 1) for number, piece in enumerate(pieces) if piece]


@dataclass(frozen=True)
class About:
    """A plugin's own words; characters that could control a screen are shown as escapes."""

    description: str
    documentation: tuple[Paragraph, ...]
    paper: str
    version: str
    origin: str
    access: str  # attacks: what they need with default parameters
    parameters: tuple[tuple[str, str, str, str], ...]


def about(wanted: Iterable[tuple[str, str]], folders: Sequence[Path] = ()) -> Mapping[tuple[str, str], About]:
    """Descriptions by kind and name, for wanted plugins that are installed or in one of the folders."""
    from unlearnbench.registry import registry

    found = registry.discover(folders)
    made = {}
    for kind, name in wanted:
        info = (found.methods if kind == "method" else found.attacks).get(name)
        if info is not None:
            made[kind, name] = _about(info)
    return made


def _about(info: PluginInfo) -> About:
    from unlearnbench.registry.plugin_facts import facts

    known = facts(info)
    return About(
        visible(info.description),
        tuple(_paragraph(part) for part in info.documentation.split("\n\n")[1:] if part.strip()),
        visible(info.cls.paper or ""),
        str(info.version),
        "built in" if info.builtin else "from outside the package",
        visible(known.access or ""),
        tuple(
            (visible(one.name), visible(f"{one.type} {one.bounds}".strip()), visible(one.default), visible(one.meaning))
            for one in known.parameters
        ),
    )


def _paragraph(text: str) -> Paragraph:
    lines = text.expandtabs(4).split("\n")
    if all(line.startswith("    ") for line in lines if line.strip()):
        return Paragraph("\n".join(visible(line[4:]) for line in lines), as_it_stands=True)
    return Paragraph(visible(" ".join(text.split())))
