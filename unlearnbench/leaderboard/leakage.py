"""What attacks gain, and which leaks are shown: the metrics each attack is judged by, its advantage, its p-values."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearnbench.leaderboard import verdicts
from unlearnbench.leaderboard.seeds import ADVANTAGE, SeedValues, seeds_of, there
from unlearnbench.metrics.catalog import METRICS, describe
from unlearnbench.metrics.intervals import Floats

_NO_ERASED_IMAGE = ("representation", "representation_sampled", "blind")  # attacks, for records that do not state it


def advantages(contenders: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """Rows of the metric `advantage`: columns contender, seed, metric, value, n.

    The advantage is the largest (score - trivial) / (1 - trivial) over what the attack infers (image, label,
    membership), at least 0: the share that the attacker gains of all that the trivial attacker leaves.
    """
    seeds = seeds_of(contenders, values)
    found, behind = np.full(seeds.shape, np.nan), np.zeros(seeds.shape[0])
    for metric in inferred():
        asked = np.array([metric in ranked_by(contenders, number, seeds) for number in contenders.index], dtype=bool)
        trivial = seeds.trivial(metric)
        with np.errstate(invalid="ignore", divide="ignore"):
            gained = np.clip((seeds.of(metric) - trivial) / (1 - trivial), 0.0, None)
        gained[~asked] = np.nan
        found = np.fmax(found, gained)
        behind = np.fmax(behind, np.where(asked, seeds.images.get(metric, np.zeros(len(asked))), 0))
    rows, columns = np.nonzero(~np.isnan(found))
    return pd.DataFrame(
        {
            "contender": contenders.index.to_numpy()[rows],
            "seed": np.array(seeds.numbers, dtype=np.int64)[columns],
            "metric": ADVANTAGE,
            "value": found[rows, columns],
            "n": behind[rows],
        }
    )


def inferred() -> list[str]:
    """The metrics of what an attack may infer about erased images, from which advantages are computed."""
    return [name for name, metric in METRICS.items() if metric.leak == "inferred"]


def ranked_by(contenders: pd.DataFrame, number: int, seeds: SeedValues) -> tuple[str, ...]:
    """The metrics that an attack is ranked by: those that it declares, else those of its evidence. Empty if it infers
    nothing about erased images."""
    declared, attack = contenders.at[number, "ranked_by"], contenders.at[number, "attack"]
    if not isinstance(attack, str):
        return ()
    if isinstance(declared, str):
        names = tuple(name for name in declared.split(",") if name)
    elif attack in _NO_ERASED_IMAGE:
        return ()
    else:
        measured = [each for each in METRICS.values() if each.leak and not np.isnan(seeds.of(each.name)[number]).all()]
        names = tuple(each.name for each in measured if each.leak == "inferred")
        names = names or tuple(each.name for each in measured[-1:])
    return tuple(_superseding(name, number, seeds) for name in names)


def _superseding(name: str, number: int, seeds: SeedValues) -> str:
    """The metric that supersedes this one if it was measured, else this one."""
    other = METRICS[name].superseded_by if name in METRICS else None
    return name if other is None or np.isnan(seeds.of(other)[number]).all() else other


def p_values(contenders: pd.DataFrame, seeds: SeedValues, metric: str) -> tuple[Floats, Floats]:
    """Two one-sided p-values of each contender: that the attack beats the trivial attacker, and that it scores higher
    than the same attack on retraining, with both scores clipped at the trivial attacker's.

    Returns:
        f64[C] each, NaN where there is nothing to compare with, and for attacks that are not about erased images.
    """
    sign = 1.0 if describe(metric).better == "lower" else -1.0
    values, trivial = sign * seeds.of(metric), sign * seeds.trivial(metric)
    beyond, retrain = np.full(seeds.shape[0], np.nan), np.full(seeds.shape[0], np.nan)
    clipped = np.fmax(values, trivial) if not np.isnan(trivial).all() else values
    clipped[np.isnan(values)] = np.nan
    references = contenders["reference"].to_numpy(dtype=np.int64)
    elsewhere = contenders["ranked_by"].eq("").to_numpy(dtype=bool, na_value=False)
    for number in np.flatnonzero(~np.isnan(values).all(1) & ~elsewhere):
        floor = seeds.floor(metric, [int(number)])
        if len(there(values[number] - trivial[number])):
            beyond[number] = verdicts.one_sided(values[number] - trivial[number], floor)
        other = references[number]
        if other >= 0 and len(there(clipped[number] - clipped[other])):
            retrain[number] = verdicts.one_sided(clipped[number] - clipped[other], floor)
    return beyond, retrain
