"""Progress where stderr is no terminal: plain lines."""

from __future__ import annotations

import sys

import pytest

from unlearnbench import progress
from unlearnbench.progress import Progress


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
        "tasks 2/10, 12 s, about 48 s left, attack digits vbu",
        "tasks 4/10, 24 s, about 36 s left, attack digits vbu",
        "failed: \\x1b[31mloud",
        "tasks 7/12, 24 s, about 17 s left, 3 failed",
    ]


def test_nothing_to_do_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(0):
        pass
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_that_a_plugins_text_can_not_break(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress(2) as shown:
        shown.advance("[red]one[/nothing]")
        shown.note("[bold]kept[/bold]")
        shown.grow(1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "[bold]kept[/bold]" in captured.err
    assert "2 failed" not in captured.err
