"""The ordinary way to plan many runs, to see which are done and to average their results: loops, JSON and pandas."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

STAGES = ("train", "unlearn", "shadows", "attack")
CONTENDER = ["experiment", "dataset", "scenario_id", "method_id", "attack_id", "metric"]


def plan(common: Mapping[str, Any], grid: Mapping[str, Sequence[Any]]) -> int:
    """A key for each stage of each run: the hash of its settings."""
    keys = []
    for values in product(*grid.values()):
        settings = {**common, **dict(zip(grid, values, strict=True))}
        for stage in STAGES:
            text = json.dumps({**settings, "stage": stage}, sort_keys=True)
            keys.append(hashlib.sha256(text.encode()).hexdigest())
    return len(keys)


def count_finished(folder: Path, most: int) -> int:
    """Read one result file after the other and look whether the run ended well."""
    paths = sorted(folder.glob("*.parquet"))[:most]
    return sum(bool((pd.read_parquet(path)["status"] == "ok").all()) for path in paths)


def leaderboard(folder: Path, out: Path) -> int:
    """Means and standard deviations over seeds, for each contender and metric."""
    rows = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))], ignore_index=True)
    final = rows[rows["step"].isna()]
    board = final.groupby(CONTENDER, dropna=False)["value"].agg(["mean", "std", "count"]).unstack("metric")
    board.columns = [f"{metric}_{statistic}" for statistic, metric in board.columns]
    board.reset_index().to_parquet(out / "plain.parquet")
    return len(board)
