"""Records to the leaderboard: one row per contender in its setting, with intervals, gaps to the references and ranks.

It is built from finished cells and nothing else, so it can be deleted and built again. What does not apply is null.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from unlearnbench.leaderboard import judge, leakage, mixed_versions, pooled_rates, ranking
from unlearnbench.leaderboard.contenders import COLUMNS, KEYS, TABLE_COLUMNS, WHOLE, contenders_of, namesakes, rows_of
from unlearnbench.leaderboard.seeds import seeds_of
from unlearnbench.leaderboard.values import final_values, reference_gaps, summarise, trivial_gaps, with_utility
from unlearnbench.metrics.catalog import METRICS, describe
from unlearnbench.records.reading import read_folder
from unlearnbench.records.schema import SCHEMA_VERSION
from unlearnbench.system.errors import InputError
from unlearnbench.system.parquet_files import open_parquet, write_parquet

_STATE = {
    "status": pa.string(),  # ok, partial (some seeds failed), failed, skipped
    "note": pa.string(),  # the first error or reason, and what else readers must know
    "n_seeds": pa.int64(),
    "failed_seeds": pa.int64(),
    **judge.COLUMNS,
    **ranking.COLUMNS,
    **pooled_rates.COLUMNS,
}
_DTYPES = {
    pa.string(): pd.StringDtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.float64(): pd.Float64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


def build(records_folder: str | Path, out_folder: str | Path) -> pd.DataFrame:
    """Write leaderboard.parquet from a folder of record files.

    Args:
        records_folder: holds one Parquet file per cell.
        out_folder: where it is written or replaced; the folder is created.

    Returns:
        The leaderboard as `read` returns it.

    Raises:
        InputError: as `of`.
    """
    board, about = _made(records_folder)
    frame = _to_pandas(board)
    write_parquet(board, Path(out_folder) / "leaderboard.parquet", {"unlearnbench": json.dumps(about)})
    return frame


def of(records_folder: str | Path) -> pd.DataFrame:
    """The leaderboard of a folder of record files, as `read` returns it. Writes nothing.

    Raises:
        InputError: no such folder, a damaged or unreadable record file (a table that silently lacks rows is not a
            result), or a metric that this version does not know.
    """
    return _to_pandas(_made(records_folder)[0])


def _made(records_folder: str | Path) -> tuple[pa.Table, dict[str, Any]]:
    """The leaderboard, and the metadata of its file."""
    table, bad = read_folder(records_folder, COLUMNS)
    if bad:
        more = f" (and {len(bad) - 1} more such files)" if len(bad) > 1 else ""
        raise type(bad[0])(bad[0].where, bad[0].what + more)
    board = assemble(table, str(records_folder))
    protocols = sorted(table.column("protocol_version").unique().to_pylist())
    about = {"protocol_versions": protocols, "schema_version": SCHEMA_VERSION, "record_rows": table.num_rows}
    return board, about


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
    """Columns and types of a leaderboard with these metrics: the keys, the state, then the columns of each metric."""
    fields = [pa.field(key, pa.int64() if key in WHOLE else pa.string()) for key in KEYS]
    fields += [pa.field(name, kind) for name, kind in _STATE.items()]
    for name in metrics:
        fields += [pa.field(f"{name}{end}", pa.float64()) for end in ("", "_low", "_high")]
        fields.append(pa.field(f"{name}_n", pa.int64()))
        if describe(name).good == "privacy":
            ends = ("_gap_retrain", "_gap_retrain_low", "_gap_retrain_high", "_gap_trivial")
            fields += [pa.field(f"{name}{end}", pa.float64()) for end in ends]
        if describe(name).leak:
            fields += [pa.field(f"{name}{end}", pa.float64()) for end in ("_p_trivial", "_p_retrain")]
    return pa.schema(fields)


def assemble(table: pa.Table, where: str) -> pa.Table:
    """The leaderboard of a table of records; `where` names them in errors."""
    rows = rows_of(table)
    contenders = contenders_of(rows)
    own = final_values(rows)
    unknown = sorted(set(own["metric"].unique()) - set(METRICS))
    if unknown:
        raise InputError(where, f"records of the metric '{unknown[0]}', which this version does not know")
    own = pd.concat([own, leakage.advantages(contenders, own)], ignore_index=True)
    values = with_utility(own, contenders)
    seeds = seeds_of(contenders, values)
    state = _state(rows, contenders)
    failed = state["failed_seeds"].where(state["status"] != "skipped", 0)
    verdicts = judge.judged(contenders, seeds, failed)
    places = ranking.ranked(contenders, verdicts, seeds, failed)
    rates = pooled_rates.pooled_rates(rows)
    there = {
        *values["metric"].unique(),
        *(name for name in pooled_rates.rates() if name in rates and rates[name].notna().any()),
    }
    metrics = [name for name in METRICS if name in there]
    columns = _pooled(_metric_columns(own, values, contenders, metrics), rates, contenders)
    for name in metrics:
        if describe(name).leak:
            columns[f"{name}_p_trivial"], columns[f"{name}_p_retrain"] = leakage.p_values(contenders, seeds, name)
    board = contenders.drop(columns=["own_original", "ranked_by", "reference_method"]).rename(
        columns={"reference": "retraining"}
    )
    board = pd.concat([board.join(state), verdicts, places, columns], axis=1)
    hidden = board["attack"].isna() & board.index.isin(board["base"])
    order = ["protocol_version", *(key for key in TABLE_COLUMNS if key != "protocol_version"), "rank"]
    order += ["method_id", "method_params"]
    newest_first = [key != "protocol_version" for key in order]
    board = board[~hidden].sort_values(order, ascending=newest_first, na_position="last", kind="stable")
    fields = schema(metrics)
    arrays = [pa.Array.from_pandas(board[field.name].astype(object), type=field.type) for field in fields]
    return pa.Table.from_arrays(arrays, schema=fields)


def _metric_columns(
    own: pd.DataFrame, values: pd.DataFrame, contenders: pd.DataFrame, metrics: list[str]
) -> pd.DataFrame:
    means, retrain = summarise(values), summarise(reference_gaps(own, contenders), differences=True)
    trivial = summarise(trivial_gaps(values), differences=True)
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


def _pooled(columns: pd.DataFrame, rates: pd.DataFrame, contenders: pd.DataFrame) -> pd.DataFrame:
    """The columns, with rates pooled over all seeds in place of means; their gaps to retraining have no interval."""
    table = columns.astype(object)
    table[pooled_rates.NOTE] = rates[pooled_rates.NOTE].reindex(table.index) if len(rates) else None
    for name in pooled_rates.rates():
        if name not in table or name not in rates:
            continue
        scored = rates.index
        for end in ("", "_low", "_high", "_n"):
            table.loc[scored, f"{name}{end}"] = rates[f"{name}{end}"]
        own = pd.to_numeric(table[name])
        theirs = own.reindex(contenders["reference"]).to_numpy()
        trivial = describe(name).trivial
        gaps = {"_gap_retrain": own - theirs, "_gap_trivial": own - (trivial if isinstance(trivial, float) else np.nan)}
        for end, gap in gaps.items():
            table.loc[scored, f"{name}{end}"] = gap[scored]
        table.loc[scored, [f"{name}_gap_retrain_low", f"{name}_gap_retrain_high"]] = np.nan
    return table.where(table.notna(), None)


def _state(rows: pd.DataFrame, contenders: pd.DataFrame) -> pd.DataFrame:
    """For each contender: seeds with and without results, status, note."""
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
        {
            "n_seeds": counts["ok"],
            "failed_seeds": failed_seeds,
            "status": status,
            "note": _notes(rows, seeds, contenders),
        },
        index=counts.index,
    )


def _notes(rows: pd.DataFrame, seeds: pd.DataFrame, contenders: pd.DataFrame) -> pd.Series:
    """Text per contender; null if there is nothing to note."""
    without = seeds.loc[seeds["other"], ["contender", "seed"]]
    errors = rows[rows["error"].notna()].merge(without, on=["contender", "seed"])
    parts = [errors.drop_duplicates("contender").set_index("contender")["error"].astype(object)]
    ok = rows[rows["status"] == "ok"]
    for column, what in (("plugin_sha256", "the method's or attack's code"), ("data_sha256", "the data")):
        versions = ok.groupby("contender")[column].nunique()
        versions = versions[versions > 1]
        parts.append(versions.map(f"measured with {{}} versions of {what}".format))
    disputed = rows[rows["disputed"]].groupby("contender")["seed"].nunique()
    parts.append(disputed.map("seeds whose records contradict each other, and do not count: {}".format))
    parts += [mixed_versions.notes(ok), namesakes(contenders)]
    timed = ok[ok["metric"].isin([name for name, metric in METRICS.items() if metric.is_time])]
    kinds = timed.groupby("contender")["device"].nunique()
    parts.append(kinds[kinds > 1].map("times of {} kinds of machines are not averaged".format))
    notes = pd.concat([part for part in parts if len(part)]) if any(map(len, parts)) else pd.Series(dtype=object)
    return notes.groupby(level=0).agg("; ".join) if len(notes) else notes


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(types_mapper=_DTYPES.get)
    return frame
