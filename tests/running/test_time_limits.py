"""--time-limit: what hangs is ended, and others go on. Devices: each is leased as often as was asked for."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tiny_runs import Place, status_of, write_method, write_suite

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


def test_a_gpu_is_leased_as_often_as_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert devices.slots("auto", 8, per_gpu=2) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert devices.slots("cuda:1", 8, per_gpu=3) == ["cuda:1"] * 3
    with pytest.raises(InputError, match="is for GPUs; on the CPU --jobs"):
        devices.slots("cpu", 8, per_gpu=2)
