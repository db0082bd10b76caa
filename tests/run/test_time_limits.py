"""--time-limit and memory_gb: what hangs is ended and what is large waits, and others go on."""

from __future__ import annotations

import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Place, status_of, write_method, write_suite

from unlearnbench.run import engines as engine
from unlearnbench.run import executors, worker
from unlearnbench.run import worker_pool as crew
from unlearnbench.suite import plan
from unlearnbench.suite.plan import Job
from unlearnbench.system import devices
from unlearnbench.system.errors import InputError
from unlearnbench.system.time_limit import OverdueError, limited

HANGS = "if not Path('mended').exists(): time.sleep(1000)\nreturn before.expand(sets.replicas)"


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, capsys, monkeypatch)


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        ("serial", "1"),
        pytest.param("loky", "2", marks=pytest.mark.faults),
        pytest.param("dask", "2", marks=pytest.mark.faults),
    ],
)
def test_what_hangs_times_out_and_others_complete(place: Place, name: str, jobs: str) -> None:
    write_method(place.folder / "own", "hangs", unlearn=HANGS)
    write_suite(place.folder, methods="hangs, vbu", attacks="")
    own = ("--plugins", "own")
    ran = place.run(*own, "--jobs", jobs, "--time-limit", "6", engine=name)
    assert (ran.code, ran.counts) == (1, {"planned": 4, "done": 3, "cached": 0, "failed": 1, "skipped": 0}), ran.err
    assert status_of(place.results, "hangs") == [("timeout", "unlearn: longer than 6 s", None)]
    assert {
        status for method in ("original", "retrain", "vbu") for status, _, _ in status_of(place.results, method)
    } == {"ok"}
    assert "died" not in ran.err
    # No result, but not tried again either, unless asked for.
    again = place.run(*own)
    assert (again.code, again.counts["cached"], again.counts["failed"]) == (1, 3, 1)
    (place.folder / "mended").touch()
    mended = place.run(*own, "--retry-failed")
    assert (mended.code, mended.counts["done"], mended.counts["cached"]) == (0, 1, 3)
    assert {status for status, _, _ in status_of(place.results, "hangs")} == {"ok"}


def test_work_in_this_process_is_interrupted_and_what_is_in_time_is_not() -> None:
    started = time.monotonic()
    with pytest.raises(OverdueError), limited(0.2, expendable=False):
        time.sleep(20)
    assert time.monotonic() - started < 10
    with limited(0.2, expendable=False):
        pass
    with limited(0.5, expendable=True):
        pass
    time.sleep(0.6)


def test_a_limit_is_a_number_of_seconds(place: Place) -> None:
    write_suite(place.folder)
    assert place.run("--time-limit", "0").code == 2


# --- memory --------------------------------------------------------------------------------------------------------


def test_what_needs_memory_waits_until_it_fits_and_what_never_fits_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "memory", lambda device: 10.0)
    assert crew.fits(6, [], "cpu")
    assert crew.fits(6, [4], "cpu")
    assert not crew.fits(6, [5], "cpu")
    assert crew.fits(60, [], "cpu")
    assert not crew.fits(60, [0], "cpu")
    assert not crew.fits(0, [60], "cpu")
    assert crew.fits(0, [0, 0], "cpu")


def job(method: str) -> Job:
    work = {kind: {"name": name} for kind, name in (("dataset", "digits"), ("method", method))}
    return (plan.Task("unlearn", method, {}, work),)


class ByHand(executors.Cluster):
    """Tasks end when the test says so."""

    def __init__(self) -> None:
        self.started: dict[str, Future[worker.Outcome]] = {}

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        future: Future[worker.Outcome] = Future()
        if function is worker.carry_out:
            self.started[args[0][0].key] = future
        return future

    def workers(self) -> int:
        return 4


def test_a_job_that_does_not_fit_holds_back_all_after_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    by_hand = ByHand()
    monkeypatch.setattr(devices, "memory", lambda device: 10.0)
    monkeypatch.setattr(engine, "start", lambda *arguments: by_hand)
    place = worker.Place(tmp_path, tmp_path, (), "")
    workers = crew.Crew("dask", ["cpu"] * 4, place, memory={"method large": 7.0, "method small": 2.0})
    for name in ("small", "large"):
        workers.submit(job(name))
    assert list(by_hand.started) == ["small", "large"]
    workers.submit((*job("large"),))
    assert not workers.has_room
    by_hand.started["small"].set_result(worker.Outcome())
    assert len(workers.wait().finished) == 1
    assert not workers.has_room  # 7 and 7 do not fit either
    by_hand.started.pop("large").set_result(worker.Outcome())
    assert len(workers.wait().finished) == 1
    assert workers.has_room
    assert "large" in by_hand.started


def test_a_gpu_is_leased_as_often_as_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert devices.slots("auto", 8, per_gpu=2) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert devices.slots("cuda:1", 8, per_gpu=3) == ["cuda:1"] * 3
    with pytest.raises(InputError, match="is for GPUs; on the CPU --jobs"):
        devices.slots("cpu", 8, per_gpu=2)
    assert devices.memory("cpu") > 0.1
