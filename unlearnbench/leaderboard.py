"""Records to the leaderboard: one row per contender in its setting, with intervals, gaps to the references and ranks.

Built from finished cells only and from nothing else, so it can be thrown away and made again. Inapplicable is null.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from unlearnbench import records
from unlearnbench.contenders import (
    COLUMNS,
    KEYS,
    TABLE_COLUMNS,
    contenders_of,
    final_values,
    reference_gaps,
    rows_of,
    summarise,
    trivial_gaps,
    with_utility,
)
from unlearnbench.errors import InputError
from unlearnbench.metrics.catalog import METRICS, describe
from unlearnbench.parquet_files import open_parquet, write_atomically, write_parquet
from unlearnbench.ranking import REFERENCES, rank

_STATE = {
    "status": pa.string(),  # ok, partial (some seeds failed), failed, skipped
    "note": pa.string(),  # the first error or reason, and what else a reader must know
    "n_seeds": pa.int64(),
    "failed_seeds": pa.int64(),
    "rank": pa.int64(),
    "rank_metric": pa.string(),
}
_RANKED_BY = ("mse", "auc", "klom_erased")  # under attack: the first that there is
_DTYPES = {pa.string(): pd.StringDtype(), pa.int64(): pd.Int64Dtype(), pa.float64(): pd.Float64Dtype()}


def build(records_folder: str | Path, out_folder: str | Path) -> pd.DataFrame:
    """Write leaderboard.parquet and leaderboard.md from a folder of record files.

    Args:
        records_folder: holds one Parquet file per cell.
        out_folder: where the two files are written or replaced; it is made.

    Returns:
        The leaderboard as `read` gives it.

    Raises:
        InputError: no such folder, a damaged record file (a table that silently lacks rows is no result), or a metric
            that this version does not know.
    """
    from unlearnbench.report.markdown import render

    table, bad = records.read_folder(records_folder, COLUMNS)
    if bad:
        more = f" (and {len(bad) - 1} more such files)" if len(bad) > 1 else ""
        raise type(bad[0])(bad[0].where, bad[0].what + more)
    board = assemble(table, str(records_folder))
    protocols = sorted(table.column("protocol_version").unique().to_pylist())
    about = {"protocol_versions": protocols, "schema_version": records.SCHEMA_VERSION, "record_rows": table.num_rows}
    frame = _to_pandas(board)
    write_parquet(board, Path(out_folder) / "leaderboard.parquet", {"unlearnbench": json.dumps(about)})
    write_atomically(Path(out_folder) / "leaderboard.md", render(frame).encode())
    return frame


def read(path: str | Path) -> pd.DataFrame:
    """A leaderboard.parquet with nullable dtypes: a missing value is pd.NA, never NaN.

    Raises:
        InputError: the file is missing, damaged or not a leaderboard.
    """
    try:
        table = open_parquet(path).read()
    except FileNotFoundError:
        raise InputError(str(path), "no such leaderboard") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(str(path), f"not a readable leaderboard ({str(error).splitlines()[0][:200]})") from error
    metrics = [name for name in METRICS if name in table.column_names]
    if not table.schema.equals(schema(metrics)):
        raise InputError(str(path), "not a leaderboard of this version: its columns differ; build it again")
    return _to_pandas(table)


def schema(metrics: list[str]) -> pa.Schema:
    """Columns and types of a leaderboard with these metrics: keys, state, then each metric's columns."""
    whole = ("n_shadows", "protocol_version")
    fields = [pa.field(key, pa.int64() if key in whole else pa.string()) for key in KEYS]
    fields += [pa.field(name, kind) for name, kind in _STATE.items()]
    for name in metrics:
        fields += [pa.field(f"{name}{end}", pa.float64()) for end in ("", "_low", "_high")]
        fields.append(pa.field(f"{name}_n", pa.int64()))
        if describe(name).good == "privacy":
            ends = ("_gap_retrain", "_gap_retrain_low", "_gap_retrain_high", "_gap_trivial")
            fields += [pa.field(f"{name}{end}", pa.float64()) for end in ends]
    return pa.schema(fields)


def assemble(table: pa.Table, where: str) -> pa.Table:
    """The leaderboard of a table of records; `where` names them in errors."""
    rows = rows_of(table)
    contenders = contenders_of(rows)
    own = final_values(rows)
    unknown = sorted(set(own["metric"].unique()) - set(METRICS))
    if unknown:
        raise InputError(where, f"records of the metric '{unknown[0]}', which this version does not know")
    values = with_utility(own, contenders)
    board = contenders.join(_state(rows))
    measured = {"forgot", *values["metric"].unique()}
    metrics = [name for name in METRICS if name in measured]
    board = pd.concat([board, _metric_columns(own, values, contenders, metrics)], axis=1)
    board[["rank", "rank_metric"]] = _ranks(board, values)
    hidden = board["attack"].isna() & board.index.isin(board["base"])
    order = ["protocol_version", *(key for key in TABLE_COLUMNS if key != "protocol_version"), "rank"]
    order += ["method_id", "method_params"]
    newest_first = [key != "protocol_version" for key in order]
    board = board[~hidden].sort_values(order, ascending=newest_first, na_position="last", kind="stable")
    fields = schema(metrics)
    arrays = [pa.Array.from_pandas(board[field.name], type=field.type) for field in fields]
    return pa.Table.from_arrays(arrays, schema=fields)


