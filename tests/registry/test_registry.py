"""Finding plugins: what is found, what is broken, what is refused."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from plugin_files import METHOD, broken, write

from unlearnbench.registry.registry import discover
from unlearnbench.system.errors import InputError

ATTACK = """
from unlearnbench.plugin import Access, Attack, Evidence

class Guess(Attack):
    @property
    def access(self):
        return Access()
    def run(self, view):
        return Evidence()
"""
DATASET = """
from unlearnbench.plugin import Dataset

class Empty(Dataset):
    def files(self, root):
        return []
    def load(self, root):
        raise NotImplementedError
"""


def test_built_in_plugins_are_found_with_origin_and_hash() -> None:
    info = discover().find("method", "original", "here")
    assert (info.kind, info.builtin, info.cls.name) == ("method", True, "original")
    assert Path(info.origin).name == "original.py"
    assert len(info.sha256) == 64


def test_plugins_of_every_kind_in_a_folder_and_its_subfolders(tmp_path: Path) -> None:
    write(tmp_path, still=METHOD, attacks__in__guess=ATTACK, datasets__in__empty=DATASET, methods__in__still_too=METHOD)
    write(tmp_path, _private="raise RuntimeError")
    registry = discover([tmp_path])
    assert broken(registry) == {}
    still = registry.find("method", "still", "")
    assert (still.builtin, still.cls.name, still.version) == (False, "still", 1)
    assert still.description == "A method that does nothing."
    assert still.cls().params.rate == 0.5
    assert registry.find("method", "still_too", "").cls is not still.cls
    assert (
        registry.find("attack", "guess", "").cls.__module__
        == registry.find("attack", "guess", "").cls().__class__.__module__
    )
    assert registry.find("dataset", "empty", "").kind == "dataset"


def test_files_of_one_name_in_two_folders_do_not_share_a_module(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one", still=METHOD), write(tmp_path / "two", still=METHOD)
    first, second = discover([one]).methods["still"], discover([two]).methods["still"]
    assert first.cls.__module__ != second.cls.__module__
    assert first.sha256 == second.sha256


def test_an_edited_file_is_read_again(tmp_path: Path) -> None:
    before = discover([write(tmp_path, still=METHOD)]).methods["still"]
    after = discover([write(tmp_path, still=METHOD.replace("0.5", "0.25"))]).methods["still"]
    assert after.sha256 != before.sha256
    assert after.cls().params.rate == 0.25


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("raise RuntimeError('first line\\nsecond \\x1b[31m')", "RuntimeError: first line second \\x1b[31m"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def", "SyntaxError"),
        ("import not_there_at_all", "ModuleNotFoundError"),
        ("class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd", "can't be shown"),
        ("", "no plugin class"),
        ("from unlearnbench.plugin import Method", "no plugin class"),
        (METHOD + "\nclass Second(Method):\n    pass\n", "2 plugin classes (Second, Still)"),
        (ATTACK.replace("def run", "def walk"), "does not implement run"),
        (METHOD.replace("UnlearnParams)", "object)"), "not a subclass of unlearnbench.plugin.PluginParams"),
        (METHOD.replace("float", "Missing").replace("import Field", "import Field\nMissing = 'Nowhere'"), "Nowhere"),
        (METHOD + "    version = 'new'\n", "version is not a whole number"),
        ("\0", "SyntaxError"),
    ],
)
def test_a_broken_file_is_listed_and_harms_nobody(tmp_path: Path, text: str, expected: str) -> None:
    modules = set(sys.modules)
    registry = discover([write(tmp_path, bad=text, still=METHOD)])
    assert expected in broken(registry)["bad"]
    assert broken(registry)["bad"].isprintable()
    assert "still" in registry.methods
    with pytest.raises(InputError, match="bad") as caught:
        registry.find("method", "bad", "suite.yaml:key")
    assert "broken" in str(caught.value)
    if "Error" in expected:
        assert not {name for name in set(sys.modules) - modules if name.endswith("_bad")}


def test_an_attack_among_methods_and_a_bad_name_are_broken(tmp_path: Path) -> None:
    registry = discover([write(tmp_path, methods__in__guess=ATTACK, **{"Big-name": METHOD})])
    assert broken(registry)["guess"] == "class Guess is not a method"
    assert "lower-case" in broken(registry)["Big-name"]


def test_what_a_plugin_prints_stays_out_of_the_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    discover([write(tmp_path, still=f"print('hello'){METHOD}")])
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hello\n")


def test_two_plugins_of_one_kind_and_name_name_both_files(tmp_path: Path) -> None:
    write(tmp_path, still=METHOD, methods__in__still=METHOD)
    with pytest.raises(InputError) as caught:
        discover([tmp_path])
    assert str(tmp_path / "still.py") in str(caught.value)
    assert str(tmp_path / "methods" / "still.py") in str(caught.value)


def test_an_attack_may_have_the_name_of_a_method_and_a_folder_may_be_given_twice(tmp_path: Path) -> None:
    registry = discover([write(tmp_path, methods__in__same=METHOD, attacks__in__same=ATTACK), tmp_path])
    assert registry.methods["same"].kind == "method"
    assert registry.attacks["same"].kind == "attack"


def test_a_missing_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        discover([tmp_path / "nowhere"])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not a folder"):
        discover([tmp_path / "file"])


def test_unknown_names_get_the_nearest_or_the_right_kind(tmp_path: Path) -> None:
    registry = discover([write(tmp_path, still=METHOD, guess=ATTACK)])
    with pytest.raises(InputError, match=r"^key: unknown method 'stil'; did you mean 'still'\?$"):
        registry.find("method", "stil", "key")
    with pytest.raises(InputError, match="no method is named 'guess'; that is the name of an existing attack"):
        registry.find("method", "guess", "key")


def test_entry_points_are_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, outside_package=METHOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [
        EntryPoint("ours", "outside_package:Still", "unlearnbench.methods"),
        EntryPoint("gone", "outside_package:Gone", "unlearnbench.methods"),
        EntryPoint("text", "outside_package:__name__", "unlearnbench.methods"),
    ]
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group: [point for point in points if point.group == group]
    )
    registry = discover()
    ours = registry.find("method", "ours", "")
    assert (ours.builtin, ours.cls.name, ours.origin) == (False, "ours", "entry point: outside_package:Still")
    assert len(ours.sha256) == 64
    assert broken(registry)["gone"].startswith("AttributeError")
    assert broken(registry)["text"] == "not a concrete subclass of Method, Attack, Dataset or Model"
