"""Whatever is wrong with a suite: one line on stderr, exit code 2, nothing on stdout, and no file written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import malformed_suites
import pytest
import typer
import yaml
from fake_plugins import fake_registry

from unlearnbench.cli import main as cli
from unlearnbench.registry.registry import Registry
from unlearnbench.suite.suite import load_suite

Complaint = Callable[[Sequence[str]], str]
SUITES = list(malformed_suites.suites())


def registry(plugin_dirs: Sequence[Path] = ()) -> Registry:
    return replace(fake_registry(), broken=[])  # whose warning would be a line of its own


@pytest.fixture
def complaint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complaint:
    """What `run SUITE` says against a suite in an empty folder, once it has been found to be as it should."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unlearnbench.registry.registry.discover", registry)
    # What takes long and is the same each time: hashing this package, and making the commands.
    monkeypatch.setattr("unlearnbench.running.up_to_date.request", lambda *asked: None)
    command = typer.main.get_command(cli.app)
    monkeypatch.setattr("typer.main.get_command", lambda app: command)
    monkeypatch.setenv("UNLEARNBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNLEARNBENCH_DATA", str(tmp_path / "data"))

    def call(arguments: Sequence[str]) -> str:
        before = sorted(tmp_path.rglob("*"))
        code = cli.main(["run", *arguments])
        out, err = capsys.readouterr()
        assert (code, out) == (2, "")
        assert sorted(tmp_path.rglob("*")) == before
        assert err.startswith("error: ")
        assert err.endswith("\n")
        assert err[:-1].isprintable(), ascii(err)  # neither a second line nor anything that commands a terminal
        assert len(err) < 2_100
        assert "Traceback" not in err
        return err

    return call


def test_there_are_enough_and_the_one_they_are_made_from_is_right(tmp_path: Path) -> None:
    assert len({content for _, content in SUITES}) >= 500
    path = tmp_path / "suite.yaml"
    for right in (yaml.safe_dump(malformed_suites.VALID), f"name: tiny{malformed_suites.REST}"):
        path.write_text(right)
        assert load_suite(path, registry()).settings()


@pytest.mark.parametrize("part", range(8))
def test_a_malformed_suite_is_one_line(complaint: Complaint, part: int) -> None:
    wrong = []
    for what, content in SUITES[part::8]:
        Path("suite.yaml").write_bytes(content)
        try:
            assert complaint(["suite.yaml"]).startswith("error: suite.yaml")
        except Exception as error:  # all that are wrong are told at once
            wrong.append(f"{what}: {type(error).__name__}: {str(error)[:400]}")
    assert not wrong, "\n".join(wrong)


def test_what_is_no_file_is_one_line(complaint: Complaint, tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "lost.yaml").symlink_to("nowhere")
    names = ("folder.yaml", "loop.yaml", "lost.yaml", "none.yaml", "", "a" * 300, "folder.yaml/x", "\x1b[31m.yaml")
    for name in (*names, "suite\nyaml", "\ud800.yaml", "/dev/null"):
        complaint([name])
