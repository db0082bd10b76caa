"""What the interval of a quantity is asked to lie within, and what it then says: yes, no, or nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

_ROUNDING = 1e-9  # of differences of two decimal numbers that a bound was written for


@dataclass(frozen=True)
class Bounds:
    """A half-line or a range of values.

    Attributes:
        words: the bounds, for people.
        least, most: infinite where there is none.
        strict: whether values at a bound are outside.
    """

    words: str
    least: float = -math.inf
    most: float = math.inf
    strict: bool = False

    def hold(self, low: float, high: float) -> bool:
        """Whether the whole interval is within."""
        if self.strict:
            return low > self.least and high < self.most
        return low >= self.least - _ROUNDING and high <= self.most + _ROUNDING

    def are_refuted(self, low: float, high: float) -> bool:
        """Whether the whole interval is outside, on one side."""
        if self.strict:
            return high <= self.least or low >= self.most
        return high < self.least - _ROUNDING or low > self.most + _ROUNDING


ABOVE = Bounds("above 0", least=0, strict=True)
BELOW = Bounds("below 0", most=0, strict=True)
