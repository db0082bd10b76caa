"""One check on one dataset: paired per-seed differences with Student's interval, at least three seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from unlearnbench.claims.bounds import ABOVE, BELOW, Bounds
from unlearnbench.claims.measured import Measured, Values, in_one
from unlearnbench.claims.model import Check, Condition, Difference, Monotone, Ordering, Ratio, Selection, Trivial, Value
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.metrics.intervals import MINIMUM, student_t

Form = Literal["value", "difference", "ratio"]

FEW = "fewer than three seeds"


@dataclass(frozen=True)
class Finding:
    """What one check found on one dataset.

    Attributes:
        what: the quantity that was tested, in words.
        asked: what must be true of it.
        holds: None where nothing can be said, for the `reason`.
        refuted: whether the whole interval lies on the other side, or a condition is not met; what neither holds nor
            is refuted is not shown.
        reason: that, or why it does not hold.
        part: of the data, if it was not measured on the whole.
        mean, low, high: of the quantity over `n` seeds, of a ratio the geometric mean; None where it was not measured.
        metric: of the values behind it.
        form: what the quantity is made of them.
        points: the values behind it, each with its name, mean, low and high.
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


def run(
    test: Check, chosen: Sequence[Selection], known: Selection, measured: Measured, dataset: str, conditions: bool
) -> list[Finding]:
    """A check on a dataset.

    Args:
        test: what is asked.
        chosen: its quantities, whole, in the order of `model.terms`.
        known: what need not be said of each quantity again.
        conditions: whether those of the check count.
    """
    metric, names = str(chosen[0].metric), _names(chosen, known)
    values = [measured.values(selection, dataset) for selection in chosen]
    sides = list(zip(names, values, strict=True))
    unmet, unknown = _unmet(test.given if conditions else [], chosen, names, measured, dataset)
    if unknown:
        asked = " and ".join(f"{condition.metric} at most {condition.at_most:g}" for condition in test.given)
        return [Finding(f"{metric} of {', '.join(names)}", f"{asked}, and more", None, reason=unknown, metric=metric)]
    if isinstance(test, Ordering):
        many = len(test.greater)
        pairs = [(sides[high], sides[low]) for high in range(many) for low in range(many, len(chosen))]
        return [_paired(pair, "difference", metric, ABOVE, unmet) for pair in pairs]
    if isinstance(test, Monotone):
        return [_monotone(test, sides, metric, unmet)]
    if isinstance(test, Trivial):
        return [_trivial(chosen[0], sides[0], measured, dataset, unmet)]
    form: Form = "difference" if isinstance(test, Difference) else "ratio" if isinstance(test, Ratio) else "value"
    return [_paired(sides, form, metric, _bounds(test, form, metric), unmet)]


def in_percent(metric: str) -> bool:
    """Whether people write a metric in percent: shares of images, and not an attack's scores."""
    described = METRICS.get(metric)
    return described is not None and described.unit == "share" and described.good != "privacy"


# --- kinds -----------------------------------------------------------------------------------------------------------


def _paired(sides: Sequence[tuple[str, Values]], form: Form, metric: str, bounds: Bounds, unmet: str) -> Finding:
    """A quantity made of one or two values a seed, tested by its interval over the seeds that have all of them."""
    made = {"value": "", "difference": " - ", "ratio": " / "}[form].join(name for name, _ in sides)
    found = Finding(f"{metric} of {made}", bounds.words, None, metric=metric, form=form)
    seeds, reason = _seeds([values for _, values in sides])
    if reason:
        return replace(found, reason=reason, n=len(seeds))
    combine: dict[Form, Callable[..., float]] = {"value": _same, "difference": _minus, "ratio": _log_ratio}
    each = [combine[form](*(values.by_seed[seed] for _, values in sides)) for seed in seeds]
    if not all(map(math.isfinite, each)):
        return replace(found, reason="a value of 0 in a seed: there is no ratio", n=len(seeds))
    mean, low, high = _interval(each)
    if form == "ratio":  # a ratio and its inverse say the same: only of logarithms are their intervals inverse, too
        mean, low, high = math.exp(mean), math.exp(low), math.exp(high)
    points = [_point(name, values, seeds) for name, values in sides] if len(sides) > 1 else []
    part = in_one(values.part for _, values in sides)
    holds, refuted = bounds.hold(low, high) and not unmet, bounds.are_refuted(low, high) or bool(unmet)
    return replace(
        found, holds=holds, refuted=refuted, reason=unmet, part=part, mean=mean, low=low, high=high, n=len(seeds),
        points=points,
    )  # fmt: skip


