"""What protection costs: leakage against accuracy, and steps against accuracy, with the front that no method beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unlearnbench.metrics.catalog import METRICS, Metric, shown_in
from unlearnbench.report import drawing, wording
from unlearnbench.report.text_tables import format_column
from unlearnbench.site import canvas, standing
from unlearnbench.site.dataset_groups import DatasetGroup, by_dataset
from unlearnbench.site.figures import Figure
from unlearnbench.site.rows import BoardRow
from unlearnbench.system.escaping import label, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

_LABELLED = 12  # the most points whose labels do not overlap
_HEADERS = ("method", "β", "strongest attack", "accuracy", "leak", "forgot", "accuracy kept", "on the front")


@dataclass(frozen=True)
class Point:
    """A contender in the plane; low `y` and high `x` are better."""

    row: BoardRow
    x: Metric
    y: Metric

    @property
    def at(self) -> tuple[float, float]:
        return float(self.row[self.x.name]), float(self.row[self.y.name])

    @property
    def name(self) -> str:
        return plain(self.row["method_id"])

    @property
    def competes(self) -> bool:
        """Whether it may be on the front: it forgot, kept accuracy and is not a reference."""
        return standing.competes(self.row)

    def error(self, metric: Metric) -> list[list[float]] | None:
        low, high = self.row.get(f"{metric.name}_low"), self.row.get(f"{metric.name}_high")
        if low is None or high is None:
            return None
        return [[self.row[metric.name] - low], [high - self.row[metric.name]]]


def leakage(rows: Sequence[BoardRow], name: str) -> list[Figure]:
    """For each dataset: the strongest attack's score against test accuracy, a panel for each kind of score.

    Args:
        rows: the rows of one experiment.
        name: the beginning of the figures' names.
    """
    found = []
    for place, sides in leaking(rows).items():
        title = f"What leaks against what is kept, {place.title}"
        found.append(drawing.attempt(title, _drawn, sides, f"{name}-{place.number}-tradeoff", title))
    return list(filter(None, found))


def leaking(rows: Sequence[BoardRow]) -> dict[DatasetGroup, list[list[Point]]]:
    """What `leakage` draws: for each dataset the points of each panel."""
    attacked = [row for row in rows if row["attack"] is not None and row.get("accuracy") is not None]
    found = {}
    for place, here in by_dataset(attacked).items():
        measured = {
            each.name: each for each in shown_in("tradeoff") if any(row.get(each.name) is not None for row in here)
        }
        sides = [_strongest(here, metric) for metric in measured.values() if metric.superseded_by not in measured]
        if drawn := [side for side in sides if len(side) > 1]:
            found[place] = drawn
    return found


def cost(rows: Sequence[BoardRow], name: str) -> list[Figure]:
    """For each dataset, without an attack: accuracy against optimiser steps."""
    found = []
    bare = [
        row for row in rows if row["attack"] is None and row.get("accuracy") is not None and row.get("gradient_steps")
    ]
    for place, here in by_dataset(bare).items():
        side = [Point(row, METRICS["accuracy"], METRICS["gradient_steps"]) for row in here]
        if len({point.at[1] for point in side}) > 1:
            title = f"What erasing costs against what is kept, {place.title}"
            found.append(drawing.attempt(title, _drawn, [side], f"{name}-{place.number}-cost", title))
    return list(filter(None, found))


def _strongest(rows: Sequence[BoardRow], metric: Metric) -> list[Point]:
    """For each contender and setting the access with the highest mean score."""
    worst: dict[tuple[Any, ...], BoardRow] = {}
    for row in rows:
        if row.get(metric.name) is None:
            continue
        key = row["method_id"], row["scenario_id"]
        if key not in worst or row[metric.name] > worst[key][metric.name]:
            worst[key] = row
    return [Point(row, METRICS["accuracy"], metric) for row in worst.values()]


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats on both axes, the least accurate first."""
    able = [point for point in points if point.competes]
    best = [
        point
        for point in able
        if not any(other.at[0] >= point.at[0] and other.at[1] <= point.at[1] and other.at != point.at for other in able)
    ]
    return sorted(best, key=lambda point: point.at)


