"""The values by which contenders are judged, tested and ranked: one number per seed, and the images behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearnbench.metrics.catalog import METRICS, describe
from unlearnbench.metrics.intervals import Floats

ADVANTAGE = "advantage"

_JUDGED = (
    ADVANTAGE, "memory", "memory_original", "memory_square", "memory_square_original", "retrained_accuracy", "accuracy",
    "backdoor_accuracy",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SeedValues:
    """The values of C contenders in S seeds.

    Attributes:
        values: f64[C, S] by metric, NaN where there is no value.
        images: f64[C] by metric, the images behind the value of one seed.
        numbers: the numbers of the seeds.
        contenders: C.
    """

    values: Mapping[str, Floats]
    images: Mapping[str, Floats]
    numbers: Sequence[int]
    contenders: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.contenders, len(self.numbers)

    def of(self, metric: str) -> Floats:
        return self.values.get(metric, np.full(self.shape, np.nan))

    def behind(self, metric: str, contender: int) -> int:
        return int(self.images[metric][contender]) if metric in self.images else 0

    def trivial(self, metric: str) -> Floats:
        """What the trivial attacker gets, seed by seed."""
        trivial = describe(metric).trivial
        return (
            self.of(trivial)
            if isinstance(trivial, str)
            else np.full(self.shape, np.nan if trivial is None else trivial)
        )

    def floor(self, metric: str, contenders: Iterable[int]) -> float:
        """The least standard error of a mean difference, that of one image. All seeds share the same test images."""
        about, rows = METRICS[metric], list(contenders)
        images = max((self.behind(metric, number) for number in rows), default=0)
        if not images or about.unit != "share":
            return 0.0
        counts = (~np.isnan(self.of(metric)[rows])).sum(1).max(initial=1)
        return float(1 / images if about.images == "test" else 1 / (images * max(1, counts)))


def seeds_of(contenders: pd.DataFrame, values: pd.DataFrame) -> SeedValues:
    """The values that verdicts, ranks and tests of leaks need.

    Args:
        contenders: indexed 0, 1, ...
        values: columns contender, seed, metric, value, n.
    """
    found_by = [metric for metric in METRICS.values() if metric.leak]
    trivial = [metric.trivial for metric in found_by if isinstance(metric.trivial, str)]
    needed = values[values["metric"].isin([*_JUDGED, *(metric.name for metric in found_by), *trivial])]
    columns = sorted(needed["seed"].unique())
    found, images = {}, {}
    for metric, part in needed.groupby("metric"):
        table = part.pivot(index="contender", columns="seed", values="value")
        found[str(metric)] = table.reindex(index=contenders.index, columns=columns).to_numpy(dtype=np.float64)
        behind = part.groupby("contender")["n"].max().reindex(contenders.index)
        images[str(metric)] = behind.fillna(0).to_numpy(dtype=np.float64)
    return SeedValues(found, images, columns, len(contenders))


def there(values: Floats) -> Floats:
    """The values of f64[n] that are not NaN."""
    return values[~np.isnan(values)]
