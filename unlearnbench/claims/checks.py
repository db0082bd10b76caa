"""One check on one dataset: paired per-seed differences with their intervals, or a paper's printed numbers as exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from unlearnbench.claims.findings import Finding
from unlearnbench.claims.intervals import Form, interval
from unlearnbench.claims.model import (
    Check,
    Condition,
    Difference,
    Monotone,
    Ordering,
    Ratio,
    Trivial,
    Value,
    ValueSelection,
)
from unlearnbench.claims.naming import quantity_names
from unlearnbench.claims.values import Code, Values, ValueSource, in_one, versions
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.metrics.intervals import MINIMUM

FEW = "fewer than three seeds"
_ROUNDING = 1e-9  # tolerance for differences of decimal numbers

Side = tuple[str, Values]


def run(
    test: Check,
    chosen: Sequence[ValueSelection],
    known: ValueSelection,
    source: ValueSource,
    dataset: str,
    conditions: bool,
) -> list[Finding]:
    """A check on a dataset.

    Args:
        test: the check.
        chosen: its quantities, complete, in the order of `model.terms`.
        known: what all quantities share and their names leave out.
        source: where their numbers come from.
        conditions: whether the check's conditions count.
    """
    metric, names = str(chosen[0].metric), quantity_names(chosen, known)
    sides = [(name, source.values(selection, dataset)) for name, selection in zip(names, chosen, strict=True)]
    met = _met(test.given if conditions else [], chosen, sides, source, dataset)
    if met.unknown:
        asked = " and ".join(f"{condition.metric} at most {condition.at_most:g}" for condition in test.given)
        return [
            Finding(f"{metric} of {', '.join(names)}", f"{asked}, and more", None, reason=met.unknown, metric=metric)
        ]
    if isinstance(test, Ordering):
        many = len(test.greater)
        pairs = [(sides[high], sides[low]) for high in range(many) for low in range(many, len(chosen))]
        return [_paired(pair, "difference", metric, ABOVE, met) for pair in pairs]
    if isinstance(test, Monotone):
        return [_monotone(test, sides, metric, met)]
    if isinstance(test, Trivial):
        bounds = ABOVE if METRICS[metric].better == "higher" else BELOW
        trivial = "the trivial attacker", source.trivial(chosen[0], dataset)
        return [_paired([sides[0], trivial], "difference", metric, bounds, met)]
    form: Form = "difference" if isinstance(test, Difference) else "ratio" if isinstance(test, Ratio) else "value"
    return [_paired(sides, form, metric, _bounds(test, form, metric), met)]


def in_percent(metric: str) -> bool:
    """Whether a metric is written in percent: shares of images are, an attack's scores are not."""
    described = METRICS.get(metric)
    return described is not None and described.unit == "share" and described.good != "privacy"


# --- bounds --------------------------------------------------------------------------------------------------------


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


# --- conditions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Met:
    """Whether each side meets the conditions: which side does not, or why it is unknown; empty if all sides do."""

    unmet: str = ""
    unknown: str = ""
    codes: frozenset[Code] = frozenset()


def _met(
    given: Sequence[Condition],
    chosen: Sequence[ValueSelection],
    sides: Sequence[Side],
    source: ValueSource,
    dataset: str,
) -> _Met:
    codes: frozenset[Code] = frozenset()
    for condition in given:
        asked = f"{condition.metric} at most {condition.at_most:g}"
        for selection, (name, side) in zip(chosen, sides, strict=True):
            values = source.values(ValueSelection(metric=condition.metric).over(selection), dataset)
            codes |= values.codes
            missing = set(side.by_seed) - set(values.by_seed)
            over = [value for value in values.by_seed.values() if value > condition.at_most]
            if over:
                count = "" if values.is_printed else f" (in {len(over)} of {len(values.by_seed)} seeds)"
                return _Met(unmet=f"{name}: {asked} is not met{count}", codes=codes)
            if missing and values.reason:
                return _Met(unknown=f"{condition.metric} of {name}: {values.reason}")
            if missing:
                return _Met(unknown=f"{condition.metric} was not measured of {name} in {len(missing)} seeds")
    return _Met(codes=codes)


# --- kinds -----------------------------------------------------------------------------------------------------------