def _drawn(sides: Sequence[Sequence[Point]], name: str, title: str) -> Figure:
    with canvas.style():
        light, dark, ending = canvas.saved(plotted(sides))
    rows = [_line(point, point in front(side)) for side in sides for point in side]
    is_cost = sides[0][0].y.good == "cost"
    how = (
        "Steps of one erasure on a logarithmic axis."
        if is_cost
        else "For each method the strongest attack, by its mean over seeds: the largest of noisy means, which is biased"
        " upwards, more so the more accesses were tried. Dashed: an attacker who looks at no output."
    )
    caption = (
        f"{how} Right and down is better. Bars: 95 % intervals over seeds. Filled: judged to have forgotten and to have"
        " kept accuracy; hollow: not, or a reference. The line joins filled points that no other beats on both means."
    )
    headers = _HEADERS if not is_cost else ("method", "β", "", "accuracy", "steps", *_HEADERS[5:])
    return Figure(name, title, caption, _alt(sides, title), light, dark, ending, headers, tuple(rows))


def plotted(sides: Sequence[Sequence[Point]]) -> MatplotlibFigure:
    """The figure itself, with a panel for each side; to be drawn inside `canvas.style`."""
    betas = {point.row["beta_text"] for side in sides for point in side}
    several = len(betas) > 1 and max(map(len, sides)) <= _LABELLED
    figure, axes = canvas.panels(len(sides), size=(3.6, 3.0) if len(sides) > 1 else (5.2, 3.6))
    references = {point.row["method"]: point.row["reference"] is True for side in sides for point in side}
    methods = sorted(references, key=lambda name: (references[name], name))
    looks = canvas.colours(methods)
    for each, side in zip(axes, sides, strict=True):
        _panel(each, side, looks, several)
    drawing.legend_below(figure, columns=4)
    return figure


def _panel(axes: Axes, side: Sequence[Point], looks: dict[str, tuple[str, str]], several: bool) -> None:
    x, y = side[0].x, side[0].y
    for point in side:
        colour, marker = looks[point.row["method"]]
        (px, py), filled = point.at, point.competes
        _, _, bars = axes.errorbar(
            px, py, xerr=point.error(x), yerr=point.error(y) if y.good != "cost" else None, color=colour, marker=marker,
            markerfacecolor=colour if filled else "none", linestyle="none", elinewidth=0.8, zorder=3,
            label=label(point.row["method"]),
        )  # fmt: skip
        for bar in bars:
            bar.set_alpha(0.35)
        if several and point.row["beta_text"]:
            axes.annotate(f"β {point.row['beta_text']}", (px, py), (4, 3), textcoords="offset points", fontsize=5.5)
    best = front(side)
    axes.plot(*zip(*(point.at for point in best), strict=True), color=canvas.INK, linewidth=0.8) if best else None
    canvas.trivial_line(axes, (point.row for point in side), y)
    if y.good == "cost":
        axes.set_yscale("log")
        drawing.plain_ticks(axes.yaxis)
    axes.set_xlim(*canvas.within_a_share(*axes.get_xlim()))
    axes.set_xlabel("test accuracy →")
    axes.set_title(f"{y.heading}{'' if y.good == 'cost' else ' of the strongest attack'} ↓")


def _line(point: Point, on_front: bool) -> tuple[str, ...]:
    row = point.row
    shown = [format_column(row, metric.name, metric.unit) for metric in (point.x, point.y)]
    attack = f"{plain(row['attack_id'])} ({point.y.heading})" if row["attack_id"] else ""
    verdicts = wording.forgetting(row), wording.accuracy(row)
    return point.name, row["beta_text"], attack, *shown, *verdicts, "yes" if on_front else ""


def _alt(sides: Sequence[Sequence[Point]], title: str) -> str:
    parts = [f"{title}: a scatter plot."]
    for side in sides:
        best = ", ".join(f"{point.name} ({point.at[0]:.3g}; {point.at[1]:.3g})" for point in front(side))
        worst = max(side, key=lambda point: point.at[1])
        parts.append(
            f"{side[0].y.heading} of {len(side)} contenders; on the front, with accuracy and {side[0].y.heading}:"
            f" {best or 'none'}; highest: {worst.name} at {worst.at[1]:.3g}."
        )
    return " ".join(parts)
