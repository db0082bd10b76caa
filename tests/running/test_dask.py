"""--engine dask: workers and schedulers that die, and machines that are not what the plan was made for.

That its records are those of the other engines is tested in test_determinism.py.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dask_cluster import ByHand
from planned_tasks import method_of
from sessions import finished_records, session, wait_for
from tiny_runs import Place, finish, rows, start, status_of, write_method, write_suite

import unlearnbench.running
from unlearnbench.running import dask_executor, remote_jobs, worker
from unlearnbench.running import engines as engine
from unlearnbench.running.remote_jobs import VERSION, RemoteJob
from unlearnbench.suite.tasks import TimingWork, UnlearnWork
from unlearnbench.system import package_code
from unlearnbench.system.errors import InputError
from unlearnbench.system.package_code import CODE
from unlearnbench.system.package_versions import keyed, version_of

WAITS = """
Path(f'started-{os.getpid()}').touch()
while not Path('go').exists(): time.sleep(0.05)
return before.expand(sets.replicas)
"""


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, capsys, monkeypatch)


@pytest.mark.faults
def test_a_worker_that_does_not_see_the_store_does_no_work(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write_suite(place.folder)
    here, elsewhere = dask_executor._anywhere, place.folder / "elsewhere"
    monkeypatch.setattr(dask_executor, "_anywhere", lambda place: replace(here(place), cache=elsewhere))
    apart = place.run("--jobs", "2", engine="dask")
    assert apart.code == 2, apart.err
    assert not list((place.folder / "results").rglob("*.parquet"))  # nothing has failed: the same command works
    assert f"does not see the store {elsewhere}: make --cache a folder that all machines share" in apart.err
    assert not elsewhere.exists()


@pytest.mark.faults
def test_a_killed_worker_costs_nothing_but_time(place: Place, tmp_path: Path) -> None:
    write_method(tmp_path / "own", "waits", unlearn=WAITS)
    write_method(tmp_path / "own", "dies", unlearn="os.kill(os.getpid(), signal.SIGKILL)")
    write_suite(tmp_path, methods="vbu, waits, dies", attacks="")
    process = start(tmp_path, "--plugins", "own", "--jobs", "2", engine="dask")
    wait_for(lambda: list(tmp_path.glob("started-*")) and len(finished_records(tmp_path)) >= 3)
    (mark,) = tmp_path.glob("started-*")
    os.kill(int(mark.name.removeprefix("started-")), signal.SIGKILL)
    wait_for(lambda: len(list(tmp_path.glob("started-*"))) == 2)
    (tmp_path / "go").touch()
    ran = finish(process)
    assert (ran.code, ran.counts) == (1, {"planned": 5, "done": 4, "cached": 0, "failed": 1, "skipped": 0}), ran.err
    assert "Traceback" not in ran.err
    assert "distributed" not in ran.err
    wait_for(lambda: not session(process.pid), seconds=10)
    results = tmp_path / "results" / "tiny"
    (dead,) = status_of(results, "dies")
    assert dead[0] == "failed"
    assert "the worker process died" in str(dead[1])
    other = place.run("--plugins", "own", "-m", "vbu", "-m", "waits", "--results", "o", "--cache", "c")
    assert other.counts["done"] == 4
    assert rows(tmp_path / "o") == [row for row in rows(results) if row["method"] != "dies"]


# --- a cluster of one's own ------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ByHand]:
    """Its own folder is where plugins of the test look for files."""
    by_hand = ByHand(tmp_path)
    yield by_hand
    by_hand.stop()


@pytest.mark.faults
def test_a_killed_scheduler_ends_the_run_with_one_line_and_the_next_goes_on(
    place: Place, tmp_path: Path, cluster: ByHand
) -> None:
    write_method(tmp_path / "own", "waits", unlearn=WAITS)
    write_suite(tmp_path, methods="vbu, waits", attacks="")
    process = start(tmp_path, "--plugins", "own", "--scheduler", cluster.address, engine="dask")
    wait_for(lambda: list(tmp_path.glob("started-*")))
    kept = len(finished_records(tmp_path))
    cluster.scheduler.kill()
    ran = finish(process)
    assert (ran.code, ran.out) == (2, "")
    assert f"error: --scheduler {cluster.address}: can't be reached" in ran.err
    assert "Traceback" not in ran.err, ran.err
    assert len(finished_records(tmp_path)) == kept >= 1
    (tmp_path / "go").touch()
    ended = place.run("--plugins", "own", "--jobs", "1", engine="dask")
    assert (ended.code, ended.counts["done"], ended.counts["cached"]) == (0, 4 - kept, kept)
    place.run("--plugins", "own", "--results", "o", "--cache", "c")
    assert rows(tmp_path / "o") == rows(tmp_path / "results" / "tiny")


def test_a_scheduler_that_is_not_there_is_one_line(place: Place) -> None:
    write_suite(place.folder)
    started = time.monotonic()
    ran = place.run("--scheduler", "tcp://127.0.0.1:9", engine="dask")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("error: --scheduler tcp://127.0.0.1:9: can't be reached")
    assert time.monotonic() - started < 30
    for arguments, name, error in (
        (("--scheduler", "tcp://a:1"), "loky", "--scheduler: is for --engine dask"),
        (("--scheduler", "host"), "dask", "--scheduler: 'host' is not an address like tcp://host:8786"),
        (("--scheduler", "tcp://a:1", "--jobs", "2"), "dask", "--jobs: a cluster has the workers"),
        (("--scheduler", "tcp://a:1", "--cells-per-device", "2"), "dask", "--cells-per-device: with --scheduler"),
    ):
        ran = place.run(*arguments, engine=name)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert error in ran.err
    assert [path.name for path in place.folder.iterdir()] == ["suite.yaml"]


def test_without_dask_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "unlearnbench.running.dask_executor")
    monkeypatch.delattr(unlearnbench.running, "dask_executor")
    with pytest.raises(InputError, match="--engine dask: not installed; pip install"):
        engine.start("dask", 1)


# --- jobs as they are sent ----------------------------------------------------------------------------------------


def sent_job(place: Place, method: str = "original", **changes: Any) -> RemoteJob:
    """The first job of a method in the suite, as it is sent."""
    from unlearnbench.cli import loading

    suite = loading.load(place.folder / "suite.yaml", [place.folder / "own"])
    planned = loading.plan(suite.settings(), place.folder / "data", "cpu")
    data, plugins = remote_jobs.inputs(planned.cells)
    there = worker.JobPlace(
        place.folder / "data", place.folder / "cache", (place.folder / "own",), "auto",
        data=data, plugins=plugins,
    )  # fmt: skip
    first = next(task for task in planned.tasks if method_of(task) == method)
    return RemoteJob((first,), replace(there, **changes), "id")


def refusal(place: Place, sent: RemoteJob) -> str:
    ((error, _),) = remote_jobs.carry_out_here(sent).errors.values()
    assert error.startswith(f"unlearn: worker on {socket.gethostname()}: ")
    return error


def test_a_machine_with_other_data_plugins_or_versions_refuses_the_job(place: Place) -> None:
    write_method(place.folder / "own", "mine")
    write_suite(place.folder, methods="mine", attacks="")
    sent = sent_job(place)
    assert "no such folder" in refusal(place, replace(sent, place=replace(sent.place, plugin_dirs=(Path("gone"),))))
    own = tuple((name, "0" * 64) for name, _ in sent.place.plugins)
    assert "differs from that of the plan" in refusal(place, replace(sent, place=replace(sent.place, plugins=own)))
    assert "files of dataset digits in" in refusal(place, replace(sent, place=replace(sent.place, data=())))
    work = sent.job[0].work
    assert isinstance(work, UnlearnWork)
    abacus = TimingWork(
        dataset=work.dataset, scenario=work.scenario, suite_seed=0, seed=0, method=work.method, repeats=1,
        hardware="cpu: abacus",
    )  # fmt: skip
    timed = replace(sent.job[0], work=abacus)
    assert "times are to be measured on cpu: abacus" in refusal(place, replace(sent, job=(timed,)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"unlearnbench": "0"}, f"has unlearnbench {VERSION}; the run has unlearnbench 0"),
        ({"code": "a"}, f"{VERSION} with code {CODE[:12]}; the run has unlearnbench {VERSION} with code a"),
        ({"torch": "1.9"}, f"has torch {keyed(['torch'])['torch']}; the run has torch 1.9"),
        ({"scikit-learn": "", "numpy": "0.1"}, "; the run has numpy 0.1, scikit-learn missing"),
    ],
)  # fmt: skip
def test_a_machine_with_other_code_or_packages_refuses_the_job(
    place: Place, changes: dict[str, str], expected: str
) -> None:
    (place.folder / "own").mkdir()
    write_suite(place.folder, methods="vbu", attacks="")
    sent = sent_job(place)
    assert refusal(place, replace(sent, program={**sent.program, **changes})).endswith(expected)


def test_a_machine_with_other_helpers_or_packages_of_a_plugin_refuses_the_job(place: Place) -> None:
    write_method(place.folder / "own", "mine", body="def why(self):\n    import typer")
    write_suite(place.folder, methods="mine", attacks="")
    sent = sent_job(place, method="mine")
    (there,) = (text for name, text in sent.place.plugins if name == "method mine")
    assert there.endswith(f" typer {version_of('typer')}")
    other = tuple((name, text.replace(version_of("typer"), "0.0.1")) for name, text in sent.place.plugins)
    needs = f"method 'mine' needs typer 0.0.1 in the plan, and this machine has typer {version_of('typer')}"
    assert refusal(place, replace(sent, place=replace(sent.place, plugins=other))).endswith(needs)
    (place.folder / "own" / "table.json").write_text("{}")
    worker._workplace.cache_clear()
    remote_jobs._check.cache_clear()
    assert "method 'mine' or a file beside it differs from that of the plan" in refusal(place, sent)


def test_the_code_of_two_machines_is_compared_by_names_and_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that of methods and attacks; and it takes no time to speak of."""
    names = package_code.package_files()
    for name in (
        "stages/jobs.py", "datasets/digits.py", "methods/vbu.py", "attacks/blind.py", "registry/released.json",
    ):  # fmt: skip
        assert f"unlearnbench/{name}" in names
    assert not [name for name in names if name.startswith("tests/")]
    started = time.perf_counter()
    before = package_code.code_sha256()
    assert time.perf_counter() - started < 1
    assert before == CODE
    changed = tmp_path / "jobs.py"
    changed.write_bytes(names["unlearnbench/stages/jobs.py"].read_bytes() + b"\n")
    for other in (
        {**names, "unlearnbench/stages/jobs.py": changed},
        {**names, "unlearnbench/methods/more.py": changed},
        {name: file for name, file in names.items() if not name.endswith("/vbu.py")},
    ):
        monkeypatch.setattr(package_code, "package_files", lambda other=other: other)
        assert package_code.code_sha256() != before


def unseen(sent: RemoteJob) -> str:
    outcome = remote_jobs.carry_out_here(sent)
    assert outcome.refused is not None
    assert not outcome.errors
    return outcome.refused[1]


def test_a_store_is_known_by_its_mark(place: Place) -> None:
    write_method(place.folder / "own", "mine")
    write_suite(place.folder, methods="mine", attacks="")
    sent, store = sent_job(place, method="mine"), place.folder / "cache"
    assert "does not see the store" in unseen(sent)
    known = remote_jobs.identity(store)
    assert remote_jobs.identity(store) == known != remote_jobs.identity(place.folder / "other")
    assert "does not see the store" in unseen(sent)
    outcome = remote_jobs.carry_out_here(replace(sent, store=known))
    assert outcome.missing in sent.job[0].needs.values()  # it is carried out, and its trained model is not there
