"""Metrics over a parameter of the scenario: beta (Table 2) or the erased ratio (Figure 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unlearnbench.metrics.catalog import Metric, View, shown_in
from unlearnbench.report import drawing
from unlearnbench.report.text_tables import format_column
from unlearnbench.site import canvas
from unlearnbench.site.dataset_groups import by_dataset
from unlearnbench.site.figures import Figure
from unlearnbench.site.naming import split_id
from unlearnbench.site.rows import BoardRow
from unlearnbench.system import escaping
from unlearnbench.system.escaping import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_VIEWS: dict[str, View] = {"beta": "beta", "edr": "ratio"}
_LABELS = {"beta": "distortion rate β", "edr": "erased share of the training images, %"}

Lines = dict[str, list[BoardRow]]


def sweeps(rows: Sequence[BoardRow], name: str) -> list[Figure]:
    """For each dataset a figure over beta and one over the erased ratio, if there are two values or more.

    Args:
        rows: the rows of one experiment.
        name: the beginning of the figures' names.
    """
    found = []
    for over in ("beta", "edr"):
        for place, all_here in by_dataset(rows).items():
            here = [row for row in all_here if row[over] is not None]
            points = sorted({row[over] for row in here})
            sides = [(metric, _lines(here, metric, over)) for metric in shown_in(_VIEWS[over])]
            sides = [(metric, lines) for metric, lines in sides if any(len(line) > 1 for line in lines.values())]
            if len(points) > 1 and sides:
                figure = f"{name}-{place.number}-{over}"
                found.append(drawing.attempt(figure, _drawn, sides, over, points, figure, place.title))
    return list(filter(None, found))


def _lines(rows: Sequence[BoardRow], metric: Metric, over: str) -> Lines:
    """Rows by method, and by attack where several have the metric; one row per value of the parameter."""
    having = [row for row in rows if row.get(metric.name) is not None]
    attacks = {row["attack_id"] for row in having}
    others = {_elsewhere(row, over) for row in having}
    one = len({row["attack"] for row in having}) == 1
    lines: dict[str, dict[float, BoardRow]] = {}
    for row in having:
        label = row["method_id"]
        if metric.good == "privacy" and len(attacks) > 1:
            label += f", {(split_id(row['attack_id'])[1] or 'default') if one else row['attack_id']}"
        if len(others) > 1 and (other := _elsewhere(row, over)):
            label += f", {other}"
        lines.setdefault(plain(label), {}).setdefault(row[over], row)  # utility repeats over attacks
    return {label: [line[place] for place in sorted(line)] for label, line in lines.items()}


def _elsewhere(row: BoardRow, over: str) -> str:
    """A row's scenario without the swept parameter."""
    swept = "beta=" if over == "beta" else "erased_ratio="
    return ",".join(part for part in row["scenario_id"].split(",") if not part.startswith((swept, "replicas=")))


def _drawn(
    sides: Sequence[tuple[Metric, Lines]], over: str, places: Sequence[float], name: str, dataset: str
) -> Figure:
    labels = list(dict.fromkeys(label for _, lines in sides for label in lines))
    with canvas.style():
        figure, axes = canvas.panels(len(sides))
        looks = canvas.colours(labels)
        for each, (metric, lines) in zip(axes, sides, strict=True):
            _panel(each, metric, lines, over, places, looks)
        drawing.legend_below(figure, columns=3)
        light, dark, ending = canvas.saved(figure)
    title = f"Over {'β' if over == 'beta' else 'the erased ratio'}, {dataset}"
    caption = "Means over seeds with bands of 95 % intervals."
    if any(metric.good == "privacy" for metric, _ in sides):
        caption += " Dashed: an attacker who looks at no output."
    rows = [
        (metric.heading, label, _place(row[over], over), format_column(row, metric.name, metric.unit))
        for metric, lines in sides
        for label, line in lines.items()
        for row in line
    ]
    headers = ("metric", "method", "β" if over == "beta" else "erased", "measured")
    return Figure(name, title, caption, _alt(sides, over, title), light, dark, ending, headers, tuple(rows))


def _panel(axes: Axes, metric: Metric, lines: Lines, over: str, places: Sequence[float], looks: Any) -> None:
    import seaborn as sns

    # beta spans orders of magnitude and includes 0, so its values are spaced evenly.
    where = {place: number if over == "beta" else 100 * place for number, place in enumerate(places)}
    for label, line in lines.items():
        x = [where[row[over]] for row in line]
        colour, marker = looks[label]
        y = [float(row[metric.name]) for row in line]
        sns.lineplot(
            x=x, y=y, ax=axes, color=colour, marker=marker, label=escaping.label(label), errorbar=None, legend=False,
            markeredgewidth=0,
        )  # fmt: skip
        low, high = ([row.get(f"{metric.name}_{end}") for row in line] for end in ("low", "high"))
        if not any(each is None for each in (*low, *high)):
            bounds: Any = low, high
            axes.fill_between(x, bounds[0], bounds[1], color=colour, alpha=0.15, linewidth=0)
    canvas.trivial_line(axes, (row for line in lines.values() for row in line), metric)
    if metric.good == "cost" and all(row[metric.name] > 0 for line in lines.values() for row in line):
        axes.set_yscale("log")
        drawing.plain_ticks(axes.yaxis)
    axes.set_xticks(list(where.values()), [_place(place, over).removesuffix(" %") for place in places])
    axes.set_xlabel(_LABELS[over])
    axes.set_title(f"{metric.heading} {'↑' if metric.better == 'higher' else '↓' if metric.better == 'lower' else ''}")


def _place(value: float, over: str) -> str:
    return f"{value:g}" if over == "beta" else f"{100 * value:g} %"


def _alt(sides: Sequence[tuple[Metric, Lines]], over: str, title: str) -> str:
    parts = [f"{title}: line plots."]
    for metric, lines in sides:
        described = [
            f"{label} from {line[0][metric.name]:.3g} at {_place(line[0][over], over)} to {line[-1][metric.name]:.3g}"
            f" at {_place(line[-1][over], over)}"
            for label, line in lines.items()
        ]
        parts.append(f"{metric.heading}: {'; '.join(described)}.")
    return " ".join(parts)
