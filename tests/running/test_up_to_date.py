"""Receipts: a finished run ends at once, and no change of what it read or wrote goes unnoticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_runs import Place, write_method, write_suite

from unlearnbench.registry import fingerprint
from unlearnbench.running import up_to_date
from unlearnbench.running.up_to_date import Request

HEAVY = ("torch", "numpy", "pandas", "pyarrow", "sklearn", "unlearnbench.settings.scenario")


class World:
    """A finished run, faked: a suite, data, a plugin folder and records."""

    def __init__(self, root: Path) -> None:
        self.root, self.results = root, root / "results"
        for name in ("data/MNIST/raw", "own/methods", "results/records"):
            (root / name).mkdir(parents=True)
        self.suite, self.data = root / "suite.yaml", root / "data" / "MNIST" / "raw" / "train.gz"
        self.plugin = root / "own" / "methods" / "mine.py"
        for file in (self.suite, self.data, self.plugin):
            file.write_text("name: tiny")
        info = SimpleNamespace(builtin=True)
        network = SimpleNamespace(params=SimpleNamespace(keyed_packages=()))
        setting = SimpleNamespace(dataset=SimpleNamespace(info=info), network=network)
        cells = [SimpleNamespace(key=key, skip=skip, setting=setting) for key, skip in (("a", None), ("b", "no"))]
        self.records = [self.results / "records" / f"{cell.key}.parquet" for cell in cells]
        for record in self.records:
            record.write_text(record.name)
        for end in ("parquet", "md"):
            (self.results / f"leaderboard.{end}").write_text("board")
        self.plan: Any = SimpleNamespace(
            cells=cells,
            data_files=up_to_date._hashes([self.data]),
            data_folders=fingerprint.listings([self.data], root / "data"),
        )

    def ask(self, **changes: Any) -> Request:
        values = {
            "suite": self.suite,
            "selection": {"m": None, "seeds": None},
            "data_root": self.root / "data",
            "plugin_dirs": [self.root / "own"],
            "results": self.results,
        }
        asked = up_to_date.request(**{**values, **changes})
        assert asked is not None
        return asked


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    up_to_date.keep(made.ask(), made.ask(), made.plan)
    return made


def test_the_same_question_has_its_answer(world: World) -> None:
    assert up_to_date.find(world.ask()) == (2, 1)


@pytest.mark.parametrize("name", ["suite", "data", "plugin", "record"])
def test_a_changed_file_is_noticed_whatever_its_date(world: World, name: str) -> None:
    path = world.records[0] if name == "record" else getattr(world, name)
    before, dates = path.read_bytes(), path.stat()
    path.write_bytes(before[:-1] + b"?")
    os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    assert up_to_date.find(world.ask()) is None
    path.write_bytes(before)
    assert up_to_date.find(world.ask()) == (2, 1)
    path.unlink()
    if name != "suite":
        assert up_to_date.find(world.ask()) is None


@pytest.mark.parametrize(
    "path",
    ["own/more.py", "own/attacks/more.py", "own/methods/_shared.py", "own/tables/a.json", "data/MNIST/raw/train",
     "data/MNIST/test", "data/cifar-10-batches-py"],
)  # fmt: skip
def test_an_added_file_is_noticed(world: World, path: str) -> None:
    (world.root / path).parent.mkdir(exist_ok=True)
    (world.root / path).touch()
    assert up_to_date.find(world.ask()) is None


@pytest.mark.parametrize("path", ["leaderboard.parquet", "leaderboard.md"])
def test_a_missing_leaderboard_is_noticed(world: World, path: str) -> None:
    (world.results / path).unlink()
    assert up_to_date.find(world.ask()) is None


def test_a_leaderboard_older_than_a_record_is_noticed(world: World) -> None:
    (world.results / "records" / "of_another_run.parquet").touch()
    assert up_to_date.find(world.ask()) is None


def test_other_questions_have_no_answer(world: World) -> None:
    copy = world.root / "copy"
    copy.mkdir()
    for changes in (
        {"selection": {"m": ["vbu"], "seeds": None}},
        {"selection": {"m": None, "seeds": 1}},
        {"data_root": world.root / "own"},
        {"plugin_dirs": []},
        {"results": copy},
    ):
        assert up_to_date.find(world.ask(**changes)) is None
    (copy / "receipts").mkdir()
    moved = world.ask(results=copy)
    moved.path.write_bytes(world.ask().path.read_bytes())
    assert up_to_date.find(moved) is None


def test_changed_code_or_python_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    package = {
        name
        for name in world.ask().files
        if Path(name).name in ("up_to_date.py", "vbu.py", "update_leak.py", "digits.py")
    }
    assert len(package) == 4
    for module, name, value in [
        (up_to_date, "__version__", "99"),
        (up_to_date, "PROTOCOL_VERSION", 99),
        (sys, "prefix", "/elsewhere"),
        (sys, "version", "4.0"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            assert up_to_date.find(world.ask()) is None
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: ["an installed plugin"])
    assert up_to_date.request(world.suite, {}, world.root, [], world.results) is None


@pytest.mark.parametrize("package", ["torch", "numpy", "scikit-learn"])
def test_a_package_in_another_version_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    known = up_to_date.version_of
    monkeypatch.setattr(up_to_date, "version_of", lambda name: "99.0" if name == package else known(name))
    assert up_to_date.find(world.ask()) is None


def test_a_plugins_package_in_another_version_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.plugin.write_text("import typer")
    up_to_date.keep(world.ask(), world.ask(), world.plan)
    assert up_to_date.find(world.ask()) == (2, 1)
    known = up_to_date.version_of
    monkeypatch.setattr(up_to_date, "version_of", lambda name: "99.0" if name == "typer" else known(name))
    assert up_to_date.find(world.ask()) is None


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", "\xff", '{"asked": 1}', "[" * 100])
def test_an_unreadable_receipt_is_none(world: World, content: str) -> None:
    world.ask().path.write_text(content, encoding="latin-1")
    assert up_to_date.find(world.ask()) is None


def test_a_receipt_without_a_part_is_none(world: World) -> None:
    whole = json.loads(world.ask().path.read_text())
    for part in whole:
        world.ask().path.write_text(json.dumps({key: value for key, value in whole.items() if key != part}))
        assert up_to_date.find(world.ask()) is None


def test_there_is_no_receipt_for_code_that_changed_while_it_ran(tmp_path: Path) -> None:
    world = World(tmp_path)
    before = world.ask()
    world.plugin.write_text("changed")
    up_to_date.keep(before, world.ask(), world.plan)
    up_to_date.keep(before, None, world.plan)
    assert not (world.results / "receipts").exists()


def test_there_is_no_receipt_for_a_dataset_that_may_look_anywhere(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.plan.cells[1].setting.dataset.info.builtin = False
    up_to_date.keep(world.ask(), world.ask(), world.plan)
    assert not (world.results / "receipts").exists()


def test_there_is_no_receipt_for_a_network_of_a_package_that_only_the_suite_names(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.plan.cells[1].setting.network.params.keyed_packages = ("timm",)
    up_to_date.keep(world.ask(), world.ask(), world.plan)
    assert not (world.results / "receipts").exists()


def test_a_finished_run_ends_without_importing_anything_heavy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, capsys, monkeypatch)
    write_method(tmp_path / "own", "mine", body="def skip(self, scenario):\n    return 'no'\n")
    write_suite(tmp_path, methods="mine, vbu", attacks="")
    first = place.run("--plugins", "own")
    assert first.counts == {"planned": 4, "done": 3, "cached": 0, "failed": 0, "skipped": 1}
    script = (
        "import sys\n"
        "from unlearnbench.cli.main import main\n"
        "code = main(['run', 'suite.yaml', '--plugins', 'own', '--jobs', '7'])\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "cells: planned=4 done=0 cached=3 failed=0 skipped=1\n"
    assert place.run("--plugins", "own", "--force").counts["done"] == 3
    assert place.run("--plugins", "own", "--device", "gpu").code == 2
