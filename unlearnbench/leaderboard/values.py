"""The values of contenders: one per seed and metric, differences to references, means and intervals over seeds.

All frames here are long: one row per contender, seed and metric.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd

from unlearnbench.leaderboard.contenders import NOBODY
from unlearnbench.metrics.catalog import METRICS, Metric
from unlearnbench.metrics.intervals import half_width
from unlearnbench.metrics.shares import share_intervals

_FORGOT_SINCE = 2  # the first protocol that defines forgetting without a backdoor as it is measured now


def final_values(rows: pd.DataFrame) -> pd.DataFrame:
    """The values that count, with columns contender, seed, metric, value and n (images). Values that are null, or that
    another record contradicts, are left out.

    Times on several kinds of machines are not one quantity, so a contender that mixes them has none. What older
    protocols called forgotten without a backdoor is left out, too.
    """
    values = rows.loc[
        (rows["status"] == "ok") & ~rows["disputed"] & ~_judged_otherwise(rows),
        ["contender", "seed", "metric", "value", "n_samples", "device"],
    ].rename(columns={"n_samples": "n"})
    values = values.dropna(subset=["value"]).drop_duplicates(["contender", "seed", "metric"])
    values = values.astype({"metric": object, "device": object})
    timed = values["metric"].isin(_names(lambda metric: metric.is_time))
    devices = values[timed].groupby(["contender", "metric"])["device"].transform("nunique")
    mixed = devices.index[devices > 1]
    return values.drop(index=mixed).drop(columns="device").reset_index(drop=True)


def _judged_otherwise(rows: pd.DataFrame) -> pd.Series:
    """Whether each row is a verdict on forgetting under a criterion that is no longer used."""
    old = (rows["metric"] == "forgot") & (rows["protocol_version"] < _FORGOT_SINCE)
    stamped = [text for text in rows.loc[old, "scenario"].unique() if _has_backdoor(text)]
    return old & ~rows["scenario"].isin(stamped)


def _has_backdoor(scenario: str) -> bool:
    found = json.loads(scenario)
    return isinstance(found, dict) and found.get("backdoor") is not None


def with_utility(values: pd.DataFrame, contenders: pd.DataFrame) -> pd.DataFrame:
    """The values; attacked contenders also get those that were measured without the attack and not with it."""
    pairs = contenders.loc[contenders["base"] != NOBODY, "base"]
    links = pd.DataFrame({"attacked": pairs.index, "contender": pairs.to_numpy()})
    public = values[~values["metric"].isin(_names(_is_private))]  # what one attack found is never shown for another
    lent = links.merge(public, on="contender").drop(columns="contender").rename(columns={"attacked": "contender"})
    own = values[["contender", "metric"]].drop_duplicates()
    lent = lent.merge(own, on=["contender", "metric"], how="left", indicator="found")
    lent = lent[lent["found"] == "left_only"].drop(columns="found")
    return pd.concat([values, lent[values.columns]], ignore_index=True)


def reference_gaps(values: pd.DataFrame, contenders: pd.DataFrame) -> pd.DataFrame:
    """Differences of privacy metrics to retraining (method - retrain) per seed, in the column `value`."""
    private = values[values["metric"].isin(_names(_is_private))].copy()
    private["reference"] = private["contender"].map(contenders["reference"])
    theirs = private[["contender", "seed", "metric", "value"]].rename(columns={"contender": "reference"})
    paired = private.merge(theirs, on=["reference", "seed", "metric"], suffixes=("", "_reference"))
    paired["value"] -= paired["value_reference"]
    return paired[["contender", "seed", "metric", "value", "n"]]


def trivial_gaps(values: pd.DataFrame) -> pd.DataFrame:
    """Differences of privacy metrics to the trivial attacker (method - trivial) per seed, in the column `value`."""
    trivial = {metric.name: metric.trivial for metric in METRICS.values() if metric.good == "privacy"}
    private = values[values["metric"].isin(_names(_is_private))].copy()
    other = private["metric"].map(trivial)
    constant = pd.to_numeric(other, errors="coerce")
    measured = private.assign(trivial=other)[["contender", "seed", "trivial"]].merge(
        values.rename(columns={"metric": "trivial", "value": "measured"}),
        on=["contender", "seed", "trivial"],
        how="left",
    )
    private["value"] -= constant.fillna(pd.Series(measured["measured"].to_numpy(), index=private.index))
    return private.dropna(subset=["value"])


def _names(wanted: Callable[[Metric], bool]) -> list[str]:
    return [name for name, metric in METRICS.items() if wanted(metric)]


def _is_private(metric: Metric) -> bool:
    return metric.good == "privacy"


def summarise(values: pd.DataFrame, differences: bool = False) -> dict[str, pd.DataFrame]:
    """For each metric a frame indexed by contender: mean over seeds, low and high of its 95 % interval, n (seeds).

    Intervals of shares of images stay within 0 and 1 and are never narrower than the binomial's (metrics/shares.py).
    For everything else, and for differences, the interval is Student's.

    Args:
        differences: whether the values are differences of the metrics.
    """
    groups = values.groupby(["metric", "contender"])
    table = groups["value"].agg(["mean", "std", "count"])
    half = half_width(table["std"].fillna(0.0), table["count"])
    summary = pd.DataFrame(
        {"mean": table["mean"], "low": table["mean"] - half, "high": table["mean"] + half, "n": table["count"]}
    )
    if not differences and len(table):
        names = table.index.get_level_values("metric")
        images = groups["n"].max().fillna(0).to_numpy(dtype=np.float64)
        images = np.where(names.isin(_names(lambda metric: metric.images == "seed")), 1.0, images)
        inside = (table["mean"] >= 0) & (table["mean"] <= 1)
        shares = names.isin(_names(lambda metric: metric.is_share)) & (images > 0) & inside
        some = table[shares]
        low, high = share_intervals(
            some["mean"], some["std"].fillna(0.0) ** 2, some["count"], images[shares],
            names[shares].isin(_names(lambda metric: metric.images == "test")),
        )  # fmt: skip
        summary.loc[shares, "low"], summary.loc[shares, "high"] = low, high
    return {str(metric): part.droplevel("metric") for metric, part in summary.groupby(level="metric")}
