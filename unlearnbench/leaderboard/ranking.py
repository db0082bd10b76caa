"""The order of contenders in a table, and which are indistinguishable from the best (docs/protocol.md#ranks).

Contenders are ordered by their means. One of k contenders is distinguished from the best if a paired one-sided test
over seeds rejects at alpha / (k - 1). In all but alpha of the draws the true best, whichever it is, is then among those
that are not distinguished (a union bound over the k - 1 that could beat it by chance; Hsu, 1996, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from unlearnbench.leaderboard import verdicts
from unlearnbench.leaderboard.contenders import NOBODY, by_table
from unlearnbench.leaderboard.judge import margins_of
from unlearnbench.leaderboard.leakage import inferred, ranked_by
from unlearnbench.leaderboard.seeds import ADVANTAGE, SeedValues, there
from unlearnbench.leaderboard.verdicts import Accuracy, Beside, Forgetting, one_sided
from unlearnbench.metrics.catalog import METRICS, Better, describe
from unlearnbench.metrics.intervals import MINIMUM, Floats

COLUMNS: Mapping[str, pa.DataType] = {
    "rank": pa.int64(),
    "rank_metric": pa.string(),
    "near_best": pa.bool_(),  # whether it can't be distinguished from the best of its table
    "beside_retrain": pa.string(),  # a Beside, for the metric that the table ranks by
    "power": pa.float64(),  # of the table's tests to detect a difference of `power_for`
    "power_for": pa.float64(),
}
"""The columns made here, and their types."""


ALPHA = 0.05

INVERTED = 0.025
"""Level of the test whether an AUC is below one half."""


def ranked(contenders: pd.DataFrame, state: pd.DataFrame, seeds: SeedValues, failed: pd.Series) -> pd.DataFrame:
    """`COLUMNS` of each contender.

    Args:
        state: what `judge.judged` returned.
        failed: the number of seeds without a result, by contender. Only contenders with all seeds of their table are
            ranked: the best seeds of one can't be compared with all seeds of another.
    """
    table = pd.DataFrame({name: pd.Series(None, index=contenders.index, dtype=object) for name in COLUMNS})
    able = (
        (state["verdict"] == Forgetting.FORGOTTEN.value)
        & (state["utility"] == Accuracy.KEPT.value)
        & ~state["reference"].astype(bool)
    )
    retrain = by_table(contenders, "retrain")
    for number, rows in contenders.groupby("table").groups.items():
        metric = _rank_metric(contenders, rows, seeds)
        if metric is None:
            continue
        table.loc[rows, "rank_metric"] = metric
        margins, _ = margins_of(str(contenders.at[rows[0], "scenario"]))
        # Distances to retrained models are in nats, and no margin is declared for them.
        least = {"accuracy": margins.accuracy, ADVANTAGE: margins.leak}.get(metric)
        measured = ~np.isnan(seeds.of(metric)[rows])
        whole = measured[:, measured.any(0)].all(1) & (failed.reindex(rows).fillna(0).to_numpy() == 0)
        if metric != "accuracy":  # the leak of another architecture is not comparable
            whole &= contenders.loc[rows, "own_original"].to_numpy() != True  # noqa: E712
        some = rows[able[rows].to_numpy() & whole]
        values, floor = seeds.of(metric), seeds.floor(metric, rows)
        for contender, standing in zip(some, standings(values[some], describe(metric).better, floor), strict=True):
            if standing is not None:
                table.at[contender, "rank"], table.at[contender, "near_best"] = standing.place, standing.near_best
        other = retrain.get(int(str(number)), NOBODY)
        compared = [*some, other] if other >= 0 else [*some]
        if least is not None:
            table.loc[rows, "power_for"] = least
            table.loc[rows, "power"] = power(values[compared], least, floor)
        if metric == ADVANTAGE and other >= 0:
            comparable = [c for c in rows if c != other and contenders.at[c, "own_original"] is not True]
            for contender in comparable:
                beside = _beside(contender, other, seeds, margins.leak, floor)
                table.at[contender, "beside_retrain"] = None if beside is None else beside.value
    return table


def _beside(contender: int, retrain: int, seeds: SeedValues, margin: float, floor: float) -> Beside | None:
    """How a contender's leak compares with that of retraining; None if no seed has both."""
    advantages = seeds.of(ADVANTAGE)
    apart = there(advantages[contender] - advantages[retrain])
    if not len(apart):
        return None
    beside = verdicts.beside_retraining(apart, margin, floor)
    return Beside.OPEN if beside == Beside.NO_WORSE and _is_inverted(seeds.of("auc")[contender]) else beside


