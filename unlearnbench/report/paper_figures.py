"""Figures of a comparison: measured values as lines with bands of their intervals, the paper's points beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unlearnbench.claims.reported import ComparedTable, Entry
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.report import drawing
from unlearnbench.system import escaping

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = 3.4, 2.9  # inches of a panel
_ACROSS = 3  # panels a line


@dataclass(frozen=True)
class Drawing:
    """A figure in two formats, and a description for readers who do not see it."""

    svg: bytes
    png: bytes
    alt: str


def draw(compared: ComparedTable) -> Drawing | None:
    """The figure for a table or figure of the paper on one dataset; None without an x axis or measured values."""
    if compared.published.x is None or all(entry.mean is None for entry in compared.entries):
        return None
    with drawing.settings({"svg.hashsalt": "unlearnbench", "font.size": 8.0}, "whitegrid"):
        figure = _figure(compared)
        return Drawing(drawing.saved(figure, "svg"), drawing.saved(figure, "png"), _alt(compared))


def _panels(compared: ComparedTable) -> dict[str, dict[str, list[Entry]]]:
    """Panel -> line -> its entries; panels without any value are left out."""
    panels: dict[str, dict[str, list[Entry]]] = {}
    for entry in compared.entries:
        if entry.column.panel and (entry.mean is not None or entry.reported is not None):
            panels.setdefault(entry.column.panel, {}).setdefault(entry.column.series, []).append(entry)
    order = list(dict.fromkeys(column.panel for column in compared.published.columns))
    return {name: panels[name] for name in order if name in panels}


def _figure(compared: ComparedTable) -> Figure:
    import seaborn as sns

    panels = _panels(compared)
    across = min(_ACROSS, len(panels))
    down = -(-len(panels) // across)
    figure = drawing.blank((_SIZE[0] * across, _SIZE[1] * down + 0.8), dpi=110, layout="constrained")
    figure.suptitle(f"{escaping.figure(compared.published.title)}\n{escaping.figure(_data(compared))}", fontsize=9)
    series = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    colours = dict(zip(series, sns.color_palette("colorblind", len(series)), strict=True))
    for number, (panel, lines) in enumerate(panels.items()):
        axes = figure.add_subplot(down, across, number + 1)
        for name, entries in lines.items():
            _line(axes, name, entries, colours[name])
        _label(axes, compared, panel)
        _scale(axes, [entry for entries in lines.values() for entry in entries])
    drawing.legend_below(figure, columns=2 * across, fontsize=7)
    return figure


def _line(axes: Any, name: str, entries: list[Entry], colour: Any) -> None:
    import seaborn as sns

    measured = [entry for entry in entries if entry.mean is not None]
    if measured:
        x = [entry.row.x for entry in measured]
        sns.lineplot(
            x=x,
            y=[entry.mean for entry in measured],
            ax=axes,
            color=colour,
            label=escaping.label(name),
            errorbar=None,
            legend=False,
        )
        low, high = zip(*(_band(entry) for entry in measured), strict=True)
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    stated = [entry for entry in entries if entry.reported is not None]
    if stated:
        x, y = [entry.row.x for entry in stated], [entry.reported for entry in stated]
        axes.plot(
            x, y, color=colour, marker="x", linestyle="none", markersize=5, label=escaping.label(f"{name}, paper")
        )


def _band(entry: Entry) -> tuple[float, float]:
    """An interval as it is drawn: Student's is unbounded, but a share lies between 0 and 1."""
    assert entry.mean is not None
    low, high = (entry.mean if end is None else end for end in (entry.low, entry.high))
    return (max(low, 0.0), min(high, 1.0)) if METRICS[entry.metric].unit == "share" else (low, high)


def _scale(axes: Any, entries: list[Entry]) -> None:
    """Use a logarithmic axis for costs, which are orders of magnitude apart."""
    values = [value for entry in entries for value in (entry.mean, entry.reported) if value is not None]
    if min(values) > 0 and all(METRICS[entry.metric].good == "cost" for entry in entries):
        axes.set_yscale("log")
        drawing.plain_ticks(axes.yaxis)


def _label(axes: Any, compared: ComparedTable, panel: str) -> None:
    axes.set_xlabel(escaping.label(compared.published.x or ""))
    axes.set_ylabel(escaping.label(panel))
    if compared.published.ticks:
        axes.set_xticks(
            [row.x for row in compared.published.rows], [escaping.label(row.label) for row in compared.published.rows]
        )


def _data(compared: ComparedTable) -> str:
    return escaping.plain(", ".join(filter(None, (compared.dataset, compared.part))))


def _alt(compared: ComparedTable) -> str:
    """A description of the figure: each line from its first to its last measured value."""
    parts = [
        f"{compared.published.title}, {_data(compared)}. Measured means with 95 % bands, crosses: the paper's points."
    ]
    for panel, lines in _panels(compared).items():
        described = []
        for name, entries in lines.items():
            measured = [(entry, entry.mean) for entry in entries if entry.mean is not None]
            if measured:
                (first, start), (last, end) = measured[0], measured[-1]
                described.append(f"{name} from {start:.3g} at {first.row.label} to {end:.3g} at {last.row.label}")
        parts.append(f"{panel}: {', '.join(described) or 'not measured'}.")
    return " ".join(parts)
