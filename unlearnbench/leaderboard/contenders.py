"""Records to contenders, and what each is compared with.

A contender is one method with its parameters in one setting, attacked or not; its values are one number per seed and
metric.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from unlearnbench.settings.naming import BATCHING, dataset_id

METHOD_COLUMNS = ("method", "method_params", "method_id")
SCENE_COLUMNS = (
    "suite", "experiment", "dataset", "dataset_params", "dataset_id", "scenario_id", "scenario", "protocol_version",
)  # fmt: skip
ATTACK_COLUMNS = ("attack", "attack_params", "attack_id", "tier", "observation", "n_shadows")
TABLE_COLUMNS = (*SCENE_COLUMNS, *ATTACK_COLUMNS)
"""Contenders that agree in these columns stand in one table and are ranked together."""

KEYS = (*SCENE_COLUMNS, *METHOD_COLUMNS, *ATTACK_COLUMNS)
"""The columns that distinguish contenders."""

WHOLE = ("n_shadows", "protocol_version")
"""Keys that are integers; the others are text."""

KNOWN_REFERENCES = ("original", "retrain", "retrain_paired", "seed_noise")
"""Names of reference methods, for records written before records stated which methods are references."""

REFERENCE_ID = "retrain"
"""The `method_id` of retraining with default parameters, from which gaps are measured."""

FACTS = ("reference", "own_original", "ranked_by")
"""What records state about the plugins of a contender; null in older records."""

COLUMNS = (
    *(key for key in KEYS if key != "dataset_id"), *FACTS, "seed", "metric", "step", "value", "n_samples", "status",
    "error", "device", "plugin_sha256", "data_sha256", "versions", "scores_erased", "scores_unseen",
)  # fmt: skip
"""The columns of records from which contenders are made."""

NOBODY = -1
"""Stands for a missing contender."""


def rows_of(table: pa.Table) -> pd.DataFrame:
    """The final rows of records as a frame, each with the number of its contender and whether it is `disputed`."""
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
    """Whether each row is a value that another record of its cell contradicts, so that neither can count.

    A folder made by `run` or `merge` has one record per cell. If it has several that were computed from different code
    or data, nothing in them shows which is right: anybody can write a date.

    Args:
        measurement: the columns that identify a measurement.
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
    """The name of the dataset of each row, with its parameters."""
    codes = group_codes(frame, ("dataset", "dataset_params"))
    firsts = frame[["dataset", "dataset_params"]].astype(object)[~pd.Series(codes).duplicated().to_numpy()]
    names = [dataset_id(name, json.loads(params)) for name, params in firsts.itertuples(index=False)]
    return np.array(names, dtype=object)[codes]


def _measured_scenario(text: str) -> str:
    """A scenario without the number of models computed at a time, which memory may limit differently in one table."""
    scenario = json.loads(text)
    if not isinstance(scenario, dict):
        return text
    kept = {name: value for name, value in scenario.items() if name not in BATCHING}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def group_codes(frame: pd.DataFrame, columns: Iterable[str]) -> NDArray[np.int64]:
    """The group of each row, numbered 0, 1, ... in order of appearance; null is a value like any other."""
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
    """n_shadows; for a cell that ended before it had any, that of finished cells of its contender or its table."""
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
    """One row per contender (the index is its number): its keys, and the numbers of those it is compared with.

    `base` is the same method without an attack; `reference` is retraining under the same attack with the same number
    of shadows. Either is `NOBODY` if there is none, or if it would be the contender itself.
    """
    frame = rows.drop_duplicates("contender").set_index("contender")[list(KEYS)].sort_index()
    for key in KEYS:
        if key not in WHOLE:
            frame[key] = frame[key].astype(object)
    for name in FACTS:
        frame[name] = _said_most(rows, name).reindex(frame.index).astype(object)
        frame[name] = frame[name].where(frame[name].notna(), None)
    known = frame.pop("reference")
    frame["reference_method"] = known.where(known.notna(), frame["method"].isin(KNOWN_REFERENCES)).astype(bool)
    number = pd.Series(frame.index, index=frame.index)
    attacked = frame["attack"].notna()
    method = group_codes(frame, [*SCENE_COLUMNS, *METHOD_COLUMNS])
    bases = dict(zip(method[~attacked], number[~attacked], strict=True))
    frame["table"] = group_codes(frame, TABLE_COLUMNS)
    is_reference = frame["method_id"] == REFERENCE_ID
    # With several of the same name it is unclear which is meant, and their order must not decide.
    only = is_reference & ~frame["table"].where(is_reference, -1 - number).duplicated(keep=False)
    references = dict(zip(frame.loc[only, "table"], number[only], strict=True))
    base = pd.Series(method, index=frame.index).map(bases).fillna(NOBODY).astype(np.int64)
    reference = frame["table"].map(references).fillna(NOBODY).astype(np.int64)
    frame["base"] = base.where(attacked, NOBODY)
    # Retraining uses the suite's network: how much more another architecture leaks is not known.
    comparable = ~is_reference & attacked & (frame["own_original"] != True)  # noqa: E712
    frame["reference"] = reference.where(comparable, NOBODY)
    return frame


def by_table(contenders: pd.DataFrame, method_id: str) -> dict[int, int]:
    """The contender with this id, by table."""
    there = contenders["method_id"] == method_id
    return dict(zip(contenders.loc[there, "table"], contenders.index[there], strict=True))


def namesakes(contenders: pd.DataFrame) -> pd.Series:
    """A note for each contender in a table where several share a `method_id`; other contenders are left out.

    Records of a single run never do: a plugin has gained parameters since, or the records come from somebody else.
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
    """The value of a fact in most seeds of each contender, null included: a plugin may declare something else than it
    used to, and a single seed with a value does not outvote those without."""
    said = rows[["contender", "seed", name]].astype({name: object}).drop_duplicates()
    counts = said.groupby(["contender", name], observed=True, sort=True, dropna=False).size().reset_index(name="seeds")
    counts = counts.sort_values("seeds", ascending=False, kind="stable")
    return counts.drop_duplicates("contender").set_index("contender")[name]
