"""`run` does what the verb does, in somebody else's process: nothing of it stays there, and bad input is one error."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_runs import rows, status_of, write_method, write_suite

import unlearnbench as ub
from unlearnbench.cli import main as cli


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a suite, whose store and data lie there too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNLEARNBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNLEARNBENCH_DATA", str(tmp_path / "data"))
    write_suite(tmp_path)
    return tmp_path


def run(suite: Any = "suite.yaml", **options: Any) -> ub.Results:
    return ub.run(suite, **{"engine": "serial", "device": "cpu", **options})


@pytest.mark.slow
def test_a_run_is_that_of_the_verb_whatever_form_the_suite_has(place: Path) -> None:
    results = run()
    assert (results.path, results.failed) == (place / "results" / "tiny", 0)
    assert repr(results).endswith("6 cells: 6 ok")
    assert cli.main(["run", "suite.yaml", "--engine", "serial", "--device", "cpu", "--results", "verb"]) == 0
    assert rows(results.path) == rows(place / "verb")
    before = {file: file.stat().st_mtime_ns for file in (results.path / "records").iterdir()}
    content = yaml.safe_load((place / "suite.yaml").read_text())
    content["experiments"]["leak"]["methods"] = ("vbu",)  # a tuple, which no file can hold
    assert run(content).path == results.path
    assert {file: file.stat().st_mtime_ns for file in (results.path / "records").iterdir()} == before
    assert "digits" in str(results.leaderboard("leak"))
    assert results.plot_frontier().axes


def test_a_part_is_selected_and_changed_as_on_the_command_line(place: Path) -> None:
    content = yaml.safe_load((place / "suite.yaml").read_text())
    content["experiments"]["leak"] |= {"methods": ["vbu", "crfu"], "attacks": []}
    found = run(content, methods="crfu", overrides={"stop.steps": 1, "beta": 1e-05}, seeds=2, results="here")
    board = found.to_pandas()
    assert found.path == place / "here"
    assert set(board["method"]) == {"original", "retrain", "crfu"}
    assert set(board["n_seeds"]) == {2}
    assert all('"steps":1' in text and '"beta":1e-05' in text for text in board["scenario"])


def test_cells_that_fail_are_counted_and_do_not_raise(place: Path) -> None:
    write_method(place / "plugins", "broken", unlearn="raise RuntimeError('no way')")
    write_suite(place, "broken", attacks="")
    results = run(plugins="plugins")
    assert results.failed == 1
    assert "no way" in results._repr_html_() + str(results.leaderboard())


def test_a_plugin_that_was_edited_is_read_again(place: Path) -> None:
    write_suite(place, "mine", attacks="")
    for words in ("one", "two"):
        write_method(place / "plugins", "mine", unlearn=f"raise RuntimeError('{words}')")
        run(plugins=[place / "plugins"], retry_failed=True)
        assert status_of(place / "results" / "tiny", "mine")[0][1] == f"unlearn: RuntimeError: {words}"


def test_an_interrupt_leaves_what_the_next_call_goes_on_with(place: Path) -> None:
    write_suite(place, "mine", attacks="")
    there = place / "interrupted"
    body = f"""
if not Path({str(there)!r}).exists():
    os.mkdir({str(there)!r})
    os.kill(os.getpid(), signal.SIGINT)
return before.expand(sets.replicas)
"""
    write_method(place / "plugins", "mine", unlearn=body)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="the same call goes on"):
        run(plugins="plugins")
    assert signal.getsignal(signal.SIGINT) is handler
    assert run(plugins="plugins").failed == 0
    assert repr(ub.load("results/tiny")).endswith("3 cells: 3 ok")


def test_no_signal_handler_is_set_outside_the_main_thread(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_suite(place, attacks="")
    asked = []
    monkeypatch.setattr(signal, "signal", lambda *given: asked.append(given))
    found: list[ub.Results] = []
    thread = threading.Thread(target=lambda: found.append(run()))
    thread.start()
    thread.join()
    assert found[0].failed == 0
    assert asked == []


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["serial", "loky"])
def test_the_process_is_as_it_was(engine: str, place: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        variables, filters = dict(os.environ), list(warnings.filters)
        run(engine=engine, jobs=2 if engine == "loky" else None)
        assert torch.get_num_threads() == threads + 1
        assert dict(os.environ) == variables
        assert list(warnings.filters) == filters
        assert multiprocessing.active_children() == []
        children = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True)
        assert "attack_process" not in children.stdout
        assert "loky.backend.popen" not in children.stdout
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
def test_a_script_without_a_main_guard_may_use_workers_and_attacks(place: Path) -> None:
    script = "import unlearnbench as ub\nprint(ub.run('suite.yaml', jobs=2, device='cpu').failed)\n"
    (place / "script.py").write_text(script)
    done = subprocess.run([sys.executable, "script.py"], cwd=place, capture_output=True, text=True, check=False)
    assert done.stdout == "0\n", done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"suite": "quickstrat"}, "'quickstrat': no suite of this name .*; did you mean 'quickstart'"),
        ({"suite": "nothing.yaml"}, "nothing.yaml: no such file"),
        ({"suite": {"name": "x"}}, "suite: 'experiments' is missing"),
        ({"suite": {"name": object()}}, "suite.name: an object can't stand in a suite"),
        ({"experiments": "lea"}, "experiments lea: no experiment 'lea' .*; did you mean 'leak'"),
        ({"methods": ["vbx"]}, "methods vbx: unknown method 'vbx'; did you mean 'vbu'"),
        ({"overrides": {"betta": 1}}, "overrides betta=1: unknown key 'betta'; did you mean 'beta'"),
        ({"engine": "sirial"}, "engine: unknown engine 'sirial'; did you mean 'serial'"),
        ({"jobs": 2}, "jobs: the serial engine runs one job at a time; use engine loky"),
        ({"jobs": 0, "engine": None}, "jobs: must be a whole number from 1"),
        ({"seeds": True}, "seeds: must be a whole number from 1 to 1,000"),
        ({"device": "gpu"}, "device"),
        ({"time_limit": float("nan")}, "time_limit: must be at least 0.1 seconds"),
        ({"plugins": "missing"}, "plugins .*missing: no such folder"),
    ],
)
def test_bad_input_is_one_error_that_names_the_argument(given: dict[str, Any], said: str, place: Path) -> None:
    with pytest.raises(ub.InputError, match=said) as error:
        run(**given)
    assert "\n" not in str(error.value)
    assert " --" not in str(error.value)
    assert not (place / "results").exists()
