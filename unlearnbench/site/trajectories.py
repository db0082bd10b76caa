"""Metrics while a method unlearns (Figures 5 to 7), from the records' trajectories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unlearnbench.leaderboard.contenders import disputed
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.metrics.intervals import half_width
from unlearnbench.report import drawing
from unlearnbench.report.text_tables import format_interval
from unlearnbench.site import canvas
from unlearnbench.site.dataset_groups import GROUP_COLUMNS, by_dataset
from unlearnbench.site.figures import Figure
from unlearnbench.site.scenario_facts import facts_of
from unlearnbench.system.escaping import label, plain

if TYPE_CHECKING:
    import pandas as pd

_PANELS = 6


def trajectories(records: pd.DataFrame, name: str) -> list[Figure]:
    """For each dataset a figure with a panel per metric; empty without recorded trajectories.

    Args:
        records: the records of one experiment.
        name: the beginning of the figures' names.
    """
    points = records[records["step"].notna() & (records["status"] == "ok") & records["value"].notna()]
    points = points[points["metric"].isin(METRICS)]
    found = []
    columns = points[list(GROUP_COLUMNS)].astype(object).assign(at=points.index)
    rows: list[dict[str, Any]] = columns.to_dict("records")  # type: ignore[assignment]
    for place, here in by_dataset(rows).items():
        made = _means(points.loc[[row["at"] for row in here]])
        if len(made):
            figure = f"{name}-{place.number}-trajectory"
            found.append(drawing.attempt(figure, _drawn, made, figure, place.title))
    return list(filter(None, found))


def _means(points: pd.DataFrame) -> pd.DataFrame:
    """Columns metric, line, x, mean, low, high: over seeds, at each epoch (or step, if no epochs are set)."""
    points = points.astype(dict.fromkeys(("metric", "method_id", "scenario_id", "scenario"), object))
    point = ["scenario_id", "method_id", "metric", "step", "seed"]
    points = points[~disputed(points, point)].drop_duplicates(point)
    several = points["scenario_id"].nunique() > 1
    ends = points["scenario_id"].map(lambda text: f", {text}" if several else "")
    points = points.assign(line=(points["method_id"] + ends).map(plain))
    every = points["scenario"].map(lambda text: facts_of(text).every_epochs or 0)
    # Points are recorded at intervals of epochs, starting before the first step.
    order = points.groupby("line")["step"].rank(method="dense") - 1
    points["x"] = (order * every).where(every > 0, points["step"])
    epochs = bool((every > 0).all())
    means = points.groupby(["metric", "line", "x"], sort=True)["value"].agg(["mean", "std", "count"]).reset_index()
    half = half_width(means["std"].fillna(0.0), means["count"])
    means = means.assign(low=means["mean"] - half, high=means["mean"] + half)
    means.attrs["epochs"] = epochs
    return means


def _drawn(means: pd.DataFrame, name: str, dataset: str) -> Figure:
    metrics = [METRICS[each] for each in METRICS if each in set(means["metric"])][:_PANELS]
    lines = sorted(means["line"].unique())
    unit = "epoch" if means.attrs["epochs"] else "optimiser step"
    rows: list[tuple[str, ...]] = []
    described = []
    with canvas.style():
        import seaborn as sns

        figure, axes = canvas.panels(len(metrics))
        looks = canvas.colours(lines)
        for each, metric in zip(axes, metrics, strict=True):
            parts = []
            for line in lines:
                part = means[(means["metric"] == metric.name) & (means["line"] == line)]
                if part.empty:
                    continue
                colour = looks[line][0]
                sns.lineplot(
                    x=part["x"], y=part["mean"], ax=each, color=colour, label=label(line), errorbar=None, legend=False
                )
                each.fill_between(part["x"], part["low"], part["high"], color=colour, alpha=0.15, linewidth=0)
                first, last = part.iloc[0], part.iloc[-1]
                parts.append(f"{line} from {first['mean']:.3g} to {last['mean']:.3g}, lowest {part['mean'].min():.3g}")
                for at in (first, part.loc[part["mean"].idxmin()], last):
                    shown = format_interval(at["mean"], at["low"], at["high"], metric.unit)
                    rows.append((metric.heading, line, f"{at['x']:g}", shown))
            described.append(f"{metric.heading}: {'; '.join(parts)}.")
            each.set_title(metric.heading)
            each.set_xlabel(unit)
            if metric.unit == "share":
                each.set_ylim(*canvas.within_a_share(*each.get_ylim()))
            each.set_ylabel("")
        drawing.legend_below(figure, columns=3)
        light, dark, ending = canvas.saved(figure)
    title = f"While unlearning, {dataset}"
    caption = "Means over seeds with bands of 95 % intervals, for shares cut at 0 and 1; first the original model."
    alt = f"{title}: line plots over {unit}s. {' '.join(described)}"
    headers = ("metric", "method", f"{unit} (first, lowest, last)", "measured")
    return Figure(name, title, caption, alt, light, dark, ending, headers, tuple(dict.fromkeys(rows)))
