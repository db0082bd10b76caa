"""The figures of an experiment and of a paper's claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unlearnbench.report import drawing
from unlearnbench.site import canvas, rates, sweeps, tradeoffs, trajectories
from unlearnbench.site.figures import Figure
from unlearnbench.site.naming import slug
from unlearnbench.system.escaping import plain

if TYPE_CHECKING:
    import pandas as pd

    from unlearnbench.site.pages import ExperimentResults
    from unlearnbench.site.results_folders import ResultsFolder


def of_experiment(experiment: ExperimentResults, records: pd.DataFrame) -> list[Figure]:
    """All figures for which an experiment has numbers.

    Args:
        experiment: with its leaderboard rows.
        records: all records of the results folder.
    """
    name = f"{experiment.part}-{slug(experiment.name)}"
    own = records[records["experiment"] == experiment.name]
    return [
        *tradeoffs.leakage(experiment.rows, name),
        *sweeps.sweeps(experiment.rows, name),
        *trajectories.trajectories(own, name),
        *rates.rates(experiment.rows, name),
        *tradeoffs.cost(experiment.rows, name),
    ]


def of_claims(source: ResultsFolder) -> list[Figure]:
    """A paper's tables and figures beside what was measured, drawn as `compare --report` draws them."""
    from unlearnbench.report import paper_figures

    assert source.comparison is not None
    found = []
    for each in source.comparison.tables:
        name = f"{source.slug}-claims-{each.published.id}-{each.dataset}"
        if (drawn := drawing.attempt(name, paper_figures.draw, each)) is not None:
            title = plain(f"{each.published.title} / {each.dataset}")
            caption = "Lines and bands: measured means with 95 % intervals. Crosses: the paper's numbers."
            found.append(Figure(name, title, caption, drawn.alt, drawn.svg, canvas.dark(drawn.svg)))
    return found
