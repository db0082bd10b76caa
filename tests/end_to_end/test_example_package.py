"""examples/unlearnbench-example: entry points, in an environment of their own, with nothing downloaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from checkout import ROOT

EXAMPLE = ROOT / "examples" / "unlearnbench-example"
NAMES = {
    "example_fade": "method", "example_threshold": "attack", "example_stripes": "dataset", "example_patches": "model"
}  # fmt: skip


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment's interpreter; what the tests run with can be imported there, and the example is installed."""
    folder = tmp_path_factory.mktemp("example")
    source = shutil.copytree(
        EXAMPLE, folder / "example", ignore=shutil.ignore_patterns("*.egg-info", "build", "__pycache__")
    )
    run([sys.executable, "-m", "venv", "--without-pip", str(folder / "environment")], folder)
    interpreter = folder / "environment" / "bin" / "python"
    own = subprocess.run(
        [interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    # A plain path would not do: an editable install of unlearnbench is a .pth file of its own.
    here = sysconfig.get_path("purelib")
    Path(own, "tested.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    install = ["install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", str(source)]
    run([sys.executable, "-m", "pip", "--python", str(interpreter), *install], folder)
    return interpreter


def run(command: list[str], folder: Path) -> str:
    """Its stdout; fails with all that it says."""
    local = {"UNLEARNBENCH_CACHE": str(folder / "cache"), "UNLEARNBENCH_DATA": str(folder / "data")}
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **local})
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def unlearnbench(python: Path, folder: Path, *arguments: str) -> str:
    program = "import sys; from unlearnbench.cli.main import main; sys.exit(main())"
    return run([str(python), "-c", program, *arguments], folder)


@pytest.mark.slow
def test_installed_plugins_are_listed_with_their_distribution(python: Path, tmp_path: Path) -> None:
    found = json.loads(unlearnbench(python, tmp_path, "list", "--format", "json"))
    ours = {plugin["name"]: plugin for plugin in found["plugins"] if plugin["name"] in NAMES}
    assert {name: plugin["kind"] for name, plugin in ours.items()} == NAMES
    assert {plugin["source"] for plugin in ours.values()} == {"entry point"}
    assert ours["example_fade"]["origin"] == "unlearnbench-example 0.1.0: unlearnbench_example.fade:Fade"
    assert found["broken"] == []
    shown = " ".join(unlearnbench(python, tmp_path, "info", "example_threshold").split())  # folded to 80 columns
    assert "from: entry point unlearnbench-example 0.1.0: unlearnbench_example.threshold:" in shown
    assert "sees: level log_probabilities, 16 shadows, tier same" in shown


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_installed_plugins_keep_every_rule(name: str, python: Path, tmp_path: Path) -> None:
    found = json.loads(unlearnbench(python, tmp_path, "check", name, "--format", "json"))
    assert (found["passed"], found["kind"]) == (True, NAMES[name])
    assert {check["status"] for check in found["checks"]} == {"pass"}


@pytest.mark.slow
def test_a_suite_of_installed_plugins_runs(python: Path, tmp_path: Path) -> None:
    suite = str(EXAMPLE / "suite.yaml")
    out = unlearnbench(python, tmp_path, "run", suite, "--engine", "loky", "--jobs", "2", "--device", "cpu")
    assert out == "cells: planned=6 done=6 cached=0 failed=0 skipped=0\n"
    table = json.loads(unlearnbench(python, tmp_path, "report", "results/example", "--format", "json"))
    assert {(row["dataset"], row["attack"]) for row in table} == {("example_stripes", "example_threshold")}
    assert {row["method"] for row in table} == {"original", "retrain", "example_fade"}


@pytest.mark.slow
def test_the_examples_own_tests_pass(python: Path, tmp_path: Path) -> None:
    tests = str(EXAMPLE / "tests")
    out = run([str(python), "-m", "pytest", "-p", "no:cacheprovider", "-k", "not rule", tests], tmp_path)
    assert "3 passed" in out
