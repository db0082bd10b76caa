"""What breaks without an error when files of the package move: nothing that is found by name or by place is lost."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT
from tiny_runs import write_suite

from unlearnbench.records import writing as records
from unlearnbench.registry.base import KINDS
from unlearnbench.registry.registry import discover
from unlearnbench.system import provenance

PLACES = ("unlearnbench", "methods", "attacks", "suites")
BESIDE = {f"unlearnbench.{place}" for place in PLACES[1:]}
NAMED = re.compile(r"unlearnbench(?:\.[a-z_]\w*)+", re.IGNORECASE)


def modules() -> Iterator[Path]:
    for place in PLACES:
        yield from sorted((ROOT / place).rglob("*.py"))


def test_records_say_the_commit_that_the_package_runs_from() -> None:
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode:
        pytest.skip("no checkout")
    assert provenance.git_state.__wrapped__()[0] == head.stdout.strip()


def test_every_plugin_file_is_found() -> None:
    registry = discover()
    folders = {"method": ROOT / "methods", "attack": ROOT / "attacks", "dataset": ROOT / "unlearnbench" / "datasets",
               "model": ROOT / "unlearnbench" / "networks"}  # fmt: skip
    for kind in KINDS:
        files = {path.stem for path in folders[kind].glob("*.py") if not path.name.startswith("_")}
        assert {name for name, info in registry.of(kind).items() if info.builtin} == files


def test_modules_that_are_named_in_strings_are_there() -> None:
    """Names for importlib, `python -m`, entry points: no linter reads them."""
    missing, other = [], {records.CLASSES}  # a name in the metadata of records
    for path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        for name in sorted(text for text in texts - other if NAMED.fullmatch(text)):
            missing += [f"{path.relative_to(ROOT)}: {name}"] if not is_there(name) else []
    assert not missing


def test_tests_lie_in_folders_that_mirror_the_package() -> None:
    tests = ROOT / "tests"
    names = [path.stem for path in tests.rglob("test_*.py")]
    assert len(names) == len(set(names)), "two test modules of one name can't both be imported"
    rooms = {path.parent.relative_to(tests).as_posix() for path in tests.rglob("test_*.py")}
    beside = {"attacks", "methods", "benchmarks", "documentation", "end_to_end"}
    assert rooms - beside <= {path.parent.name for path in (ROOT / "unlearnbench").glob("*/__init__.py")}
    shared = {path.stem for path in tests.glob("*.py")}
    for path in tests.rglob("*.py"):
        imported = set(re.findall(r"^from (test_\w+) import", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert all((path.parent / f"{name}.py").is_file() for name in imported), f"{path}: share it in tests/"
    assert not {name for name in shared if name.startswith("test_")}


def test_one_name_for_one_thing() -> None:
    """A class, or another name of a type, is defined once in the package."""
    places: dict[str, list[str]] = {}
    for path in sorted((ROOT / "unlearnbench").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            defined = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                defined = [target.id for target in targets if isinstance(target, ast.Name)]
            for name in defined:
                if name[0].isupper() and not name.isupper():
                    places.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


ROOM = re.compile(r"^\| (\d) \| (.*?) \|", re.MULTILINE)
ABOVE = {"cli", "site", "submissions", "conformance", "report", "running", "claims", "leaderboard", "stages", "records"}


def test_built_in_plugins_import_the_contract_and_what_is_below_it() -> None:
    """They lie beside the package, where import-linter does not look."""
    for folder in ("methods", "attacks"):
        for path in sorted((ROOT / folder).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                modules += (
                    [f"{node.module}.{each.name}" for each in node.names] if isinstance(node, ast.ImportFrom) else []
                )
                rooms = {name.split(".")[1] for name in modules if name.startswith("unlearnbench.")}
                assert not rooms & ABOVE, path


def test_every_folder_of_the_package_is_installed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"])
    found = {path.parent.relative_to(ROOT) for path in (ROOT / "unlearnbench").rglob("*.py")}
    assert {".".join(folder.parts) for folder in found} == listed - BESIDE
    flat = {path.name for path in (ROOT / "unlearnbench").iterdir() if path.is_file()}
    assert flat == {"__init__.py", "__main__.py", "plugin.py", "py.typed"}


def test_the_map_for_contributors_names_what_is_there_on_the_storeys_that_are_kept() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms, places = page[page.index("## The rooms") :].split("Where a change goes:")
    said = [(int(storey), re.findall(r"`(\w+)(?:/|\.py)`", names)) for storey, names in ROOM.findall(rooms)]
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ][0]
    kept = [(9 - number, each.split(" | ")) for number, each in enumerate(contract["layers"])]
    beside = {"methods", "attacks"}
    told = {room: storey for storey, names in said for room in names if room not in beside}
    assert told == {room: storey for storey, names in kept for room in names}
    named = re.findall(r"`([\w./]+/[\w./]*)`", places[: places.index("## ")])
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def is_there(name: str) -> bool:
    """Whether it is a module, what a module holds, or a group of entry points."""
    if importlib.util.find_spec(name):
        return True
    module, _, attribute = name.rpartition(".")
    return hasattr(importlib.import_module(module), attribute)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the files of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for place in PLACES:
        shutil.copytree(ROOT / place, source / place, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content in a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_every_file_of_the_package(installed: Path) -> None:
    for place in PLACES:
        inside = installed / ("unlearnbench" if place == "unlearnbench" else f"unlearnbench/{place}")
        for path in (ROOT / place).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert (inside / path.relative_to(ROOT / place)).is_file(), path


@pytest.mark.faults
def test_the_wheel_works_from_another_folder(installed: Path, tmp_path: Path) -> None:
    """Lists plugins, writes one from its template, and runs a suite in worker processes."""
    suite = write_suite(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}

    def program(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "unlearnbench", *arguments], cwd=tmp_path, env=environment, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert all(name in program("list") for name in ("crfu", "update_leak", "digits"))
    program("new", "method", "my_method", "--into", "here")
    assert "failed=0" in program("run", str(suite), "--cache", "cache", "--results", "results", "--jobs", "2")


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command after `pip install WHEEL` in a new environment, which finds the other packages where the tests do."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)], check=True)
    # Afterwards: pip would find the checkout there, and take the wheel for installed.
    Path(own, "tested.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return folder / "bin" / "unlearnbench"


def ran(program: Path, folder: Path, *arguments: str) -> str:
    """What the installed command prints in a folder of its own; fails with all that it says."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    local = {"UNLEARNBENCH_CACHE": str(folder / "cache"), "UNLEARNBENCH_DATA": str(folder / "data")}
    done = subprocess.run(
        [program, *arguments], cwd=folder, env=environment | local, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_verbs_of_the_installed_wheel_find_its_suites_by_name(program: Path, tmp_path: Path) -> None:
    python = program.with_name("python")
    ask = [python, "-P", "-c", "import unlearnbench; print(unlearnbench.__file__)"]
    where = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    assert Path(where).is_relative_to(program.parents[1])
    for name in (path.stem for path in (ROOT / "suites").glob("*.yaml") if "." not in path.stem):
        assert ran(program, tmp_path, "validate", name).startswith(f"{name}: valid; cells: ")
    assert "tasks: train=" in ran(program, tmp_path, "plan", "quickstart", "-e", "utility")
    assert ran(program, tmp_path, "prepare", "quickstart").startswith("digits: train=")
    shutil.copytree(ROOT / "results" / "paper" / "records", tmp_path / "results" / "paper" / "records")
    by_default = ran(program, tmp_path, "compare", "results/paper", "--format", "json")
    assert ran(program, tmp_path, "compare", "results/paper", "--claims", "paper", "--format", "json") == by_default


@pytest.mark.faults
def test_the_installed_wheel_runs_quickstart_in_any_folder(program: Path, tmp_path: Path) -> None:
    counts = "cells: planned=24 done=24 cached=0 failed=0 skipped=0\n"
    assert ran(program, tmp_path, "run", "quickstart", "--seeds", "1", "--jobs", "2") == counts
    assert "leak / digits" in ran(program, tmp_path, "report", "results/quickstart")
