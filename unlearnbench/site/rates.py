"""True positive rates at fixed false positive rates, beside chance, on logarithmic axes.

These are the points of an ROC curve for which leaderboards have intervals. Whole curves are drawn at the end of a run
(report/curves.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from unlearnbench.metrics.catalog import METRICS
from unlearnbench.report import drawing
from unlearnbench.report.summary import methods_of
from unlearnbench.report.text_tables import format_interval
from unlearnbench.report.wording import in_words
from unlearnbench.site import canvas
from unlearnbench.site.dataset_groups import by_dataset
from unlearnbench.site.figures import Figure
from unlearnbench.site.naming import slug
from unlearnbench.site.rows import BoardRow
from unlearnbench.system.escaping import label, plain

_FLOOR = 1e-4  # of a logarithmic axis, where a rate of 0 is drawn


def rates(rows: Sequence[BoardRow], name: str) -> list[Figure]:
    """A figure for each attack and dataset with such rates: for each method the setting with the largest rate.

    Args:
        rows: the rows of one experiment.
        name: the beginning of the figures' names.
    """
    having = [row for row in rows if any(row.get(metric) is not None for metric in _rates())]
    found = []
    for place, all_here in by_dataset(having).items():
        for attack in dict.fromkeys(row["attack"] for row in all_here):
            here = [row for row in all_here if row["attack"] == attack]
            what = f"{plain(in_words(attack))} on {place.title}"
            found.append(
                drawing.attempt(f"rates, {what}", _drawn, here, f"{name}-{place.number}-rates-{slug(attack)}", what)
            )
    return list(filter(None, found))


def _rates() -> dict[str, float]:
    """The false positive rate of each such metric, smallest first."""
    found = {name: metric.rate.at for name, metric in METRICS.items() if metric.rate and metric.rate.of == "tpr"}
    return dict(sorted(found.items(), key=lambda each: each[1]))


def _drawn(rows: Sequence[BoardRow], name: str, what: str) -> Figure:
    methods = methods_of(rows)
    numbers, described = [], []
    with canvas.style():
        figure, (axes,) = canvas.panels(1, size=(4.6, 3.4))
        looks = canvas.colours(methods)
        axes.plot([_FLOOR, 1], [_FLOOR, 1], color=canvas.MUTED, linewidth=0.8, linestyle=(0, (4, 3)), label="chance")
        for place, method in enumerate(methods):
            colour, marker = looks[method]
            shift = 1.09 ** (place - (len(methods) - 1) / 2)  # side by side
            for metric, rate in _rates().items():
                own = [row for row in rows if row["method_id"] == method and row.get(metric) is not None]
                if not own:
                    continue
                row = max(own, key=lambda each: float(each[metric]))
                mean, low, high = float(row[metric]), row.get(f"{metric}_low"), row.get(f"{metric}_high")
                axes.errorbar(
                    rate * shift, max(mean, _FLOOR), yerr=_bar(mean, low, high), color=colour, marker=marker,
                    linestyle="none", elinewidth=0.8, label=label(method),
                )  # fmt: skip
                shown = format_interval(mean, low, high, METRICS[metric].unit)
                numbers.append((plain(method), f"{100 * rate:g} %", plain(row["attack_id"]), shown))
                described.append(f"{plain(method)} finds {mean:.2g} at {100 * rate:g} % false alarms")
        for set_scale in (axes.set_xscale, axes.set_yscale):
            set_scale("log")
        for axis in (axes.xaxis, axes.yaxis):
            drawing.plain_ticks(axis)
        axes.set(xlim=(3e-4, 5e-2), ylim=(_FLOOR, 1.2), xlabel="false positive rate", title="true positive rate ↓")
        drawing.legend_below(figure, columns=3)
        light, dark, ending = canvas.saved(figure)
    title = f"True positive rates at low false positive rates, {what}"
    caption = (
        "For each method the setting with the largest rate; bars: 95 % intervals over seeds; rates below the axis"
        f" are drawn at {_FLOOR:g}."
    )
    headers = ("method", "false positive rate", "access", "true positive rate")
    return Figure(
        name, title, caption, f"{title}. {'; '.join(described)}.", light, dark, ending, headers, tuple(numbers)
    )


def _bar(mean: float, low: float | None, high: float | None) -> list[list[float]] | None:
    """The lengths of an interval below and above a mark, cut at the axis."""
    if low is None or high is None:
        return None
    mark = max(mean, _FLOOR)
    return [[max(0.0, mark - max(low, _FLOOR))], [max(0.0, high - mark)]]
