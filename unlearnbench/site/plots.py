"""The figures of an experiment and of a paper's claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unlearnbench.site.figures import Figure

if TYPE_CHECKING:
    import pandas as pd

    from unlearnbench.site.pages import Experiment
    from unlearnbench.site.sources import Source


def of_experiment(experiment: Experiment, records: pd.DataFrame) -> list[Figure]:
    return []


def of_claims(source: Source) -> list[Figure]:
    return []
