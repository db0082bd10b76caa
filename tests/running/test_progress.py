"""Progress where stderr is no terminal: plain lines; on one: a bar and a line a worker; in the log: everything."""

from __future__ import annotations

import contextlib
import logging
import logging.config
import re
import sys
from pathlib import Path

import pytest

from unlearnbench.running import log as run_log
from unlearnbench.running import progress
from unlearnbench.running.log import KEPT, RunLog, begin
from unlearnbench.running.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_now_and_then_with_the_time_that_is_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(10) as shown:
        for _ in range(4):
            clock[0] += 6
            shown.advance("attack digits\nvbu")
        shown.grow(2)
        shown.advance("unlearn", failed=3)
        shown.note("failed: \x1b[31mloud")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "tasks 2/10, 12 s, 10 tasks/min, about 48 s left, attack digits vbu",
        "tasks 4/10, 24 s, 10 tasks/min, about 36 s left, attack digits vbu",
        "failed: \\x1b[31mloud",
        "tasks 7/12 (3 failed), 24 s, 17.5 tasks/min, about 17 s left",
    ]


def test_lines_tell_cells_and_what_each_worker_does(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(4, cells=5, cached=7) as shown:
        shown.start("a", "train digits")
        shown.start("b", "unlearn\ndigits \x1b[31mvbu")
        shown.end("a")
        shown.start("c", "attack digits")  # by the worker that is free
        shown.cell()
        shown.cell(failed=True)
        clock[0] = 12
        shown.advance("train digits")
        shown.end("b")
        shown.end("c", "lost")
    assert capsys.readouterr().err.splitlines() == [
        "tasks 1/4, cells 1/5 (1 failed, 7 cached), 12 s, 5 tasks/min, about 36 s left,"
        " now 1: attack digits; 2: unlearn digits \\x1b[31mvbu",
        "tasks 1/4, cells 1/5 (1 failed, 7 cached), 12 s, 5 tasks/min, about 36 s left",
    ]


def test_nothing_to_do_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(0):
        pass
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_that_a_plugins_text_can_not_break(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal, too
    monkeypatch.setenv("COLUMNS", "100")
    with Progress(2, cells=3, cached=4) as shown:
        shown.start("a", "[red]one[/nothing] \x1b[31mloud")
        shown.cell()
        shown.advance("[red]one[/nothing]")
        shown.note("[bold]kept[/bold]")
        shown.grow(1)
        assert shown._bar is not None
        shown._bar.refresh()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "[bold]kept[/bold]" in captured.err
    assert "1: [red]one[/nothing] \\x1b[31mloud" in captured.err
    assert "cells 1/3 (4 cached)" in captured.err
    assert "\x1b[31mloud" not in captured.err


# --- the log ---------------------------------------------------------------------------------------------------------


def told(path: Path) -> list[str]:
    """The lines of a log without their times."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 ", "", line) for line in lines]


@pytest.mark.parametrize("verbose", [False, True])
def test_the_log_hears_of_everything_and_verbose_shows_it(
    clock: list[float], tmp_path: Path, capsys: pytest.CaptureFixture[str], verbose: bool
) -> None:
    log = RunLog(tmp_path / "logs")

    def interrupted() -> None:
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt), Progress(2, cells=1, log=log, verbose=verbose) as shown:
        shown.start("a", "train \x1bdigits")
        clock[0] = 1.5
        shown.end("a")
        shown.advance("train digits", failed=1)
        shown.note("failed: train", "Traceback:\n  \x1b[31mloud\ud800\n")
        assert told(log.path)[:2] == ["start train \\x1bdigits (worker 1)", "end train \\x1bdigits (worker 1, 1.50 s)"]
        interrupted()
    events = ["start train \\x1bdigits (worker 1)", "end train \\x1bdigits (worker 1, 1.50 s)", "failed: train"]
    trace = ["Traceback:", "  \\x1b[31mloud\\ud800"]
    assert told(log.path) == [
        *events,
        *(f"    {line}" for line in trace),
        "end by KeyboardInterrupt: tasks 1/2 (1 failed), cells 0/1, 2 s, 40 tasks/min, about 2 s left",
    ]
    *shown_lines, _ = capsys.readouterr().err.splitlines()
    assert shown_lines == ([*events, *trace] if verbose else ["failed: train"])


def test_a_log_begins_with_command_code_and_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["unlearnbench", "run", "my suite.yaml"])
    monkeypatch.setattr(run_log, "git_state", lambda: ("abc", True))
    log = begin(tmp_path, "cpu", {"engine": "serial"})
    command, versions, git, host, about = told(log.path)
    assert command == "command: unlearnbench run 'my suite.yaml'"
    assert versions.startswith("versions: unlearnbench ")
    assert "torch" in versions
    assert git == "git: abc with changes"
    assert host.startswith("host: ")
    assert about == "engine: serial"


def test_logs_of_the_last_runs_are_kept_and_nothing_else_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.log").write_text("mine")
    for number in range(KEPT + 5):
        (tmp_path / f"20240101T0000{number:02d}.000000Z.log").write_text("")
    log = RunLog(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        *(f"20240101T0000{number:02d}.000000Z.log" for number in range(6, KEPT + 5)), log.path.name, "notes.log",
    ]  # fmt: skip


def test_a_plugin_that_sets_up_logging_leaves_the_runs_log_alone(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    logging.config.dictConfig({"version": 1})  # closes every handler there is
    log.info("after")
    logging.disable(logging.CRITICAL)
    try:
        log.info("disabled")
    finally:
        logging.disable(logging.NOTSET)
    log.close()
    assert [line.split(" ", 1)[1] for line in log.path.read_text().splitlines()] == ["after", "disabled"]


def test_two_logs_of_one_moment_are_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(run_log.datetime):
        @classmethod
        def now(cls, tz: object = None) -> run_log.datetime:
            return cls(2025, 1, 1, tzinfo=run_log.UTC)

    monkeypatch.setattr(run_log, "datetime", Stopped)
    assert [RunLog(tmp_path).path.name for _ in range(2)] == [
        "20250101T000000.000000Z.log", "20250101T000000.000000Z-1.log",
    ]  # fmt: skip
