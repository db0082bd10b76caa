"""Rules between the values of a settings object: all that are broken are reported, not the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class BrokenRule(NamedTuple):
    """A rule that values break.

    Attributes:
        text: what is wrong and what to do about it.
        fields: those that it is about. Where one of them is itself at fault, the rule says nothing yet.
    """

    text: str
    fields: tuple[str, ...]


class BrokenRulesError(ValueError):
    """For validators of settings: the rules that values break, one or more."""

    def __init__(self, rules: Sequence[BrokenRule]) -> None:
        super().__init__("; ".join(rule.text for rule in rules))
        self.rules = tuple(rules)
