"""Records to contenders: per-seed values, what they are compared with, and their means and intervals.

A contender is one method with its parameters in one setting, attacked or not; its values are one number per seed and
metric. All frames here are long: one row per contender, seed and metric.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from unlearnbench.metrics.catalog import METRICS, Metric
from unlearnbench.metrics.intervals import half_width
from unlearnbench.metrics.shares import share_intervals
from unlearnbench.settings.naming import HOW, dataset_id

METHOD_COLUMNS = ("method", "method_params", "method_id")
SCENE_COLUMNS = (
    "suite", "experiment", "dataset", "dataset_params", "dataset_id", "scenario_id", "scenario", "protocol_version",
)  # fmt: skip
ATTACK_COLUMNS = ("attack", "attack_params", "attack_id", "tier", "observation", "n_shadows")
TABLE_COLUMNS = (*SCENE_COLUMNS, *ATTACK_COLUMNS)
"""Contenders that agree on these stand in one table and are ranked together."""

KEYS = (*SCENE_COLUMNS, *METHOD_COLUMNS, *ATTACK_COLUMNS)
"""What tells one contender from another."""

WHOLE = ("n_shadows", "protocol_version")
"""Keys that are whole numbers; the others are text."""

OF_OLD = ("original", "retrain", "retrain_paired", "seed_noise")
"""References by name, for records of before they said which methods are."""

REFERENCE_ID = "retrain"
"""`method_id` of retraining with default parameters, which gaps are measured from."""

_MEASURED = (
    "seed",
    "metric",
    "step",
    "value",
    "n_samples",
    "status",
    "error",
    "device",
    "plugin_sha256",
    "data_sha256",
    "versions",
)

FACTS = ("reference", "own_original", "ranked_by")
"""What records say of the plugins of a contender; null in those of older versions."""

COLUMNS = (
    *(key for key in KEYS if key != "dataset_id"),
    *FACTS,
    *_MEASURED,
    "scores_erased",
    "scores_unseen",
)
"""The columns of records that contenders are made of."""

_NO_BASE = -1

_FORGOT_SINCE = 2  # the protocol that defines forgetting without a backdoor as it is measured now


def rows_of(table: pa.Table) -> pd.DataFrame:
    """The final rows of records as a frame, with the number of its contender in each row, and whether it is
    `disputed`."""
    frame: pd.DataFrame = table.select(COLUMNS).to_pandas()
    frame = frame[frame["step"].isna()].reset_index(drop=True)
    texts = {text: _measured_scenario(text) for text in frame["scenario"].dropna().unique()}
    frame["scenario"] = frame["scenario"].astype(object).map(texts)
    frame["dataset_id"] = dataset_ids(frame)
    frame["n_shadows"] = _known_shadows(frame)
    frame["contender"] = group_codes(frame, KEYS)
    frame["disputed"] = disputed(frame, ("contender", "seed", "metric"))
    return frame


def disputed(frame: pd.DataFrame, measurement: Sequence[str]) -> pd.Series:
    """Whether each row is a value that another record of its cell contradicts, so that none of them can count.

    A folder that `run` or `merge` made has one record a cell. Where records lie side by side that were computed from
    other code or data, nothing in them tells which is right: anybody can write a date.

    Args:
        measurement: the columns that say what was measured.
    """
    values = frame[(frame["status"] == "ok") & frame["value"].notna()]
    several = values[values.duplicated(list(measurement), keep=False)]
    what = several["value"].map(lambda value: (value,))
    if "scores_erased" in several:
        what += several[["scores_erased", "scores_unseen"]].map(_plain).apply(tuple, axis=1) if len(several) else what
    counts = what.groupby([several[name] for name in measurement], observed=True).transform("nunique")
    return pd.Series(frame.index.isin(counts.index[counts > 1]), index=frame.index)


def _plain(scores: Any) -> Any:
    return scores if scores is None else tuple(scores)


def dataset_ids(frame: pd.DataFrame) -> NDArray[np.object_]:
    """The name of each row's dataset with its parameters."""
    codes = group_codes(frame, ("dataset", "dataset_params"))
    firsts = frame[["dataset", "dataset_params"]].astype(object)[~pd.Series(codes).duplicated().to_numpy()]
    names = [dataset_id(name, json.loads(params)) for name, params in firsts.itertuples(index=False)]
    return np.array(names, dtype=object)[codes]


