"""`unlearnbench cache`: what is in a store, whether it is whole, and that nothing else is ever deleted."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from unlearnbench.cli import main as cli
from unlearnbench.system.store import Artifact, Store

KEYS = ["ab" * 32, "ab" + "cd" * 31, "ef" * 32]
MADE = [
    {"stage": "train", "dataset": "digits"},
    {"stage": "unlearn", "dataset": "digits", "method": "\x1b[31mloud"},
    None,  # of an older version
]


@dataclass
class Cache:
    """A store of three artifacts, and files that are none of its."""

    root: Path
    capsys: pytest.CaptureFixture[str]

    def call(self, *arguments: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = cli.main(["cache", arguments[0], "--cache", str(self.root), *arguments[1:]])
        captured = self.capsys.readouterr()
        return code, captured.out, captured.err

    def files(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir()}

    def path(self, number: int) -> Path:
        return Store(self.root).path(KEYS[number])

    def age(self, path: Path, days: float) -> None:
        os.utime(path, (time.time() - days * 86_400,) * 2)

    def damage(self, number: int) -> None:
        content = bytearray(self.path(number).read_bytes())
        content[-1] ^= 1
        self.path(number).write_bytes(content)


@pytest.fixture
def cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cache:
    root = tmp_path / "cache"
    for key, made in zip(KEYS, MADE, strict=True):
        values = {"seconds": 1.0} | ({"provenance": made} if made else {})
        Store(root).put(key, Artifact({"x": torch.zeros(3)}, values))
    return Cache(root, capsys)


FOREIGN = (
    "notes.txt",
    "ab/notes.txt",
    f"ab/{'ab' * 32}.safetensors.bak",
    f"ab/{'AB' * 32}.safetensors",
    f"ab/{'ef' * 32}.safetensors",  # another folder's
    f"abc/{'ab' * 32}.safetensors",
    f"{'ab' * 32}.safetensors",
    ".writable",
    "ab/.hidden.tmp",
)


def with_foreign_files(cache: Cache) -> None:
    for name in FOREIGN:
        (cache.root / name).parent.mkdir(exist_ok=True)
        (cache.root / name).write_text("mine")
        cache.age(cache.root / name, days=100)
    elsewhere = cache.root.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / f"{'12' * 32}.safetensors").write_text("mine")
    (cache.root / "12").symlink_to(elsewhere)
    (cache.root / "ab" / f"{'ab' + '0' * 62}.safetensors").symlink_to(elsewhere / f"{'12' * 32}.safetensors")


# --- list ------------------------------------------------------------------------------------------------------------


def test_list_counts_artifacts_by_what_they_are_of(cache: Cache) -> None:
    os.utime(cache.path(0), (1e9, 1e9))
    size = sum(cache.path(number).stat().st_size for number in range(3))
    code, out, err = cache.call("list")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == ["stage", "dataset", "method", "attack", "number", "bytes", "oldest", "newest"]
    assert lines[1].split()[:5] == ["-", "-", "-", "-", "1"]
    assert lines[2].split() == [
        *("train", "digits", "-", "-", "1", str(cache.path(0).stat().st_size)),
        *["2001-09-09T01:46:40+00:00"] * 2,
    ]
    assert lines[3].split()[:5] == ["unlearn", "digits", "\\x1b[31mloud", "-", "1"]
    assert lines[4] == f"artifacts: number=3 bytes={size} temporary=0 in {cache.root}"
    found = json.loads(cache.call("list", "--format", "json")[1])
    assert (found["cache"], found["number"], found["bytes"], found["temporary"]) == (str(cache.root), 3, size, 0)
    assert found["artifacts"][1]["oldest"] == "2001-09-09T01:46:40+00:00"


def test_list_of_a_damaged_one_and_of_none(cache: Cache) -> None:
    cache.path(2).write_bytes(b"half")
    assert cache.call("list")[1].splitlines()[1].split()[:5] == ["damaged", "-", "-", "-", "1"]
    cache.root = cache.root.parent
    assert cache.call("list") == (0, f"artifacts: number=0 bytes=0 temporary=0 in {cache.root}\n", "")


# --- verify ----------------------------------------------------------------------------------------------------------


def test_verify_names_damaged_artifacts(cache: Cache) -> None:
    assert cache.call("verify") == (0, f"artifacts: checked=3 damaged=0 unreadable=0 deleted=0 in {cache.root}\n", "")
    cache.damage(1)
    code, out, _ = cache.call("verify")
    first, last = out.splitlines()
    assert (code, first) == (1, f"damaged: {cache.path(1)}: checksum does not match")
    assert last == f"artifacts: checked=3 damaged=1 unreadable=0 deleted=0 in {cache.root}"
    code, out, _ = cache.call("verify", "--format", "json")
    assert (code, json.loads(out)["damaged"][0]["path"]) == (1, str(cache.path(1)))
    before = cache.files()
    assert cache.call("verify", "--delete")[0] == 1
    assert before - cache.files() == {str(cache.path(1).relative_to(cache.root))}
    assert cache.call("verify")[0] == 0


# --- clear -----------------------------------------------------------------------------------------------------------


def test_everything_is_cleared_only_when_that_is_confirmed(cache: Cache) -> None:
    before = cache.files()
    code, out, err = cache.call("clear")
    assert (code, out, cache.files()) == (2, "", before)
    assert err.startswith(f"error: {cache.root}: would delete all 3 artifacts (")
    assert err.count("\n") == 1
    size = sum(cache.path(number).stat().st_size for number in range(3))
    assert cache.call("clear", "--yes") == (0, f"artifacts: deleted=3 bytes={size} temporary=0 in {cache.root}\n", "")
    assert cache.files() == set()


def test_clear_can_choose_by_age_and_damage(cache: Cache) -> None:
    cache.age(cache.path(0), days=3)
    cache.age(cache.path(1), days=3)
    cache.damage(1)
    cache.age(cache.path(1), days=3)
    cache.damage(2)
    assert "deleted=0 " in cache.call("clear", "--older-than", "4", "--yes")[1]
    assert "deleted=1 " in cache.call("clear", "--older-than", "2", "--damaged")[1]
    assert [cache.path(number).exists() for number in range(3)] == [True, False, True]
    assert "deleted=1 " in cache.call("clear", "--damaged")[1]
    assert "deleted=1 " in cache.call("clear", "--older-than", "2.5")[1]
    assert cache.files() == set()


def test_clear_takes_what_killed_runs_left_but_not_what_is_being_written(cache: Cache) -> None:
    old, new = (
        cache.path(0).with_name(f".{KEYS[0]}.safetensors.{end}.tmp") for end in ("0a1b2c3d4e5f", "000000000000")
    )
    for path in (old, new):
        path.write_bytes(b"half")
    cache.age(old, days=1)
    assert json.loads(cache.call("list", "--format", "json")[1])["temporary"] == 2
    assert "deleted=0 bytes=0 temporary=1" in cache.call("clear", "--damaged")[1]
    assert (old.exists(), new.exists(), cache.path(0).exists()) == (False, True, True)


def test_nothing_is_touched_that_is_not_an_artifact(cache: Cache) -> None:
    with_foreign_files(cache)
    foreign = cache.files() - {str(cache.path(number).relative_to(cache.root)) for number in range(3)}
    assert foreign >= set(FOREIGN)
    assert "checked=3 " in cache.call("verify", "--delete")[1]
    assert "deleted=3 " in cache.call("clear", "--yes")[1]
    assert cache.files() == foreign
    assert (cache.root.parent / "elsewhere" / f"{'12' * 32}.safetensors").read_text() == "mine"


@pytest.mark.parametrize("verb", ["list", "verify", "clear"])
def test_a_folder_that_is_none_is_one_line(cache: Cache, verb: str) -> None:
    cache.root /= "nowhere"
    assert cache.call(verb) == (2, "", f"error: {cache.root}: no such folder\n")
    cache.root = cache.root.with_name("notes.txt")
    cache.root.write_text("mine")
    assert cache.call(verb) == (2, "", f"error: {cache.root}: not a folder\n")
    assert cache.root.read_text() == "mine"


def test_mistakes_are_one_line(cache: Cache) -> None:
    for arguments in (("lst",), ("clear", "--older-than", "-1"), ("clear", "--older-than", "x")):
        code, out, err = cache.call(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("error: unlearnbench cache")


# --- checkpoints -----------------------------------------------------------------------------------------------------


def with_checkpoints(cache: Cache) -> Store:
    """Two interrupted stages, and a folder that only looks like one's."""
    store = Store(cache.root)
    for key, days in ((KEYS[2], 3), ("12" * 32, 0)):
        inside = store.checkpoints(key)
        inside.put("34" * 32, Artifact({"x": torch.zeros(30)}, {}))
        cache.age(inside.path("34" * 32), days)
    (cache.root / "ab" / f"{'AB' * 32}.checkpoints").mkdir()
    return store