def _metric_columns(
    own: pd.DataFrame, values: pd.DataFrame, contenders: pd.DataFrame, metrics: list[str]
) -> pd.DataFrame:
    means, retrain = summarise(values), summarise(reference_gaps(own, contenders))
    trivial = summarise(trivial_gaps(values))
    empty = pd.DataFrame(columns=["mean", "low", "high", "n"], dtype=float)
    columns: dict[str, pd.Series] = {}
    for name in metrics:
        mean = means.get(name, empty)
        columns |= {name: mean["mean"], f"{name}_low": mean["low"], f"{name}_high": mean["high"]}
        columns[f"{name}_n"] = mean["n"]
        gap = retrain.get(name, empty)
        columns |= {f"{name}_gap_retrain": gap["mean"], f"{name}_gap_retrain_low": gap["low"]}
        columns |= {f"{name}_gap_retrain_high": gap["high"]}
        columns[f"{name}_gap_trivial"] = trivial.get(name, empty)["mean"]
    return pd.DataFrame({name: column.reindex(contenders.index) for name, column in columns.items()})


def _state(rows: pd.DataFrame) -> pd.DataFrame:
    """Per contender: seeds with results and without, status, note."""
    ok = rows["status"] == "ok"
    seeds = rows.assign(ok=ok, broken=~ok & ~rows["status"].isin(["skipped", "not_run"]))
    seeds = seeds.groupby(["contender", "seed"])[["ok", "broken"]].any().reset_index()
    seeds["other"] = ~seeds["ok"]
    seeds["broken"] &= seeds["other"]
    counts = seeds.groupby("contender")[["ok", "broken", "other"]].sum()
    status = np.select(
        [(counts["ok"] > 0) & (counts["other"] == 0), counts["ok"] > 0, counts["broken"] > 0],
        ["ok", "partial", "failed"],
        "skipped",
    )
    failed_seeds = counts["other"].where(counts["ok"] > 0, counts["broken"])
    return pd.DataFrame(
        {"n_seeds": counts["ok"], "failed_seeds": failed_seeds, "status": status, "note": _notes(rows, seeds)},
        index=counts.index,
    )


def _notes(rows: pd.DataFrame, seeds: pd.DataFrame) -> pd.Series:
    """Text per contender, null where there is nothing to say."""
    without = seeds.loc[seeds["other"], ["contender", "seed"]]
    errors = rows[rows["error"].notna()].merge(without, on=["contender", "seed"])
    parts = [errors.drop_duplicates("contender").set_index("contender")["error"].astype(object)]
    ok = rows[rows["status"] == "ok"]
    for column, what in (("plugin_sha256", "the method's or attack's code"), ("data_sha256", "the data")):
        versions = ok.groupby("contender")[column].nunique()
        versions = versions[versions > 1]
        parts.append(versions.map(f"measured with {{}} versions of {what}".format))
    timed = ok[ok["metric"].isin([metric.name for metric in METRICS.values() if metric.unit == "s"])]
    kinds = timed.groupby("contender")["device"].nunique()
    parts.append(kinds[kinds > 1].map("times of {} kinds of machines are not averaged".format))
    notes = pd.concat([part for part in parts if len(part)]) if any(map(len, parts)) else pd.Series(dtype=object)
    return notes.groupby(level=0).agg("; ".join) if len(notes) else notes


def _ranks(board: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """Columns rank and rank_metric, by table."""
    result = pd.DataFrame({"rank": np.nan, "rank_metric": None}, index=board.index, dtype=object)
    eligible = ~board["method"].isin(REFERENCES) & (board["forgot"] == 1)
    per_seed = {
        name: part.pivot(index="contender", columns="seed", values="value")
        for name, part in values[values["metric"].isin([*_RANKED_BY, "accuracy"])].groupby("metric")
    }
    for _, contenders in board.groupby("table"):
        names = ("accuracy",) if contenders["attack"].isna().all() else _RANKED_BY
        metric = next((name for name in names if name in board and contenders[name].notna().any()), None)
        if metric is None:
            continue
        result.loc[contenders.index, "rank_metric"] = metric
        ranked = contenders.index[eligible[contenders.index]]
        seeds = per_seed[metric].reindex(ranked)
        if metric == "auc":  # an attack below chance found nothing: it is no better than one at chance
            seeds = seeds.clip(lower=0.5)
        ranks = rank(seeds.to_numpy(dtype=np.float64), describe(metric).better)
        result.loc[ranked, "rank"] = pd.Series(ranks, index=ranked, dtype=object)
    result["rank"] = pd.to_numeric(result["rank"])
    return result


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(types_mapper=_DTYPES.get)
    return frame
