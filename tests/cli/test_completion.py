"""Shells complete verbs, options and names, by the program itself and without loading what computes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import write_method

from unlearnbench.suite import packaged

PROGRAM = """
import sys
from unlearnbench.cli.main import main
try:
    sys.exit(main())
finally:
    heavy = {"torch", "pandas", "pyarrow"} & set(sys.modules)
    assert not heavy, heavy
"""


def asked(folder: Path, **variables: str) -> list[str]:
    """The lines that the program answers a shell."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if line]


def bash(folder: Path, *words: str) -> list[str]:
    """What bash is offered for the last word."""
    line = " ".join(words)
    number = str(len(words) - 1)
    return asked(folder, _UNLEARNBENCH_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=number)


def test_verbs_and_options_are_completed(tmp_path: Path) -> None:
    assert bash(tmp_path, "unlearnbench", "ver") == ["verify"]
    assert bash(tmp_path, "unlearnbench", "run", "--fail") == ["--fail-fast"]
    assert bash(tmp_path, "unlearnbench", "run", "quickstart", "--engine", "l") == ["loky"]


def test_suites_are_completed_by_name_and_as_files(tmp_path: Path) -> None:
    (tmp_path / "quick.yaml").write_text("")
    assert bash(tmp_path, "unlearnbench", "run", "q") == ["quickstart", "quick.yaml"]
    assert bash(tmp_path, "unlearnbench", "plan", "") == [*packaged.names(), "quick.yaml"]
    assert bash(tmp_path, "unlearnbench", "plan", "**/[") == []


def test_experiments_are_those_of_the_suite(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("name: own\nexperiments: {small: {}, large: {}}\n")
    assert bash(tmp_path, "unlearnbench", "run", "quickstart", "-e", "") == ["leak", "utility"]
    assert bash(tmp_path, "unlearnbench", "run", "own.yaml", "--experiment", "s") == ["small"]
    assert bash(tmp_path, "unlearnbench", "run", "missing.yaml", "-e", "") == []
    assert bash(tmp_path, "unlearnbench", "run", "-e", "") == []


def test_plugins_are_completed_without_being_loaded(tmp_path: Path) -> None:
    write_method(tmp_path / "mine", "scrubber")
    mine = tmp_path / "mine" / "methods" / "scrubber.py"
    mine.write_text("raise SystemExit('loaded')\n")
    assert bash(tmp_path, "unlearnbench", "run", "quickstart", "-m", "scr") == ["scrub"]
    assert bash(tmp_path, "unlearnbench", "run", "quickstart", "--plugins", "mine", "-m", "scr") == [
        "scrub",
        "scrubber",
    ]
    assert bash(tmp_path, "unlearnbench", "run", "quickstart", "-a", "upd") == ["update_leak"]
    assert bash(tmp_path, "unlearnbench", "run", "quickstart", "-d", "mn") == ["mnist"]
    assert bash(tmp_path, "unlearnbench", "check", "mem") == ["membership"]
    assert bash(tmp_path, "unlearnbench", "info", "digi") == ["digits"]
    assert bash(tmp_path, "unlearnbench", "run", "quickstart", "--plugins", "missing", "-m", "scr") == []


def test_zsh_is_answered_in_its_own_form(tmp_path: Path) -> None:
    answer = asked(tmp_path, _UNLEARNBENCH_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="unlearnbench run quick")
    assert answer == ["_arguments '*: :((\"quickstart\"))'"]
    answer = asked(tmp_path, _UNLEARNBENCH_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="unlearnbench val")
    assert answer == ['_arguments \'*: :(("validate":"Check a suite file."))\'']


@pytest.mark.slow
def test_bash_completes_after_the_script_that_is_shown(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    (tmp_path / "unlearnbench").write_text(f'#!/bin/sh\nexec {sys.executable} -m unlearnbench "$@"\n')
    (tmp_path / "unlearnbench").chmod(0o755)
    script = """
eval "$(unlearnbench --show-completion bash)"
COMP_WORDS=(unlearnbench validate tune) COMP_CWORD=2
_unlearnbench_completion unlearnbench
echo "${COMPREPLY[@]}"
"""
    variables = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=variables, cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("tune_mnist\n", "")
