"""kill -9 of a run at random moments: the next one goes on to the numbers of an undisturbed run."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest
from tiny_runs import finish, rows, start, write_suite

KILLS, SEED = 20, 6
METHODS, ATTACKS = "vbu, crfu", "membership: {shadows: 10}, representation: {epochs: 1}"


@pytest.mark.faults
def test_a_run_killed_at_twenty_random_moments_loses_and_doubles_nothing(tmp_path: Path) -> None:
    write_suite(tmp_path, METHODS, ATTACKS, seeds=2)
    started = time.monotonic()
    undisturbed = finish(start(tmp_path, "--results", "whole", "--cache", "whole-cache"))
    whole = time.monotonic() - started
    assert undisturbed.code == 0
    expected = rows(tmp_path / "whole")
    moments = random.Random(SEED)
    killed = 0
    while killed < KILLS:
        engine, jobs = moments.choice([("serial", "1"), ("loky", "2")])
        process = start(tmp_path, "--jobs", jobs, "--results", "killed", "--cache", "killed-cache", engine=engine)
        time.sleep(moments.uniform(0.2, 1.0) * whole)
        if process.poll() is None:
            process.kill()
            killed += 1
            finish(process)
            continue
        # It was done before: from the beginning again.
        assert finish(process).code == 0
        assert rows(tmp_path / "killed") == expected
        shutil.rmtree(tmp_path / "killed")
        shutil.rmtree(tmp_path / "killed-cache")
    ran = finish(start(tmp_path, "--results", "killed", "--cache", "killed-cache"))
    assert ran.code == 0
    assert ran.counts["done"] + ran.counts["cached"] == ran.counts["planned"] == undisturbed.counts["planned"]
    assert rows(tmp_path / "killed") == expected
    assert not list((tmp_path / "killed" / "records").glob("*/*")), "nothing was set apart as stale or damaged"