def _rank_metric(contenders: pd.DataFrame, rows: pd.Index, seeds: SeedValues) -> str | None:
    """The metric that a table ranks by; None if nothing was measured, or nothing about erased images."""
    if contenders.loc[rows, "attack"].isna().all():
        return "accuracy" if not np.isnan(seeds.of("accuracy")[rows]).all() else None
    named = [ranked_by(contenders, number, seeds) for number in rows]
    names = next((each for each in named if each), ())
    if any(name in inferred() for name in names):
        return ADVANTAGE
    return next((name for name in names if name in METRICS and not np.isnan(seeds.of(name)[rows]).all()), None)


def _is_inverted(auc: Floats) -> bool:
    """Whether an attack is shown to be worse than chance: inverting its answers would give an advantage."""
    return verdicts.one_sided(0.5 - there(auc)) < INVERTED


# --- places and power -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """A contender's place.

    Attributes:
        place: 1 + the number of contenders with a better mean.
        near_best: whether it can't be distinguished from the contender with the best mean (which is near, too).
    """

    place: int
    near_best: bool


def standings(values: Floats, better: Better, floor: float = 0.0) -> list[Standing | None]:
    """The places of contenders.

    Args:
        values: f64[contenders, seeds], NaN where a contender has no value for a seed.
        better: which direction is good.
        floor: least standard error of a mean difference, that of one image.

    Returns:
        None for a contender with fewer than 3 seeds.
    """
    enough = (~np.isnan(values)).sum(1) >= MINIMUM
    found: list[Standing | None] = [None] * len(values)
    able = np.flatnonzero(enough)
    if not len(able):
        return found
    goodness = values[able] if better == "higher" else -values[able]
    means = np.nanmean(goodness, axis=1)
    best, alpha = int(means.argmax()), ALPHA / max(1, len(able) - 1)
    for number, contender in enumerate(able):
        is_worse = number != best and one_sided(goodness[best] - goodness[number], floor) < alpha
        found[contender] = Standing(1 + int((means > means[number]).sum()), not is_worse)
    return found


def power(values: Floats, difference: float, floor: float = 0.0) -> float | None:
    """The probability that a contender that is worse than the best by `difference` is distinguished.

    This is the power of Student's test as used by `standings`, for the pair of contenders with the largest spread of
    paired differences: the pair that is hardest to tell apart.

    Args:
        values: f64[contenders, seeds]; pairs with fewer than 3 seeds in common are left out.

    Returns:
        None if no two contenders have 3 seeds in common.
    """
    able = values[(~np.isnan(values)).sum(1) >= MINIMUM]
    powers = [
        _power(first - second, difference, len(able), floor)
        for number, first in enumerate(able)
        for second in able[number + 1 :]
    ]
    known = [each for each in powers if each is not None]
    return min(known, default=None)


def _power(differences: Floats, least: float, contenders: int, floor: float) -> float | None:
    present: NDArray[np.float64] = differences[~np.isnan(differences)]
    if len(present) < MINIMUM:
        return None
    freedom = len(present) - 1
    error = max(float(present.std(ddof=1)) / np.sqrt(len(present)), floor)
    if error == 0:
        return 1.0
    critical = special.stdtrit(freedom, 1 - ALPHA / max(1, contenders - 1))
    return float(1 - special.nctdtr(freedom, min(least / error, 1e3), critical))
