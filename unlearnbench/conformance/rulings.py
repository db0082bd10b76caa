"""Whether a plugin keeps a rule, in plain words: what is wrong, and what to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from unlearnbench.system.printing import one_line

Status = Literal["pass", "fail", "skipped"]


class Ruling(NamedTuple):
    """Whether a plugin keeps one rule.

    Attributes:
        note: pass: what was seen, if worth saying; fail: what is wrong; skipped: why.
        advice: fail: what to change.
    """

    status: Status
    note: str = ""
    advice: str = ""


def passed(note: str = "") -> Ruling:
    return Ruling("pass", one_line(note))


def failed(what: str, advice: str) -> Ruling:
    return Ruling("fail", one_line(what), one_line(advice))


def skipped(why: str) -> Ruling:
    return Ruling("skipped", one_line(why))


@dataclass(frozen=True)
class Result:
    """A ruling, with the rule's name and the seconds that it took."""

    check: str
    status: Status
    note: str = ""
    advice: str = ""
    seconds: float = 0.0

    @property
    def line(self) -> str:
        """What was found and what to change, in one line."""
        return f"{self.note}; {self.advice}" if self.advice else self.note