def _paired(sides: Sequence[Side], form: Form, metric: str, bounds: Bounds, met: _Met) -> Finding:
    """A quantity made of one or two values per seed, tested by its interval over the seeds that have all of them."""
    made = {"value": "", "difference": " - ", "ratio": " / "}[form].join(name for name, _ in sides)
    found = Finding(f"{metric} of {made}", bounds.words, None, metric=metric, form=form)
    seeds, reason = _seeds([values for _, values in sides])
    if reason:
        return replace(found, reason=reason, n=len(seeds))
    each = _combined(sides, form, seeds)
    if not all(map(math.isfinite, each)):
        return replace(found, reason="a value of 0 in a seed: there is no ratio", n=len(seeds))
    printed = sides[0][1].is_printed
    mean, low, high = _interval(each, form, metric, printed)
    if form == "ratio":  # on a log scale the intervals of a ratio and of its inverse agree
        mean, low, high = math.exp(mean), math.exp(low), math.exp(high)
    return replace(
        found,
        holds=bounds.hold(low, high) and not met.unmet,
        refuted=bounds.are_refuted(low, high) or bool(met.unmet),
        reason=met.unmet,
        part=in_one(values.part for _, values in sides),
        mean=mean,
        low=None if printed else low,
        high=None if printed else high,
        n=0 if printed else len(seeds),
        points=_points(sides, seeds, metric) if len(sides) > 1 else [],
        codes=met.codes.union(*(values.codes for _, values in sides)),
    )


def _monotone(test: Monotone, sides: Sequence[Side], metric: str, met: _Met) -> Finding:
    """First to last like any difference; a step counts against it if its whole interval lies on the other side."""
    rises = test.direction == "rises"
    bounds, other = (ABOVE, BELOW) if rises else (BELOW, ABOVE)
    found = _paired([sides[-1], sides[0]], "difference", metric, bounds, met)
    if test.adjacent:
        found = replace(found, asked=f"{bounds.words}, and no step {other.words} beyond its interval")
    seeds, reason = _seeds([values for _, values in sides])
    if reason:
        unknown = Finding(found.what, found.asked, None, metric=metric, form="difference", part=found.part)
        return replace(unknown, reason=reason, n=len(seeds))
    against = []
    for first, second in pairwise(sides) if test.adjacent else ():
        steps = _combined([second, first], "difference", seeds)
        _, low, high = _interval(steps, "difference", metric, first[1].is_printed)
        if other.hold(low, high):
            against.append(f"{'falls' if rises else 'rises'} from {first[0]} to {second[0]}")
    return replace(
        found,
        holds=found.holds and not against,
        refuted=found.refuted or bool(against),
        reason="; ".join(filter(None, [found.reason, *against])),
        part=in_one(values.part for _, values in sides),
        points=_points(sides, seeds, metric),
        codes=met.codes.union(*(values.codes for _, values in sides)),
    )


def _bounds(test: Difference | Ratio | Value, form: Form, metric: str) -> Bounds:
    least, most = test.at_least, test.at_most
    scale, unit = (100, " points" if form == "difference" else " %") if in_percent(metric) else (1, "")
    if form == "ratio":
        scale, unit = 1, ""
    bounds = {"at least": least, "at most": most}
    shown = [f"{name} {scale * bound:g}{unit}" for name, bound in bounds.items() if bound is not None]
    return Bounds(" and ".join(shown), -math.inf if least is None else least, math.inf if most is None else most)


def _combined(sides: Sequence[Side], form: Form, seeds: Sequence[int]) -> list[float]:
    """One number per seed."""
    combine: dict[Form, Callable[..., float]] = {"value": float, "difference": _minus, "ratio": _log_ratio}
    return [combine[form](*(values.by_seed[seed] for _, values in sides)) for seed in seeds]


def _minus(first: float, second: float) -> float:
    return first - second


def _log_ratio(first: float, second: float) -> float:
    return math.log(first / second) if first > 0 and second > 0 else math.nan


# --- parts -----------------------------------------------------------------------------------------------------------


def _seeds(values: Sequence[Values]) -> tuple[list[int], str]:
    """The seeds that all sides have, and why they are not enough; empty if they are."""
    missing = next((each.reason for each in values if each.reason), "")
    if missing:
        return [], missing
    if len(frozenset[str]().union(*(each.devices for each in values))) > 1:
        return [], "times of several kinds of machines can't be compared"
    if several := versions(frozenset[Code]().union(*(each.codes for each in values))):
        return [], f"its sides come from {several}: what differs may be the code"
    seeds = sorted(set.intersection(*(set(each.by_seed) for each in values)))
    enough = len(seeds) >= MINIMUM or (seeds and all(each.is_printed for each in values))
    return seeds, "" if enough else f"{FEW} ({len(seeds)})"


def _interval(each: Sequence[float], form: Form, metric: str, printed: bool) -> tuple[float, float, float]:
    if printed:
        return each[0], each[0], each[0]
    mean, low, high = interval(each, form, metric)
    assert low is not None
    assert high is not None
    return mean, low, high


def _points(
    sides: Sequence[Side], seeds: Sequence[int], metric: str
) -> list[tuple[str, float, float | None, float | None]]:
    return [(name, *interval([values.by_seed[seed] for seed in seeds], "value", metric)) for name, values in sides]
