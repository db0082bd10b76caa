"""What a plugin is made of: every file and package that its results can depend on, and nothing that they can't."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from tiny_runs import Place, rows, write_suite

from unlearnbench.registry import identity as plugin_identity
from unlearnbench.registry.identity import Identity, of_folder
from unlearnbench.registry.plugin_facts import identity
from unlearnbench.registry.plugin_info import PluginInfo
from unlearnbench.registry.registry import discover
from unlearnbench.system.errors import InputError

METHOD = """
import json, sys
from pathlib import Path
from unlearnbench.plugin import Method

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from {helper} import WEIGHT
TABLE = json.loads((HERE / "table.json").read_text())


class Helped(Method):
    version = 1
    weight = WEIGHT + TABLE["more"]

    def unlearn_many(self, before, sets, context):
        return before.apply(lambda each: each * self.weight).expand(sets.replicas)
"""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """What plugins do to the process is undone, so that every test finds its own helpers."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("_helping", "helping", "faked", "labcode")):
            del sys.modules[name]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dedent(text))
    return folder


def helped(folder: Path, weight: str = "1.0", more: str = "0.5", helper: str = "_helping") -> Path:
    """A plugin folder: a method, a helper beside it, and a table that it reads when it is imported."""
    files = {"helped.py": METHOD.format(helper=helper), f"{helper}.py": f"WEIGHT = {weight}\n"}
    return write(folder, {**files, "table.json": f'{{"more": {more}}}\n'})


def known_by(folder: Path) -> str:
    return of_folder(folder).sha256


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, capsys, monkeypatch)


# --- folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["_helping.py", "table.json", "more/parts/inner.py", "more/weights.bin", "readme.md", "data", "methods/other.py"],
)
def test_every_file_of_the_folder_counts(tmp_path: Path, name: str) -> None:
    folder = helped(tmp_path / "own")
    before = known_by(folder)
    write(folder, {name: "WEIGHT = 2.0"})
    added = known_by(folder)
    (folder / name).write_text("WEIGHT = 3.0")
    assert len({before, added, known_by(folder)}) == 3


@pytest.mark.parametrize(
    "name",
    ["__pycache__/helped.pyc", ".vscode/x", ".git/HEAD", "more/__pycache__/x.py", "helped.pyc", "helped.py~",
     "test_helped.py", "conftest.py", "tests/test_more.py", "results/tiny/logs/x", "own.egg-info/PKG-INFO"],
)  # fmt: skip
def test_what_no_import_reads_and_what_runs_leave_behind_does_not(tmp_path: Path, name: str) -> None:
    folder = helped(tmp_path / "own")
    for made in ("results/tiny/records/a.parquet", "results/tiny/logs/run.log", "cache/CACHEDIR.TAG"):
        write(folder, {made: "x"})
    before = known_by(folder)
    write(folder, {name: "assert 1", "cache/ab/cd": "artifact", "results/tiny/records/b.parquet": "more"})
    assert known_by(folder) == before


def test_a_test_that_is_imported_is_a_helper(tmp_path: Path) -> None:
    folder = helped(tmp_path / "own", helper="test_helping")
    before = known_by(folder)
    (folder / "test_helping.py").write_text("WEIGHT = 2.0")
    assert known_by(folder) != before


def test_neither_dates_nor_order_nor_the_place_count(tmp_path: Path) -> None:
    one = helped(tmp_path / "one")
    files = sorted(path for path in one.iterdir() if path.is_file())
    other = tmp_path / "deep" / "two"
    other.mkdir(parents=True)
    for number, path in enumerate(reversed(files)):
        shutil.copy(path, other / path.name)
        os.utime(other / path.name, (number, number))
    (tmp_path / "link").symlink_to(other, target_is_directory=True)
    assert known_by(one) == known_by(other) == known_by(tmp_path / "link")
    (other / "table.json").rename(other / "tables.json")
    assert known_by(one) != known_by(other)