def _monotone(test: Monotone, sides: Sequence[tuple[str, Values]], metric: str, unmet: str) -> Finding:
    rises = test.direction == "rises"
    bounds = ABOVE if rises else BELOW
    found = _paired([sides[-1], sides[0]], "difference", metric, bounds, unmet)
    if test.adjacent:
        found = replace(found, asked=f"{bounds.words}, and {test.direction} at every step")
    seeds, reason = _seeds([values for _, values in sides])
    if reason:
        return replace(
            found, holds=None, refuted=False, reason=reason, mean=None, low=None, high=None, n=len(seeds), points=[]
        )
    points = [_point(name, values, seeds) for name, values in sides]
    against, refuted = [], found.refuted
    for (first, before), (second, after) in pairwise(sides) if test.adjacent else ():
        mean, low, high = _interval([after.by_seed[seed] - before.by_seed[seed] for seed in seeds])
        if mean <= 0 if rises else mean >= 0:
            against.append(f"not from {first} to {second}")
            refuted |= bounds.are_refuted(low, high)
    said = "; ".join(filter(None, [found.reason, *against]))
    return replace(found, holds=found.holds and not against, refuted=refuted, reason=said, points=points)


def _trivial(selection: Selection, side: tuple[str, Values], measured: Measured, dataset: str, unmet: str) -> Finding:
    metric = METRICS[str(selection.metric)]
    higher = metric.better == "higher"
    if isinstance(metric.trivial, str):
        other = measured.values(Selection(metric=metric.trivial).over(selection), dataset)
    elif metric.trivial is not None:
        other = Values(dict.fromkeys(side[1].by_seed, metric.trivial))
    else:
        other = Values(reason=f"{metric.name} has no trivial attacker")
    sides = [side, ("the trivial attacker", other)]
    return _paired(sides, "difference", metric.name, ABOVE if higher else BELOW, unmet)


def _bounds(test: Difference | Ratio | Value, form: Form, metric: str) -> Bounds:
    least, most = test.at_least, test.at_most
    scale, unit = (100, " points" if form == "difference" else " %") if in_percent(metric) else (1, "")
    if form == "ratio":
        scale, unit = 1, ""
    bounds = {"at least": least, "at most": most}
    shown = [f"{name} {scale * bound:g}{unit}" for name, bound in bounds.items() if bound is not None]
    return Bounds(" and ".join(shown), -math.inf if least is None else least, math.inf if most is None else most)


def _minus(first: float, second: float) -> float:
    return first - second


def _log_ratio(first: float, second: float) -> float:
    return math.log(first / second) if first > 0 and second > 0 else math.nan


def _same(value: float) -> float:
    return value


# --- parts -----------------------------------------------------------------------------------------------------------


def _seeds(values: Sequence[Values]) -> tuple[list[int], str]:
    """The seeds that all have, and why they do not do."""
    missing = next((each.reason for each in values if each.reason), "")
    if missing:
        return [], missing
    if len(frozenset[str]().union(*(each.devices for each in values))) > 1:
        return [], "times of several kinds of machines can't be compared"
    seeds = sorted(set.intersection(*(set(each.by_seed) for each in values)))
    return seeds, "" if len(seeds) >= MINIMUM else f"{FEW} ({len(seeds)})"


def _unmet(given: Sequence[Condition], chosen: Sequence[Selection], names: Sequence[str], measured: Measured,
           dataset: str) -> tuple[str, str]:  # fmt: skip
    """Which side does not meet which condition, in how many seeds, and of which it is not known; empty if all do."""
    for condition in given:
        for selection, name in zip(chosen, names, strict=True):
            values = measured.values(Selection(metric=condition.metric).over(selection), dataset)
            missing = set(measured.values(selection, dataset).by_seed) - set(values.by_seed)
            over = [value for value in values.by_seed.values() if value > condition.at_most]
            if over:
                count = f"in {len(over)} of {len(values.by_seed)} seeds"
                return f"{name}: {condition.metric} at most {condition.at_most:g} is not met ({count})", ""
            if missing:
                return "", f"{condition.metric} was not measured of {name} in {len(missing)} seeds"
    return "", ""


def _interval(values: Sequence[float]) -> tuple[float, float, float]:
    mean, low, high = student_t(values)
    assert low is not None
    assert high is not None
    return mean, low, high


def _point(name: str, values: Values, seeds: Sequence[int]) -> tuple[str, float, float | None, float | None]:
    return name, *student_t([values.by_seed[seed] for seed in seeds])


def _names(chosen: Sequence[Selection], known: Selection) -> list[str]:
    """What tells each quantity apart from what is `known` of all."""
    said = _parts(known)
    names = []
    for each in chosen:
        own = [text for name, text in _parts(each).items() if name == "method" or said.get(name) != text]
        names.append(" ".join([*([] if each.metric == chosen[0].metric else [f"{each.metric} of"]), *own]))
    return names


def _parts(selection: Selection) -> dict[str, str]:
    """A selection's parts in words, by what they say; not the metric."""
    parts = {"method": str(selection.method)}
    for name, value in {**selection.scenario, **selection.params, **selection.attack_params}.items():
        parts[name] = f"{name.split('.')[-1]}={value}"
    if selection.course is not None:
        course = selection.course
        end = "the end" if course.to is None else str(course.to)
        span = (
            f"at epoch {end}" if course.statistic == "at" else f"{course.statistic} of epochs {course.first} to {end}"
        )
        parts["course"] = f"({span})"
    return parts
