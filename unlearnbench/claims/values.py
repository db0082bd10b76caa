"""The numbers that a selection names: one per seed, a printed one, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from unlearnbench.claims.model import ValueSelection


class Code(NamedTuple):
    """Which version of a plugin's code a number comes from."""

    plugin: str
    sha256: str
    metric: str


@dataclass(frozen=True)
class Values:
    """One number per seed, or why there is none."""

    by_seed: Mapping[int, float] = field(default_factory=dict)
    devices: frozenset[str] = frozenset()  # for times only, as those of several kinds of machines are not one quantity
    reason: str = ""
    part: str = ""  # of the data that it was measured on; empty for all of it
    codes: frozenset[Code] = frozenset()
    is_printed: bool = False  # a number from a paper, taken as exact


class ValueSource(Protocol):
    """Where numbers come from: records, or a paper's tables."""

    def values(self, selection: ValueSelection, dataset: str) -> Values:
        """The numbers of a selection on a dataset."""

    def trivial(self, selection: ValueSelection, dataset: str) -> Values:
        """The score of an attacker who looks at no output, in place of a selection's attack."""


def in_one(parts: Iterable[str]) -> str:
    """Several parts of the data in words, without repetition."""
    return ", ".join(dict.fromkeys(words for part in parts if part for words in part.split(", ")))


def versions(codes: Iterable[Code]) -> str:
    """The plugins of which several versions contributed numbers, in words; empty if there are none."""
    plugins: dict[str, dict[str, set[str]]] = {}
    for code in codes:
        plugins.setdefault(code.plugin, {}).setdefault(code.sha256, set()).add(code.metric)
    said = []
    for plugin, hashes in sorted(plugins.items()):
        if len(hashes) > 1:
            which = "; ".join(sorted(f"{', '.join(sorted(metrics))}: {sha[:8]}" for sha, metrics in hashes.items()))
            said.append(f"{len(hashes)} versions of the code of {plugin} ({which})")
    return " and ".join(said)