def test_links_are_followed_but_not_round_in_circles_and_pipes_are_not_waited_for(tmp_path: Path) -> None:
    folder, elsewhere = helped(tmp_path / "own"), write(tmp_path / "elsewhere", {"far.json": "1"})
    (folder / "far").symlink_to(elsewhere, target_is_directory=True)
    (folder / "round").symlink_to(folder, target_is_directory=True)
    (folder / "nowhere").symlink_to(tmp_path / "nothing")
    os.mkfifo(folder / "pipe")
    before = of_folder(folder)
    assert before.files == 4
    (elsewhere / "far.json").write_text("2")
    assert known_by(folder) != before.sha256


@pytest.mark.parametrize(("limit", "value"), [("MOST_BYTES", 40), ("MOST_FILES", 2)])
def test_a_folder_that_is_too_large_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(plugin_identity, limit, value)
    folder = helped(tmp_path / "own")
    with pytest.raises(InputError, match="keep plugins, and what they read, in a folder of their own") as caught:
        discover([folder])
    assert str(caught.value).startswith(f"{folder}: ")


def test_a_file_of_the_folder_that_can_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = helped(tmp_path / "own"), Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "table.json":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match=r"table\.json: can't be read: Permission denied"):
        of_folder(folder)


# --- code from elsewhere ---------------------------------------------------------------------------------------------


def test_imports_of_installed_packages_are_told_wherever_they_stand(tmp_path: Path) -> None:
    source = """
    import os, torch, numpy.linalg, sklearn.svm as svm
    from . import beside
    def later():
        from scipy.special import ndtr
        from PIL import Image
        import not_there_at_all
    """
    made_of = of_folder(write(tmp_path, {"mine.py": source, "_beside.py": "import pytest"}))
    assert made_of.packages == ("pillow", "pytest", "scikit-learn", "scipy")  # torch and numpy are in every key
    assert made_of.unknown == ("not_there_at_all",)


def test_code_outside_that_is_of_no_package_counts_with_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin_identity, "_SEARCHED", (tmp_path / "lab",))
    write(tmp_path / "lab", {"labcode/__init__.py": "", "labcode/inner.py": "import labcode_two", "labcode_two.py": ""})
    folder = write(tmp_path / "own", {"mine.py": "from labcode import inner"})
    found = {known_by(folder)}
    for name in ("labcode/inner.py", "labcode/new.py", "labcode_two.py"):
        with (tmp_path / "lab" / name).open("a") as file:
            file.write("\n# changed\n")
        found.add(known_by(folder))
    assert len(found) == 4
    assert of_folder(folder).unknown == ()
    write(tmp_path / "lab", {"unrelated.py": "", "labcode/inner.pyc": ""})
    assert known_by(folder) in found


def test_what_a_plugin_does_to_the_path_changes_no_identity(tmp_path: Path) -> None:
    write(tmp_path / "shared", {"helping_far.py": "WEIGHT = 1.0"})
    source = METHOD.format(helper="helping_far").replace("str(HERE)", 'str(HERE.parent / "shared")')
    folder = write(tmp_path / "own", {"helped.py": source, "table.json": '{"more": 1}'})
    first, second = (discover([folder]).find("method", "helped", "") for _ in range(2))
    assert first.sha256 == second.sha256
    assert first.made_of is not None
    assert first.made_of.unknown == ("helping_far",)
    assert "not helping_far, imported but not found" in identity(first)


def test_a_run_says_which_imports_it_does_not_watch(place: Place) -> None:
    write(place.folder, {"own/mine.py": "try:\n    import not_there_at_all\nexcept ImportError:\n    pass\n"})
    with (place.folder / "own" / "mine.py").open("a") as file:
        file.write("from unlearnbench.plugin import Method\n\n\nclass Mine(Method):\n    version = 1\n\n")
        file.write("    def unlearn_many(self, before, sets, context):\n        return before.expand(sets.replicas)\n")
    write_suite(place.folder, methods="mine", attacks="")
    ran = place.run("--plugins", "own")
    assert ran.counts["done"] == 3
    expected = "warning: own: not found: not_there_at_all; changes of these imports go unnoticed"
    assert expected in ran.err.splitlines()


# --- what is loaded is what was hashed -------------------------------------------------------------------------------