def _measured_scenario(text: str) -> str:
    """A scenario without how many models were computed at a time: for want of memory that may differ in one table."""
    scenario = json.loads(text)
    kept = {name: value for name, value in scenario.items() if name not in HOW} if isinstance(scenario, dict) else None
    return text if kept is None else json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def group_codes(frame: pd.DataFrame, columns: Iterable[str]) -> NDArray[np.int64]:
    """Numbers 0, 1, ... of the rows' groups in order of appearance; null is a value like any other."""
    codes = np.zeros(len(frame), dtype=np.int64)
    for column in columns:
        series = frame[column]
        if isinstance(series.dtype, pd.CategoricalDtype):
            part = series.cat.codes.to_numpy().astype(np.int64)
        else:
            part = pd.factorize(series)[0].astype(np.int64)
        codes = pd.factorize(codes * (part.max(initial=-1) + 2) + part + 1)[0].astype(np.int64)
    return codes


def _known_shadows(rows: pd.DataFrame) -> pd.Series:
    """n_shadows; for a cell that ended before it had any, what finished cells of its contender or its table had."""
    shadows = rows["n_shadows"].copy()
    finished = (rows["status"] == "ok") & shadows.notna()
    for columns in (KEYS, TABLE_COLUMNS):
        setting = pd.Series(group_codes(rows, [key for key in columns if key != "n_shadows"]), index=rows.index)
        counts = shadows[finished].groupby(setting[finished]).agg(["first", "nunique"])
        unambiguous = counts.loc[counts["nunique"] == 1, "first"]
        unknown = (rows["status"] != "ok") & shadows.isna()
        shadows = shadows.where(~unknown, setting.map(unambiguous))
    return shadows


