"""What one check found on one dataset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from unlearnbench.claims.intervals import Form
from unlearnbench.claims.values import Code


@dataclass(frozen=True)
class Finding:
    """What one check found on one dataset.

    Attributes:
        what: the quantity that was tested, in words.
        asked: what must be true of it.
        holds: None if it is unknown; `reason` says why.
        refuted: whether the whole interval lies on the other side, or a condition is not met. A check that neither
            holds nor is refuted is open.
        reason: why it is unknown, or why it does not hold.
        part: the part of the data it was measured on; empty for all of it.
        mean, low, high: of the quantity over `n` seeds (for a ratio the geometric mean); None where it was not
            measured. A printed number has neither interval nor seeds.
        metric: of the values behind the quantity.
        form: how the quantity is formed from these values.
        points: the values behind the quantity, each with its name, mean, low and high.
        codes: the versions of the plugins behind it.
    """

    what: str
    asked: str
    holds: bool | None
    refuted: bool = False
    reason: str = ""
    part: str = ""
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    metric: str = ""
    form: Form = "value"
    points: list[tuple[str, float, float | None, float | None]] = field(default_factory=list)
    codes: frozenset[Code] = frozenset()

    @property
    def answer(self) -> Literal["yes", "no", "open", "not run"]:
        """Whether what was asked is true."""
        if self.holds is None:
            return "not run"
        return "yes" if self.holds else "no" if self.refuted else "open"
