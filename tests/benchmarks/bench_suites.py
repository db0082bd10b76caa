"""Large suites: planning, resuming and ranking; and the start of the command line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import plain_suites
import pytest
import suite_jobs
from measuring import Side, Worker, compare, keep, peak_bytes, single_row, timed_row

from unlearnbench.settings.scenario import LeakSizes, Scenario

READ = 500  # of the plain script's files; reading them one by one takes time
SEEDS, BETAS, RATES, ATTACKS = 5, 10, 48, ("update_leak", "membership", "representation")
METHODS = RATES + 2  # original and retrain
CELLS = SEEDS * BETAS * METHODS * (1 + len(ATTACKS))  # 10,000
ROWS = 100  # of each cell's records: a million in all
SUITE = f"""
name: ten_thousand
seeds: {SEEDS}
experiments:
  leak:
    datasets: [digits]
    scenario:
      kind: leak
      erased_count: 1
      beta: {[rate / 1000 for rate in range(BETAS)]}
      leak: {{target: 480, known: 360}}
    methods: [crfu: {{beta_u: {[rate / 10 for rate in range(1, RATES + 1)]}}}]
    attacks: [{", ".join(ATTACKS)}]
"""
PROGRAM = str(Path(sys.executable).with_name("unlearnbench"))


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "suite.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="module")
def results(suite: Path) -> Iterator[Path]:
    """The results of the whole suite, as if it had been run; a leaderboard is still to be made."""
    folder = suite.parent / "results"
    with Worker() as worker:
        worker(suite_jobs.write_records, suite, folder / "records", ROWS)
    yield folder
    shutil.rmtree(folder)  # hundreds of megabytes


@pytest.fixture(scope="module")
def finished(suite: Path, results: Path) -> Path:
    """As a run leaves them."""
    resume(suite, results)
    return results


def resume(suite: Path, results: Path, forget: bool = False) -> None:
    """`unlearnbench run` where nothing is left to do; and the receipt that would have told so is deleted after it."""
    command = [PROGRAM, "run", str(suite), "--results", str(results), "--cache", str(suite.parent / "cache")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"cached={CELLS}" in ran.stdout, ran.stderr[-2_000:]
    assert ran.returncode == 0, ran.stderr[-2_000:]
    if forget:
        shutil.rmtree(results / "receipts")


def test_plan(benchmark: Any, product: Worker, plain: Worker, suite: Path) -> None:
    leak = {**LeakSizes().model_dump(), "target": 480, "known": 360}
    scenario = Scenario(kind="leak", erased_count=1, leak=LeakSizes(**leak)).model_dump()
    grid = {
        "beta": range(BETAS), "seed": range(SEEDS), "method": range(METHODS), "attack": range(len(ATTACKS) + 1)
    }  # fmt: skip
    ours = Side(partial(product, suite_jobs.count_planned, suite), 1)
    theirs = Side(partial(plain, plain_suites.plan, scenario, grid), 1)
    against = "nested loops that hash each stage's settings as JSON and check nothing"
    keep(benchmark, timed_row(f"planning {CELLS:,} cells", "s", *compare(benchmark, ours, theirs, 5), against))


@pytest.mark.parametrize("receipt", [True, False], ids=["with_receipt", "without_receipt"])
def test_resume(benchmark: Any, plain: Worker, suite: Path, finished: Path, receipt: bool) -> None:
    resume(suite, finished, forget=not receipt)
    ours = Side(lambda: resume(suite, finished, forget=not receipt), 1)
    theirs = Side(partial(plain, plain_suites.count_finished, finished / "records", READ), READ / CELLS)
    what = f"resuming a finished suite of {CELLS:,} cells" + ("" if receipt else ", its receipt lost")
    against = f"pandas reading one result file after the other, {READ:,} of {CELLS:,}, extrapolated"
    keep(benchmark, timed_row(what, "s", *compare(benchmark, ours, theirs, 3), against))


def test_leaderboard(benchmark: Any, results: Path, tmp_path: Path) -> None:
    records = results / "records"
    with Worker() as product, Worker() as plain:  # without torch
        ours = Side(partial(product, suite_jobs.build_leaderboard, records, tmp_path), 1)
        theirs = Side(partial(plain, plain_suites.leaderboard, records, tmp_path), 1)
        times, others = compare(benchmark, ours, theirs, rounds=1, warmup=0)
        peak, other_peak = product(peak_bytes), plain(peak_bytes)
    against = "pandas: one file after the other, groupby, means and deviations only"
    what = f"leaderboard of {CELLS * ROWS:,} record rows in {CELLS:,} files"
    keep(
        benchmark,
        timed_row(what, "s", times, others, against),
        single_row("the same: peak of resident memory", "GB", peak, other_peak, against),
    )


def test_help(benchmark: Any) -> None:
    def start(*command: str) -> None:
        subprocess.run(command, capture_output=True, check=True)

    ours = Side(partial(start, PROGRAM, "--help"), 1)
    theirs = Side(partial(start, sys.executable, "-c", "import typer"), 1)
    times = compare(benchmark, ours, theirs, rounds=15)
    keep(benchmark, timed_row("unlearnbench --help", "ms", *times, 'python -c "import typer"'))
