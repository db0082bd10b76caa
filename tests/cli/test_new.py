"""`unlearnbench new`: what it writes works as it is, and where it can't write it writes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

import unlearnbench
from unlearnbench.cli import main as cli
from unlearnbench.cli import new as cli_new
from unlearnbench.registry.base import KINDS
from unlearnbench.registry.registry import discover

HEAVY = ("torch", "pandas", "pyarrow", "numpy", "sklearn", "yaml")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """`unlearnbench new ...` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(["new", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the checkout that the program runs from."""
    for name in ("unlearnbench/datasets", "methods", "attacks", "tests/methods", "tests/attacks"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(cli_new, "__file__", str(tmp_path / "unlearnbench" / "cli" / "new.py"))
    return tmp_path


def test_the_checkout_of_this_program_is_known_and_no_other_folder(tmp_path: Path) -> None:
    assert cli_new._is_checkout(ROOT)
    assert not cli_new._is_checkout(tmp_path)


def written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_and_its_test_are_written_and_the_next_two_commands_named(
    kind: str, call: Call, tmp_path: Path
) -> None:
    assert call(kind, "slow_fade", "--into", "mine") == (
        0,
        "wrote mine/slow_fade.py and mine/test_slow_fade.py\n"
        "next, after each change:\n"
        f"    unlearnbench check slow_fade --kind {kind} --plugins mine\n"
        "    pytest mine/test_slow_fade.py\n",
        "",
    )
    assert written(tmp_path) == ["mine/slow_fade.py", "mine/test_slow_fade.py"]
    text = (tmp_path / "mine" / "slow_fade.py").read_text()
    assert text.startswith('"""Slow fade: say in one line')
    assert "class SlowFade(" in text
    assert len(text.splitlines()) < 40
    assert "$" not in text
    registry = discover([tmp_path / "mine"])
    assert registry.broken == []
    assert registry.of(kind)["slow_fade"].cls.__name__ == "SlowFade"  # type: ignore[arg-type]


def test_by_default_it_is_written_to_the_current_folder(call: Call, tmp_path: Path) -> None:
    assert call("method", "mine")[1].splitlines()[-2:] == [
        "    unlearnbench check mine --kind method --plugins .",
        "    pytest test_mine.py",
    ]
    assert written(tmp_path) == ["mine.py", "test_mine.py"]


def test_in_a_checkout_it_becomes_built_in(call: Call, checkout: Path) -> None:
    assert call("attack", "mine")[1].splitlines() == [
        "wrote attacks/mine.py and tests/attacks/test_mine.py",
        "next, after each change:",
        "    unlearnbench check mine --kind attack",
        "    pytest tests/attacks/test_mine.py",
    ]
    assert call("dataset", "mine")[1].startswith(
        "wrote unlearnbench/datasets/mine.py and tests/datasets/test_mine_dataset.py"
    )
    assert "FOLDERS: list[Path] = []" in (checkout / "tests/attacks/test_mine.py").read_text()
    assert call("method", "mine", "--into", "elsewhere")[0] == 0
    assert written(checkout / "elsewhere") == ["mine.py", "test_mine.py"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["method", "Big-Name"], "error: 'Big-Name': a name is lower-case letters, digits and _, starts with"),
        (["method", "../up"], "error: '../up': a name is lower-case letters"),
        (["method", "a\x1b[31m"], "error: 'a\\x1b[31m': a name is lower-case letters"),
        (["method", "x" * 41], "error: 'xxxxxxxx"),
        (["method", ""], "error: '': a name is lower-case letters"),
        (["method", "class"], "error: class: means something else to Python or pytest"),
        (["method", "test_it"], "error: test_it: means something else to Python or pytest"),
        (["method", "crfu"], "error: crfu: there is a method of this name: "),
        (["attack", "membership"], "error: membership: there is an attack of this name: "),
        (["method", "new_one", "--into", "file"], "error: file: not a folder"),
        (["method", "new_one", "--into", "file/deep"], "error: file/deep"),
        (["metod", "new_one"], "error: unlearnbench new: no such command 'metod'; did you mean 'method', 'model'?"),
        (["method"], "error: unlearnbench new method: missing argument"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2_and_nothing_written(
    arguments: list[str], expected: str, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(expected)
    assert written(tmp_path) == ["file"]


@pytest.mark.parametrize("there", ["mine.py", "test_mine.py"])
def test_nothing_is_written_over(there: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / there).write_text("precious")
    code, out, err = call("method", "mine")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "mine.py" in err
    assert written(tmp_path) == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_a_broken_plugin_keeps_its_name(call: Call, tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "mine.py").write_text("raise RuntimeError")
    assert call("method", "mine")[2].startswith("error: mine: there is a method of this name: ")
    assert call("attack", "mine")[0] == 0


@pytest.mark.parametrize("failing", [1, 2])
def test_where_one_file_can_not_be_written_neither_is(
    failing: int, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    original = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **more: Any) -> Any:
        if mode == "x":
            opened.append(self)
            if len(opened) == failing:
                raise OSError(28, "No space left on device")
        return original(self, mode, *args, **more)

    monkeypatch.setattr(Path, "open", full)
    code, out, err = call("method", "mine", "--into", "deep/down")
    assert (code, out) == (2, "")
    assert (
        err == f"error: deep/down/{'test_' if failing == 2 else ''}mine.py: can't be written: No space left on device\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    code, _, err = call("method", "mine", "--into", "locked")
    assert (code, err) == (2, "error: locked/mine.py: can't be written: Permission denied\n")


def test_it_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom unlearnbench.cli.main import main\ncode = main(['new', 'method', 'mine'])\n"
        f"sys.exit(str([name for name in {HEAVY!r} if name in sys.modules]) if code == 0 else code)"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stderr.strip() == "[]"


def test_the_templates_are_installed() -> None:
    names = {path.name for path in (Path(unlearnbench.__file__).parent / "registry" / "templates").iterdir()}
    assert names == {f"{test}{kind}.py.txt" for kind in KINDS for test in ("", "test_")}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_formatted_and_of_good_style(kind: str, call: Call, tmp_path: Path) -> None:
    call(kind, "slow_fade", "--into", f"{kind}s")
    files = [str(tmp_path / f"{kind}s" / f"{test}slow_fade.py") for test in ("", "test_")]
    for verb in (["format", "--check"], ["check", "--ignore", "ARG002"]):  # ignored in methods/ and attacks/, too
        command = [sys.executable, "-m", "ruff", *verb, "--config", str(ROOT / "pyproject.toml"), *files]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.slow
def test_what_is_written_has_types(call: Call, tmp_path: Path) -> None:
    files = []
    for kind in KINDS:
        call(kind, f"my_{kind}", "--into", "mine")
        files += [str(tmp_path / "mine" / f"{test}my_{kind}.py") for test in ("", "test_")]
    ran = subprocess.run([sys.executable, "-m", "mypy", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_passes_its_own_test_and_so_the_check(kind: str, call: Call, tmp_path: Path) -> None:
    call(kind, "slow_fade")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_slow_fade.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout
