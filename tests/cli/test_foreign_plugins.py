"""What a plugin says of itself and of its failures commands no terminal: stdout, stderr, logs, and what is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile_text import EVERYTHING, commanding
from tiny_runs import Place, rows, write_method, write_suite

from unlearnbench.cli import main as cli


def test_a_plugins_words_command_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, capsys, monkeypatch)
    write_suite(tmp_path, methods="loud", attacks="")
    write_method(
        tmp_path / "own", "loud", f"__doc__ = {EVERYTHING!r}\npaper = {EVERYTHING!r}", "raise ValueError(HOSTILE)"
    )
    source = tmp_path / "own" / "methods" / "loud.py"
    source.write_text(f"{EVERYTHING!r}\n{source.read_text()}\nHOSTILE = {EVERYTHING!r}\n")
    ran = place.run("--plugins", "own", "--verbose")
    assert (ran.code, ran.counts["failed"]) == (1, 1)
    assert "www.evil.example" in ran.err
    (error,) = {row["error"] for row in rows(place.results) if row["error"]}
    logs = [path.read_text() for path in (place.results / "logs").glob("*.log")]
    for said in (ran.out, ran.err, error, (place.results / "errors.log").read_text(), *logs):
        assert not commanding(said)
    for verb in (["info", "loud"], ["list"], ["list", "--long"], ["info", "loud", "--format", "json"]):
        assert cli.main([*verb, "--plugins", "own"]) == 0
        printed = capsys.readouterr()
        assert "www.evil.example" in printed.out
        assert not commanding(printed.out + printed.err)