def test_checkpoints_are_listed_beside_the_artifacts(cache: Cache) -> None:
    assert json.loads(cache.call("list", "--format", "json")[1])["checkpoints"] == {"number": 0, "bytes": 0}
    store = with_checkpoints(cache)
    size = 2 * store.checkpoints(KEYS[2]).path("34" * 32).stat().st_size
    lines = cache.call("list")[1].splitlines()
    assert lines[-2].startswith("artifacts: number=3 "), "checkpoints are not artifacts"
    assert lines[-1].startswith(f"checkpoints: number=2 bytes={size} oldest=")
    found = json.loads(cache.call("list", "--format", "json")[1])["checkpoints"]
    assert (found["number"], found["bytes"]) == (2, size)
    assert found["oldest"] < found["newest"]
    assert cache.call("verify")[0] == 0


def test_checkpoints_are_cleared_by_age_or_with_everything_else(cache: Cache) -> None:
    store = with_checkpoints(cache)
    assert " and 2 checkpoints (" in cache.call("clear")[2]
    cache.call("clear", "--damaged")
    assert len(store.interrupted()) == 2
    assert "checkpoints: deleted=1 bytes=" in cache.call("clear", "--older-than", "2")[1]
    assert store.interrupted() == ["12" * 32]
    assert len(store.keys()) == 3
    assert "checkpoints: deleted=1 bytes=" in cache.call("clear", "--yes")[1]
    assert store.interrupted() == []
    assert (cache.root / "ab" / f"{'AB' * 32}.checkpoints").is_dir()
    cache.root = cache.root.parent
    assert cache.call("list")[0] == 0
