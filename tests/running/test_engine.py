"""Processes that are interrupted, killed or loud: what was finished is kept and nobody is left behind."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from sessions import WAITS, finished_records, session, wait_for
from tiny_runs import Ran, finish, rows, start, status_of, write_method, write_suite

from unlearnbench.leaderboard import build as leaderboard
from unlearnbench.running import engines as engine

LOUD = "print('loud', end='', flush=True); os.system('echo loud')\n"


def _endings() -> list[ParameterSet]:
    """Every engine with every signal that asks to end; the quick ones are part of `make test`."""
    found = []
    for name, jobs in (("serial", "1"), ("loky", "2"), ("dask", "2")):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            quick = name == "serial" or (name == "loky" and number == signal.SIGINT)
            marks = () if quick else (pytest.mark.faults,)
            found.append(pytest.param(name, jobs, number, code, marks=marks, id=f"{name}-{number.name}"))
    return found


@pytest.mark.parametrize(("name", "jobs", "number", "code"), _endings())
def test_a_signal_that_asks_to_end_keeps_what_is_finished(
    tmp_path: Path, name: str, jobs: str, number: int, code: int
) -> None:
    write_method(tmp_path / "own", "waits", unlearn=WAITS)
    write_suite(tmp_path, methods="original, retrain, vbu, waits", attacks="")
    process = start(tmp_path, "--plugins", "own", "--jobs", jobs, engine=name)
    wait_for(lambda: (tmp_path / "started").exists() and len(finished_records(tmp_path)) == 3)
    for _ in range(2 if number != signal.SIGINT else 1):  # `timeout`, and a terminal that is closed, send it twice
        os.killpg(process.pid, number)  # as a terminal does: to all of the group
    ran = finish(process)
    assert ran.code == code, ran.err
    assert ran.err.endswith("interrupted; run the same command to go on\n")
    assert "worker process died" not in ran.err
    assert ran.counts == {"planned": 4, "done": 3, "cached": 0, "failed": 0, "skipped": 0}
    assert "Traceback" not in ran.err
    wait_for(lambda: not session(process.pid), seconds=5)
    results = tmp_path / "results" / "tiny"
    assert set(leaderboard.read(results / "leaderboard.parquet")["method_id"]) == {"original", "retrain", "vbu"}
    assert not (results / "receipts").exists()


@pytest.mark.faults
def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    """kill -9 of the run, of a worker that was innocent, and a method that always kills its worker."""
    write_method(tmp_path / "own", "waits", unlearn=LOUD + WAITS)
    once = "if not Path('killed').exists():\n    Path('killed').touch()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    write_method(tmp_path / "own", "dies_once", unlearn=once + "return before.expand(sets.replicas)")
    write_method(tmp_path / "own", "dies", unlearn="os.kill(os.getpid(), signal.SIGKILL)")
    write_suite(tmp_path, methods="original, retrain, vbu, waits, dies_once, dies", attacks="")
    arguments = ("--plugins", "own", "--jobs", "2")
    chosen = ("-m", "vbu", "-m", "waits")
    process = start(tmp_path, *arguments, *chosen, engine="loky")
    wait_for(lambda: (tmp_path / "started").exists() and len(finished_records(tmp_path)) == 3)
    process.kill()
    assert finish(process).code == -signal.SIGKILL
    wait_for(lambda: not session(process.pid), seconds=5)

    (tmp_path / "go").touch()
    ran = finish(start(tmp_path, *arguments, engine="loky"))
    assert (ran.code, ran.counts) == (1, {"planned": 6, "done": 2, "cached": 3, "failed": 1, "skipped": 0})
    assert ran.err.count("a worker process died; what it worked on starts again") >= 3
    results = tmp_path / "results" / "tiny"
    (dead,) = status_of(results, "dies")
    assert dead[0] == "failed"
    assert "the worker process died" in str(dead[1])

    undisturbed = finish(start(tmp_path, "--plugins", "own", *chosen, "--results", "other", "--cache", "other-cache"))
    assert undisturbed.counts["done"] == 4
    assert rows(tmp_path / "other") == [row for row in rows(results) if not row["method"].startswith("dies")]


def test_an_inline_task_is_done_when_it_is_submitted() -> None:
    executor = engine.start("serial", 1)
    assert executor.submit(divmod, 7, 2).result() == (3, 1)
    assert isinstance(executor.submit(divmod, 7, 0).exception(), ZeroDivisionError)
    with pytest.raises(KeyboardInterrupt):
        executor.submit(_interrupt)
    engine.stop(executor)


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_the_closing_line_is_all_there_is_on_stdout() -> None:
    with pytest.raises(AssertionError):
        _ = Ran(0, "loudcells: planned=1", "").counts


def _grow(megabytes: int) -> int:
    _held.append(b"x" * (megabytes << 20))
    time.sleep(1.1)  # loky looks at a worker's memory once a second
    return len(_held)


_held: list[bytes] = []


def test_a_worker_that_has_grown_is_replaced_without_a_word() -> None:
    pytest.importorskip("psutil")  # without it loky does not look
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        executor = engine.start("loky", 1)
        try:
            futures = [executor.submit(_grow, 200) for _ in range(6)]
            counts = [future.result(timeout=120) for future in futures]
        finally:
            engine.stop(executor)
    assert 1 < counts.count(1) < 6  # some were first of their worker: it was replaced
    assert not [str(each.message) for each in said]