def contenders_of(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a contender (the index is its number): its keys, and the numbers of what it is compared with.

    `base` is the same method without an attack, `reference` is retraining under the same attack with the same number
    of shadows; -1 where there is none, or where it would be the contender itself.
    """
    frame = rows.drop_duplicates("contender").set_index("contender")[list(KEYS)].sort_index()
    for key in KEYS:
        if key not in WHOLE:
            frame[key] = frame[key].astype(object)
    for name in FACTS:
        frame[name] = _said_most(rows, name).reindex(frame.index).astype(object)
        frame[name] = frame[name].where(frame[name].notna(), None)
    known = frame.pop("reference")
    frame["reference_method"] = known.where(known.notna(), frame["method"].isin(OF_OLD)).astype(bool)
    number = pd.Series(frame.index, index=frame.index)
    attacked = frame["attack"].notna()
    method = group_codes(frame, [*SCENE_COLUMNS, *METHOD_COLUMNS])
    bases = dict(zip(method[~attacked], number[~attacked], strict=True))
    frame["table"] = group_codes(frame, TABLE_COLUMNS)
    is_reference = frame["method_id"] == REFERENCE_ID
    # Of several of one name nobody knows which is meant: which of them came last must decide nothing.
    only = is_reference & ~frame["table"].where(is_reference, -1 - number).duplicated(keep=False)
    references = dict(zip(frame.loc[only, "table"], number[only], strict=True))
    base = pd.Series(method, index=frame.index).map(bases).fillna(_NO_BASE).astype(np.int64)
    reference = frame["table"].map(references).fillna(_NO_BASE).astype(np.int64)
    frame["base"] = base.where(attacked, _NO_BASE)
    # Retraining is of the suite's network: what a method of another architecture leaks beyond it is not known.
    comparable = ~is_reference & attacked & (frame["own_original"] != True)  # noqa: E712
    frame["reference"] = reference.where(comparable, _NO_BASE)
    return frame


def namesakes(contenders: pd.DataFrame) -> pd.Series:
    """A note for each contender of a table in which several have one `method_id`; others are left out.

    Records of one run never say so: a plugin has got parameters since, or somebody has written other ones.
    """
    notes = dict[int, list[str]]()
    for (table, name), same in contenders.groupby(["table", "method_id"], sort=True):
        if len(same) > 1:
            if name == REFERENCE_ID:
                for contender in contenders.index[contenders["table"] == table]:
                    notes.setdefault(contender, []).append(f"no gap to retraining: {len(same)} contenders are '{name}'")
            for contender in same.index:
                notes.setdefault(contender, []).append("another contender of other parameters has the same name")
    return pd.Series({contender: "; ".join(said) for contender, said in notes.items()}, dtype=object)


def _said_most(rows: pd.DataFrame, name: str) -> pd.Series:
    """What most seeds of each contender say of a fact, where most say anything: a plugin may say it another way than it
    did, and one seed that speaks is no majority of those that don't."""
    said = rows[["contender", "seed", name]].astype({name: object}).drop_duplicates()
    counts = said.groupby(["contender", name], observed=True, sort=True, dropna=False).size().reset_index(name="seeds")
    counts = counts.sort_values("seeds", ascending=False, kind="stable")
    return counts.drop_duplicates("contender").set_index("contender")[name]


def final_values(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns contender, seed, metric, value, n: none that is null or that another record contradicts; n images.

    Times from several kinds of machines are not one quantity, so a contender that mixes them has none. Neither is what
    older protocols called forgotten, where no backdoor says it.
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
    """Whether each row is a verdict on forgetting by a criterion that is no longer used."""
    old = (rows["metric"] == "forgot") & (rows["protocol_version"] < _FORGOT_SINCE)
    stamped = [text for text in rows.loc[old, "scenario"].unique() if _has_backdoor(text)]
    return old & ~rows["scenario"].isin(stamped)


def _has_backdoor(scenario: str) -> bool:
    found = json.loads(scenario)
    return isinstance(found, dict) and found.get("backdoor") is not None


def with_utility(values: pd.DataFrame, contenders: pd.DataFrame) -> pd.DataFrame:
    """The values, and for attacked contenders those that were measured without the attack and not with it."""
    pairs = contenders.loc[contenders["base"] != _NO_BASE, "base"]
    links = pd.DataFrame({"attacked": pairs.index, "contender": pairs.to_numpy()})
    public = values[~values["metric"].isin(_names(_is_private))]  # what an attack found is never another row's
    lent = links.merge(public, on="contender").drop(columns="contender").rename(columns={"attacked": "contender"})
    own = values[["contender", "metric"]].drop_duplicates()
    lent = lent.merge(own, on=["contender", "metric"], how="left", indicator="found")
    lent = lent[lent["found"] == "left_only"].drop(columns="found")
    return pd.concat([values, lent[values.columns]], ignore_index=True)


def reference_gaps(values: pd.DataFrame, contenders: pd.DataFrame) -> pd.DataFrame:
    """Per-seed differences of privacy metrics to retraining (method - retrain), in the column `value`."""
    private = values[values["metric"].isin(_names(_is_private))].copy()
    private["reference"] = private["contender"].map(contenders["reference"])
    theirs = private[["contender", "seed", "metric", "value"]].rename(columns={"contender": "reference"})
    paired = private.merge(theirs, on=["reference", "seed", "metric"], suffixes=("", "_reference"))
    paired["value"] -= paired["value_reference"]
    return paired[["contender", "seed", "metric", "value", "n"]]


def trivial_gaps(values: pd.DataFrame) -> pd.DataFrame:
    """Per-seed differences of privacy metrics to the trivial attacker (method - trivial), in the column `value`."""
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
    """Per metric a frame indexed by contender: mean over seeds, low and high of its 95 % interval, n (seeds).

    Shares of images stay between 0 and 1 and are never narrower than their binomial (metrics/shares.py); for all else,
    and for differences, the interval is Student's.

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
