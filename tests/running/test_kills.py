"""kill -9 of a run at random moments: the next one goes on to the numbers of an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from tiny_runs import SUITE, finish, rows, start, write_suite

from unlearnbench.system.store import Store

KILLS, SEED = 20, 6
IN_TRAINING = 3
LONGEST = 120  # seconds until a training has gone on
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


@pytest.mark.faults
@pytest.mark.parametrize("engine", ["serial", "loky"])
def test_a_training_killed_at_random_moments_goes_on_to_the_same_bits(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ResNet-18, trained for some 10 s and then erased, killed once it has gone on by at least one checkpoint."""
    changes = {
        "methods: [METHODS]": "references: false\n    methods: [vbu]",
        "ATTACKS": "",
        "network: {hidden: 8, latent: 4}": "network: {name: resnet18, latent: 4}",
        "training: {epochs: 2}": "training: {epochs: 40, batch: 20}\n      judging: {largest_retraining: 1}",
        "{rule: steps, steps: 2}": "{rule: steps, steps: 30}",
    }
    text = SUITE
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "suite.yaml").write_text(text)
    monkeypatch.setenv("UNLEARNBENCH_CHECKPOINT_SECONDS", "1000")
    assert finish(start(tmp_path, "--results", "whole", "--cache", "whole-cache"), 300).code == 0
    monkeypatch.setenv("UNLEARNBENCH_CHECKPOINT_SECONDS", "1")
    moments, killed, resumed = random.Random(SEED), 0, Store(tmp_path / "killed-cache")
    options = ("--jobs", "1", "--results", "killed", "--cache", "killed-cache")
    while killed < IN_TRAINING:
        process = start(tmp_path, *options, engine=engine)
        began, first = time.monotonic(), _newest(resumed)
        while _newest(resumed) == first and process.poll() is None and time.monotonic() - began < LONGEST:
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 1.5))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)  # its worker, too
        killed += 1
        finish(process)
    ran = finish(start(tmp_path, *options, engine=engine), 300)
    assert (ran.code, killed) == (0, IN_TRAINING), ran.err
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    expected, again = Store(tmp_path / "whole-cache"), 0
    assert expected.keys() == resumed.keys()
    for key in expected.keys():  # noqa: SIM118 (not a mapping)
        found, wanted = resumed.get(key), expected.get(key)
        assert found is not None
        assert wanted is not None
        assert found.tensors.keys() == wanted.tensors.keys()
        assert all(torch.equal(value, wanted.tensors[name]) for name, value in found.tensors.items())
        assert "resumed" not in wanted.values["provenance"]
        again += found.values["provenance"].get("resumed", 0)
    assert again >= 2, "it went on, and not from the beginning"
    assert resumed.interrupted() == []


def _newest(store: Store) -> float:
    """When the last checkpoint was written."""
    times = [0.0]
    for path in store.root.glob("*/*.checkpoints/*/*.safetensors"):
        with contextlib.suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times)
