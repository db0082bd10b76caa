"""The bounds that a quantity's interval is checked against, and the answer: yes, no, or undecided."""

from __future__ import annotations

import math
from dataclasses import dataclass

_ROUNDING = 1e-9  # tolerance for differences of decimal numbers


@dataclass(frozen=True)
class Bounds:
    """A half-line or a range of values.

    Attributes:
        words: the bounds, for people.
        least, most: infinite where there is no bound.
        strict: whether values equal to a bound are outside.
    """

    words: str
    least: float = -math.inf
    most: float = math.inf
    strict: bool = False

    def hold(self, low: float, high: float) -> bool:
        """Whether the whole interval lies within the bounds."""
        if self.strict:
            return low > self.least and high < self.most
        return low >= self.least - _ROUNDING and high <= self.most + _ROUNDING

    def are_refuted(self, low: float, high: float) -> bool:
        """Whether the whole interval lies outside, on one side."""
        if self.strict:
            return high <= self.least or low >= self.most
        return high < self.least - _ROUNDING or low > self.most + _ROUNDING


ABOVE = Bounds("above 0", least=0, strict=True)
BELOW = Bounds("below 0", most=0, strict=True)
