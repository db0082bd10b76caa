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
        holds: None where nothing can be said, for the `reason`.
        refuted: whether the whole interval lies on the other side, or a condition is not met; what neither holds nor
            is refuted is open.
        reason: that, or why it does not hold.
        part: of the data, if it was not measured on the whole.
        mean, low, high: of the quantity over `n` seeds, of a ratio the geometric mean; None where it was not measured.
            A printed number has neither interval nor seeds.
        metric: of the values behind it.
        form: what the quantity is made of them.
        points: the values behind it, each with its name, mean, low and high.
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
        """Whether it is as asked."""
        if self.holds is None:
            return "not run"
        return "yes" if self.holds else "no" if self.refuted else "open"
