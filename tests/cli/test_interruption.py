"""Signals that ask to end, where test_engine.py does not send them: other verbs, unlucky moments, nohup."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sessions import WAITS, finished_records, session, wait_for
from tiny_runs import Ran, finish, start, write_method, write_suite

from unlearnbench.cli import main as cli
from unlearnbench.system import interruption

MESSAGE = "interrupted; run the same command to go on\n"
HOLDS = """
import importlib, os, sys, time
from pathlib import Path
from unlearnbench.cli.main import main
def hold(module, name):
    original = getattr(module, name)
    def held(*args, **kwargs):
        Path(os.environ["HELD"]).touch()
        time.sleep(60)
        return original(*args, **kwargs)
    setattr(module, name, held)
"""


def program(folder: Path, hook: str, *arguments: str) -> subprocess.Popen[str]:
    """`unlearnbench` with these arguments, which stops for a minute at the function `hook`, a dotted name."""
    module, _, name = hook.rpartition(".")
    code = f"{HOLDS}\nhold(importlib.import_module({module!r}), {name!r})\nsys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        env={**os.environ, "UNLEARNBENCH_CACHE": str(folder / "cache"), "TMPDIR": str(folder / "temporary"),
             "HELD": str(folder / "held"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite and its results."""
    folder = tmp_path_factory.mktemp("interruption")
    (folder / "temporary").mkdir()
    write_suite(folder, methods="original", attacks="")
    assert finish(start(folder)).code == 0
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.faults
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["TERM", "HUP"])
@pytest.mark.parametrize(
    ("hook", "arguments"),
    [
        ("unlearnbench.report.export.export", ("publish", "results/tiny", "--out", "site")),
        ("unlearnbench.leaderboard.build.assemble", ("report", "results/tiny")),
        ("unlearnbench.submissions.agreement.differences", ("verify", "results/tiny", "--sample", "1")),
        ("unlearnbench.conformance.supervisor._listen", ("check", "vbu")),
        ("unlearnbench.leaderboard.build.assemble", ("merge", "results/tiny", "--out", "merged")),
    ],
    ids=["publish", "report", "verify", "check", "merge"],
)
def test_other_verbs_leave_nothing_half_written(
    place: Path, hook: str, arguments: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    before = files(place)
    process = program(place, hook, *arguments)
    wait_for((place / "held").exists)
    os.killpg(process.pid, number)
    ran = finish(process)
    (place / "held").unlink()
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert ran.err.endswith(MESSAGE)
    assert "Traceback" not in ran.err
    wait_for(lambda: not session(process.pid), seconds=5)
    assert files(place) == before


@pytest.mark.faults
def test_tune_leaves_the_choice_of_before(tmp_path: Path) -> None:
    write_suite(tmp_path, methods="original", attacks="")
    text = (
        (tmp_path / "suite.yaml").read_text().replace("kind: leak", "kind: utility").replace("      targets: 2\n", "")
    )
    text = "".join(line for line in text.splitlines(keepends=True) if "leak: {" not in line and "attacks" not in line)
    text = text.replace("[original]", "[{neggrad_plus: {lr: [0.1, 0.01]}}]").replace("  leak:", "  forget:")
    text += "    tune: {metric: remaining_accuracy}\n"
    (tmp_path / "suite.yaml").write_text(text.replace("kind: utility", "kind: utility\n      validation: 50"))
    tuned = tmp_path / "results" / "tiny"
    first = program(tmp_path, "unlearnbench.cli.tune.emit_table", "tune", "suite.yaml", "--engine", "serial")
    (tmp_path / "temporary").mkdir()
    wait_for((tmp_path / "held").exists)
    os.killpg(first.pid, signal.SIGTERM)
    ran = finish(first)
    assert (ran.code, ran.err.endswith(MESSAGE)) == (143, True), ran.err
    before = files(tuned)
    assert "tuned.yaml" in before
    (tmp_path / "held").unlink()
    second = program(tmp_path, "unlearnbench.report.tuned.write_atomically", "tune", "suite.yaml", "--engine", "serial")
    wait_for((tmp_path / "held").exists)
    os.killpg(second.pid, signal.SIGHUP)
    assert finish(second).code == 129
    assert {name: text for name, text in files(tuned).items() if not name.startswith("logs")} == {
        name: text for name, text in before.items() if not name.startswith("logs")
    }


@pytest.mark.faults
def test_what_was_ignored_at_the_start_stays_ignored(tmp_path: Path) -> None:
    write_method(tmp_path / "own", "waits", unlearn=WAITS)
    write_suite(tmp_path, methods="waits", attacks="")
    ignored = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"  # as nohup does
    code = f"{ignored}import sys\nfrom unlearnbench.cli.main import main\nsys.exit(main())"
    arguments = ["run", "suite.yaml", "--plugins", "own", "--engine", "loky", "--jobs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, env={**os.environ, "UNLEARNBENCH_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    wait_for((tmp_path / "started").exists)
    os.killpg(process.pid, signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    (tmp_path / "go").touch()
    ran = finish(process)
    assert (ran.code, ran.counts["done"]) == (0, 3), ran.err
    assert "worker process died" not in ran.err
    assert len(finished_records(tmp_path)) == 3


# --- in this process -------------------------------------------------------------------------------------------------


def test_a_signal_that_comes_twice_at_once_is_one_and_a_later_one_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with interruption.listening() as ending:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        now[0] = interruption.TWICE + 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert ending.code == 143  # the first counts


def test_what_is_held_is_finished_first() -> None:
    done = []

    def work() -> None:
        with interruption.held(), interruption.held():
            signal.raise_signal(signal.SIGINT)
            done.append(1)
        done.append(2)

    with interruption.listening(), pytest.raises(KeyboardInterrupt):
        work()
    assert done == [1]


def test_handlers_are_as_before_when_the_program_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(number) for number in interruption.SIGNALS]
    assert cli.main(["--version"]) == 0
    assert [signal.getsignal(number) for number in interruption.SIGNALS] == before


def test_the_message_is_for_all_who_are_interrupted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "emit", lambda _: signal.raise_signal(signal.SIGHUP))
    code = cli.main(["--version"])
    captured = capsys.readouterr()
    assert Ran(code, captured.out, captured.err.lstrip()) == Ran(129, "", MESSAGE)