def weight(info: PluginInfo) -> Any:
    return vars(info.cls)["weight"]


def test_a_changed_helper_is_loaded_anew_by_a_process_that_lives_on(tmp_path: Path) -> None:
    """Such as a Dask worker."""
    folder = helped(tmp_path)
    before = discover([folder]).find("method", "helped", "")
    helped(folder, weight="-50.25")
    after = discover([folder]).find("method", "helped", "")
    assert before.sha256 != after.sha256
    assert (weight(before), weight(after)) == (1.5, -49.75)


def test_a_helper_of_the_same_name_in_another_folder_is_never_taken(tmp_path: Path) -> None:
    one, two = helped(tmp_path / "one"), helped(tmp_path / "two", weight="7.0")
    (two / "helped.py").rename(two / "second.py")
    registry = discover([one, two])
    assert [weight(registry.methods[name]) for name in ("helped", "second")] == [1.5, 7.5]
    assert "_helping" not in sys.modules


def test_a_module_of_a_helpers_name_that_is_there_already_is_never_taken(tmp_path: Path) -> None:
    folder, elsewhere = helped(tmp_path / "own"), write(tmp_path / "elsewhere", {"_helping.py": "WEIGHT = 7.0\n"})
    sys.path.append(str(elsewhere))
    importlib.import_module("_helping")
    (broken,) = discover([folder]).broken
    there = elsewhere / "_helping.py"
    expected = f"it imports _helping, which lies beside it, but that is {there}; give it another name"
    assert (broken.name, broken.error) == ("helped", expected)


def test_what_is_on_the_path_before_a_package_or_the_standard_library_is_known_by_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sklearn", "tabnanny"):
        folder = write(tmp_path / name, {f"{name}.py": "RATE = 0.5\n"})
        monkeypatch.setattr(plugin_identity, "_SEARCHED", (folder, *plugin_identity._SEARCHED))
        plugin_identity._is_pythons.cache_clear()
        own = write(tmp_path / f"own_{name}", {"mine.py": f"from {name} import RATE\n"})
        before = of_folder(own)
        assert (before.packages, before.unknown, before.files) == ((), (), 2)
        write(folder, {f"{name}.py": "RATE = 0.1\n"})
        assert of_folder(own).sha256 != before.sha256
    plugin_identity._is_pythons.cache_clear()


def test_data_that_a_module_from_elsewhere_reads_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = write(tmp_path / "lib", {"labcode/__init__.py": "", "labcode/rate.txt": "0.5"})
    monkeypatch.setattr(plugin_identity, "_SEARCHED", (package, *plugin_identity._SEARCHED))
    own = write(tmp_path / "own", {"mine.py": "import labcode\n"})
    before = known_by(own)
    write(package, {"labcode/rate.txt": "0.1"})
    assert known_by(own) != before


@pytest.mark.parametrize("name", [".data/rate.txt", ".rate", "w/rate.txt", "w/records.txt", "records/rate.txt"])
def test_hidden_files_and_those_beside_records_are_known(tmp_path: Path, name: str) -> None:
    own = helped(tmp_path / "own")
    write(own, {"w/records/a.parquet": "", "w/logs/a.log": "", name: "0.5"})
    before = known_by(own)
    write(own, {name: "0.1"})
    assert known_by(own) != before
    after = known_by(own)
    write(own, {"w/records/b.parquet": "", "w/logs/b.log": "", "w/leaderboard.md": "", ".git/HEAD": "", "a.swp": ""})
    assert known_by(own) == after


# --- distributions ---------------------------------------------------------------------------------------------------


