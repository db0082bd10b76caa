"""Rates at few errors, read from a contender's membership scores of all seeds (docs/protocol.md#few-false-alarms)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from unlearnbench.metrics.catalog import METRICS, Rate
from unlearnbench.metrics.pooled import Scores, tnr_at_tpr, tpr_at_fpr

NOTE = "rates_note"
"""The column with the reason why there is no rate."""

COLUMNS: Mapping[str, pa.DataType] = {NOTE: pa.string()}


def rates() -> dict[str, Rate]:
    """The rates of the catalogue, by metric."""
    return {name: metric.rate for name, metric in METRICS.items() if metric.rate is not None}


def pooled_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns NAME, NAME_low, NAME_high and NAME_n of the rates for which a contender's seeds have enough images,
    and `NOTE`; one row per contender with scores in its records.

    These rates, with one threshold for all seeds, replace those that were measured within each seed.

    Args:
        rows: as `contenders.rows_of` returns them.
    """
    scored = rows[(rows["metric"] == "auc") & (rows["status"] == "ok") & rows["scores_erased"].notna()]
    scored = scored[~scored["disputed"]].drop_duplicates(["contender", "seed"])
    found = {}
    for contender, part in scored.groupby("contender"):
        seeds = [
            (np.asarray(erased, dtype=np.float64), np.asarray(unseen, dtype=np.float64))
            for erased, unseen in zip(part["scores_erased"], part["scores_unseen"], strict=True)
        ]
        found[contender] = _of_contender(seeds)
    return pd.DataFrame.from_dict(found, orient="index").astype(object)


def _of_contender(seeds: Sequence[Scores]) -> dict[str, float | int | str | None]:
    columns: dict[str, float | int | str | None] = {}
    reasons = []
    for name, rate in rates().items():
        pooled = (tpr_at_fpr if rate.of == "tpr" else tnr_at_tpr)(seeds, rate.at)
        if pooled.value is None:
            reasons.append(f"{name}: {pooled.reason}")
        columns |= {name: pooled.value, f"{name}_low": pooled.low, f"{name}_high": pooled.high}
        columns[f"{name}_n"] = len(seeds) if pooled.value is not None else None
    return columns | {NOTE: "; ".join(reasons) or None}
