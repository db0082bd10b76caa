"""Whole suites: run, planned, resumed, and made into leaderboards, by unlearnbench."""

from __future__ import annotations

import importlib
import os
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from measuring import peak_bytes
from sample_records import row

from unlearnbench.cli import loading as cli_loading
from unlearnbench.cli import main as cli
from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.records import writing as records
from unlearnbench.suite.plan import Plan
from unlearnbench.system.parquet_files import write_parquet


@dataclass(frozen=True)
class Ran:
    """What a run took: seconds of each stage and in all, and the peak of this process's memory."""

    stages: dict[str, float]
    seconds: float
    peak_bytes: int

    @property
    def outside(self) -> float:
        """Share of the time in planning, hashing, the store, records, progress and the leaderboard."""
        return 1 - sum(self.stages.values()) / self.seconds


def run(suite: Path, folder: Path, data: Path | None = None) -> Ran:
    """`unlearnbench run` in this process."""
    for library in ("torch", "scipy.stats", "sklearn.datasets"):  # seconds that are none of the harness's
        importlib.import_module(library)
    command = ["run", str(suite), "--engine", "serial", "--device", "cpu", *(["--data", str(data)] if data else [])]
    started = time.perf_counter()
    code = cli.main([*command, "--results", str(folder / "results"), "--cache", str(folder / "cache")])
    taken, peak = time.perf_counter() - started, peak_bytes()
    assert code == 0
    from unlearnbench.system.store import Store  # imports torch, which leaderboards do not need

    stages: dict[str, float] = defaultdict(float)
    store = Store(folder / "cache")
    for task in plan(suite, data).tasks:
        stages[task.stage] += store.values(task.key)["seconds"]
    return Ran(dict(stages), taken, peak)


def plan(suite: Path, data: Path | None = None) -> Plan:
    """From the suite file to every cell's key."""
    return cli_loading.plan(cli_loading.load(suite, None).settings(), data)


def count_planned(suite: Path) -> int:
    return len(plan(suite).cells)


def write_records(suite: Path, folder: Path, rows: int) -> None:
    """A record file for each cell of a suite, as if it had been run: every metric, the rest points of a trajectory."""
    os.fsync = lambda descriptor: None  # nobody minds if these are lost
    value = random.Random(0).random
    names = [*METRICS] + (rows - len(METRICS)) * ["accuracy"]
    steps = [None] * len(METRICS) + list(range(rows - len(METRICS)))
    template = pa.Table.from_pylist([row("crfu", 0, name, 1.0) for name in names], schema=records.SCHEMA)
    template = _replaced(template, step=pa.array(steps, pa.int64()))
    folder.mkdir(parents=True)
    for cell in plan(suite).cells:
        attack = cell.setting.attack
        same = {
            "suite": cell.setting.suite, "experiment": cell.experiment, "dataset": cell.setting.dataset.info.name,
            "scenario_id": cell.scenario_id, "method": cell.setting.method.info.name, "method_id": cell.method_id,
            "attack": attack and attack.info.name, "attack_id": cell.attack_id, "seed": cell.seed,
            "cell_key": cell.key, "n_shadows": cell.shadows, "observation": cell.observation,
        }  # fmt: skip
        filled = {name: pa.array([what] * rows, records.SCHEMA.field(name).type) for name, what in same.items()}
        values = pa.array([1.0 if name == "forgot" else value() for name in names])
        write_parquet(_replaced(template, value=values, **filled), folder / f"{cell.key}.parquet")


def build_leaderboard(folder: Path, out: Path) -> int:
    """Rows of the leaderboard."""
    return len(leaderboard.build(folder, out))


def _replaced(table: pa.Table, **columns: pa.Array) -> pa.Table:
    for name, column in columns.items():
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(index), column)
    return table