def installed(site: Path, editable: bool = False) -> Path:
    """A distribution with a method, a helper and a table, in a folder that stands for site-packages; the package."""
    root = site.parent / "source" if editable else site
    package = {
        "faked/__init__.py": "",
        "faked/method.py": METHOD.format(helper="faked.helper").replace("Helped", "Faked"),
        "faked/helper.py": "WEIGHT = 1.0",
        "faked/table.json": '{"more": 0.5}',
    }
    write(root, package)
    about = site / "faked-1.0.dist-info"
    entry = "[unlearnbench.methods]\nfaked = faked.method:Faked\n"
    write(about, {"METADATA": "Metadata-Version: 2.1\nName: faked\nVersion: 1.0\n", "entry_points.txt": entry})
    listed = [f"faked-1.0.dist-info/{name}" for name in ("METADATA", "RECORD", "entry_points.txt", "direct_url.json")]
    if editable:
        origin = {"url": root.as_uri(), "dir_info": {"editable": True}}
        write(about, {"direct_url.json": json.dumps(origin)})
        listed.append("faked.pth")
    else:
        listed += [*package, "faked/__pycache__/helper.cpython-311.pyc", "../../../bin/faked", "gone.py"]
    write(about, {"RECORD": "".join(f"{name},,\n" for name in listed)})
    return root / "faked"


@pytest.mark.parametrize("editable", [False, True])
def test_a_changed_helper_or_table_of_a_distribution_is_another_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editable: bool
) -> None:
    package = installed(tmp_path / "site", editable)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.syspath_prepend(str(package.parent))

    def ours() -> PluginInfo:
        return discover().find("method", "faked", "")

    before = ours()
    assert before.origin == "faked 1.0: faked.method:Faked"
    assert before.made_of is not None
    assert before.made_of.files == 4
    assert (weight(before), before.sha256) == (1.5, ours().sha256)
    (package / "helper.py").write_text("WEIGHT = 41.5")
    helper = ours()
    (package / "table.json").write_text('{"more": 1.5}')
    table = ours()
    assert len({before.sha256, helper.sha256, table.sha256}) == 3
    assert (weight(helper), weight(table)) == (42.0, 43.0)
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "helper.cpython-311.pyc").write_text("other")
    assert ours().sha256 == table.sha256


def test_a_distribution_is_the_same_wherever_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Identity] = []
    for name in ("one", "two"):
        installed(tmp_path / name / "site")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(tmp_path / name / "site"))
            (point,) = (
                each for each in importlib.metadata.entry_points(group="unlearnbench.methods") if each.name == "faked"
            )
            found.append(plugin_identity.of_entry_point(point))
    assert found[0].sha256 == found[1].sha256
    assert found[0].places != found[1].places


def test_a_file_that_was_put_into_the_package_is_known_with_those_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is being written in methods/ of a checkout."""
    released = discover().find("method", "vbu", "")
    assert released.made_of is None
    monkeypatch.setattr("unlearnbench.registry.loading.released_plugins", frozenset)
    edited = discover().find("method", "vbu", "")
    assert edited.made_of is not None
    assert edited.made_of.places == (Path(edited.origin).parent,)
    assert edited.sha256 == of_folder(Path(edited.origin).parent).sha256 != released.sha256


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"weight": "0.5"}, {"more": "-0.25"}])
def test_a_changed_helper_or_table_is_computed_again_and_old_records_are_set_apart(
    place: Place, change: dict[str, str]
) -> None:
    own = helped(place.folder / "own")
    write_suite(place.folder, methods="helped, vbu", attacks="")
    first = place.run("--plugins", "own")
    assert first.counts["done"] == 4
    assert place.run("--plugins", "own").counts["cached"] == 4
    assert "warning: " not in first.err
    helped(own, **change)
    again = place.run("--plugins", "own")
    assert (again.counts["done"], again.counts["cached"]) == (1, 3)
    assert "kept apart 1 stale records" in again.err
    assert place.run("--plugins", "own", "--results", "fresh", "--cache", "fresh-cache").counts["done"] == 4
    assert rows(place.folder / "fresh") == rows(place.results)


def test_results_that_lie_in_the_plugin_folder_are_no_part_of_it(place: Place) -> None:
    helped(place.folder)
    write_suite(place.folder, methods="helped", attacks="")
    arguments = ("--plugins", ".", "--cache", "kept")
    assert place.run(*arguments).counts["done"] == 3
    assert place.run(*arguments).counts["cached"] == 3
    (place.folder / "results" / "tiny" / "leaderboard.md").unlink()
    assert place.run(*arguments).counts["cached"] == 3
