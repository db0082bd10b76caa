"""Publishing into a folder that holds more than a site: what `publish` did not write, it does not touch."""

from __future__ import annotations

import json
import os
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sample_records import rows
from site_records import results

from unlearnbench.cli import main as cli
from unlearnbench.site import manifest, writing
from unlearnbench.system.errors import InputError


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put(folder: Path, *names: str, text: str = "one") -> None:
    """Publish these files, by hand."""
    with writing.building(folder) as out:
        for name in names:
            writing.write(out, name, f"{text} {name}".encode())


def refused(folder: Path, *names: str, text: str = "two") -> str:
    """The one line of a `publish` that changes nothing."""
    before, around = content(folder), sorted(folder.parent.iterdir())
    with pytest.raises(InputError) as error:
        put(folder, *names, text=text)
    assert content(folder) == before
    assert sorted(folder.parent.iterdir()) == around
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site of three files that shares its folder with a repository and some notes."""
    folder = tmp_path / "site"
    put(folder, "index.html", "plots/a.svg", "data/old.csv")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    for name in ("CNAME", ".nojekyll", "plots/notes.txt", "empty/.keep", "nested/.git/HEAD"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(f"mine: {name}")
    return folder


def mine(folder: Path) -> dict[str, bytes]:
    listed = {"index.html", "plots/a.svg", "data/old.csv", "plots/b.svg", writing.MANIFEST_FILE}
    return {name: each for name, each in content(folder).items() if name not in listed}


def test_a_site_is_replaced_and_all_else_stays(site: Path) -> None:
    before = mine(site)
    assert ".git/HEAD" in before
    put(site, "index.html", "plots/b.svg", text="two")
    assert mine(site) == before
    assert (site / "index.html").read_text() == "two index.html"
    assert not (site / "plots/a.svg").exists()
    assert not (site / "data").exists()  # which held nothing else
    assert set(json.loads((site / writing.MANIFEST_FILE).read_text())["files"]) == {"index.html", "plots/b.svg"}
    assert sorted(path.name for path in site.parent.iterdir()) == ["site"]


def test_a_real_site_keeps_its_repository(tmp_path: Path) -> None:
    folder = results(tmp_path / "some", rows("crfu", "accuracy", [0.9, 0.91, 0.92]))
    out = tmp_path / "site"
    publish = ["publish", str(folder), "--out", str(out)]
    assert cli.main(publish) == 0
    git = ["git", "-C", str(out), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    (out / "CNAME").write_text("results.example.org")
    assert cli.main([*publish, "--title", "Second"]) == 0
    changed = subprocess.run([*git, "status", "--porcelain"], check=True, capture_output=True, text=True).stdout
    assert " M index.html" in changed
    assert "?? CNAME" in changed
    assert " D " not in changed


def test_a_file_that_was_edited_is_never_lost(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "index.html").write_text("my own words")
    assert "holds index.html, which publish did not write or which changed since" in refused(site, "index.html")
    (site / "index.html").write_text("one index.html")
    (site / "data/old.csv").write_text("my own numbers")  # no longer part of the site
    put(site, "index.html", text="two")
    assert (site / "data/old.csv").read_text() == "my own numbers"
    assert capsys.readouterr().err == (
        f"left in {site}, no longer part of the site but changed since it was published: data/old.csv\n"
    )


def test_a_file_of_the_users_where_the_sites_own_belongs_is_refused(site: Path) -> None:
    assert "holds CNAME" in refused(site, "index.html", "CNAME")
    assert "holds plots/notes.txt" in refused(site, "plots/notes.txt")
    assert "holds empty" in refused(site, "index.html", "empty")
    assert "holds CNAME/x" in refused(site, "CNAME/x")
    # What is the same already is nobody's loss.
    (site / "same.html").write_text("two same.html")
    put(site, "index.html", "same.html", text="two")


@pytest.mark.parametrize("name", ["plots", "plots/a.svg", "data/old.csv"])
def test_links_are_not_followed(name: str, site: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.svg").write_text("one plots/a.svg")
    (site / "data/old.csv").rename(outside / "old.csv")
    (site / "data/old.csv").write_text("one data/old.csv")
    link = site / name
    if link.is_dir():
        link.rename(tmp_path / "moved")
        link.symlink_to(outside)
    else:
        link.unlink()
        link.symlink_to(outside / link.name)
    before = content(outside)
    if name == "data/old.csv":
        put(site, "index.html", "plots/a.svg", text="two")  # the link stays, being no file of publish's
    else:
        assert "holds plots/a.svg" in refused(site, "index.html", "plots/a.svg")
        put(site, "index.html", text="two")
    assert link.is_symlink()
    assert content(outside) == before


HASH = sha256(b"precious").hexdigest()


@pytest.mark.parametrize(
    "name",
    ["../precious", "/precious", "a/../../precious", "./precious", "", ".", "..", "a//b", "a\\b", ".git/HEAD", "a\0b",
     "nested/.git/HEAD", "C:precious"],
)  # fmt: skip
def test_a_tampered_manifest_is_no_manifest(name: str, site: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    if name == "/precious":
        name = str(tmp_path / "precious")
    mark = json.loads((site / writing.MANIFEST_FILE).read_text())
    for files in ({**mark["files"], name: HASH}, {name: HASH}):
        for field in ("files", "before"):
            (site / writing.MANIFEST_FILE).write_text(json.dumps({**mark, field: files}))
            assert "is not empty and not a site" in refused(site, "index.html")
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"written_by": "unlearnbench 0.1"}', '{"files": {}}', "[" * 100_000,
     '{"written_by": "unlearnbench 1", "files": []}', '{"written_by": "unlearnbench 1", "files": {"a": 1}}',
     '{"written_by": "unlearnbench 1", "files": {"a": "short"}}', '{"written_by": "me", "files": {}}'],
)  # fmt: skip
def test_a_folder_without_a_whole_manifest_is_refused(text: str, site: Path) -> None:
    (site / writing.MANIFEST_FILE).write_text(text)
    assert "is not empty and not a site" in refused(site, "index.html")


def test_a_manifest_that_is_no_file_is_refused(site: Path) -> None:
    (site / writing.MANIFEST_FILE).rename(site / "elsewhere")
    (site / writing.MANIFEST_FILE).symlink_to("elsewhere")
    assert "is not empty and not a site" in refused(site, "index.html")
    (site / writing.MANIFEST_FILE).unlink()
    os.mkfifo(site / writing.MANIFEST_FILE)
    with pytest.raises(InputError, match="is not empty and not a site"):
        put(site, "index.html")


def test_a_folder_that_is_read_takes_no_site(tmp_path: Path) -> None:
    folder = results(tmp_path / "some", rows("crfu", "accuracy", [0.9, 0.91, 0.92]))
    before = content(folder)
    for out in (folder, folder / "site", folder / "records" / "site"):
        assert cli.main(["publish", str(folder), "--out", str(out)]) == 2
    assert cli.main(["publish", str(folder), "--out", str(tmp_path)]) == 2
    assert content(folder) == before


def test_read_only_files_are_replaced_and_removed(site: Path) -> None:
    for name in ("index.html", "plots/a.svg"):
        (site / name).chmod(0o444)
    put(site, "index.html", text="two")
    assert (site / "index.html").read_text() == "two index.html"
    assert not (site / "plots/a.svg").exists()


def test_special_files_are_left_alone(site: Path) -> None:
    (site / "plots/a.svg").unlink()
    os.mkfifo(site / "plots/a.svg")
    put(site, "index.html", text="two")
    assert (site / "plots/a.svg").is_fifo()
    with pytest.raises(InputError, match=r"holds plots/a\.svg"):
        put(site, "index.html", "plots/a.svg")


# --- a crash in the middle -------------------------------------------------------------------------------------------


class Crash(BaseException):
    """As the process dies: nothing is put back."""


@pytest.mark.parametrize("twice", [False, True])
def test_after_a_crash_at_any_step_the_next_publish_goes_on(
    twice: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = crashes = 0
    while True:
        folder = tmp_path / f"{steps}" / "site"
        folder.parent.mkdir()
        put(folder, "index.html", "a.html", "plots/a.svg", "data/old.csv")
        (folder / "CNAME").write_text("mine")
        for text in ("two", "three") if twice else ("two",):
            with monkeypatch.context() as patch:
                left = [steps]
                for name in ("replace", "unlink"):
                    patch.setattr(Path, name, _until(left, getattr(Path, name)))
                try:
                    put(folder, "index.html", "plots/a.svg", "plots/b.svg", text=text)
                except Crash:
                    crashes += 1
        assert (folder / "CNAME").read_text() == "mine"
        assert all(content(folder).values())  # nothing is half-written
        put(folder, "index.html", "plots/b.svg", text="last")
        assert set(content(folder)) == {"index.html", "plots/b.svg", "CNAME", writing.MANIFEST_FILE}
        assert (folder / "index.html").read_text() == "last index.html"
        steps += 1
        if left[0] >= 0:
            break
    assert crashes > 5


def _until(left: list[int], really: Any) -> Any:
    def step(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name.endswith(".tmp") and really.__name__ == "unlink":
            return really(path, *arguments, **options)
        left[0] -= 1
        if left[0] < 0:
            raise Crash
        return really(path, *arguments, **options)

    return step


def test_where_nothing_else_is_there_a_reader_sees_one_site_or_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site"
    put(folder, "index.html", "plots/a.svg")
    inode = folder.stat().st_ino
    monkeypatch.setattr(writing, "_exchange_files", None)
    put(folder, "index.html", text="two")
    assert folder.stat().st_ino != inode
    assert set(content(folder)) == {"index.html", writing.MANIFEST_FILE}


def test_what_is_put_there_in_the_last_moment_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "site"
    put(folder, "index.html")

    def then_write(*arguments: Any) -> bool:
        (folder / "thesis.txt").write_text("mine")
        return True

    monkeypatch.setattr(manifest, "holds_nothing_else", then_write)
    put(folder, "index.html", text="two")
    (kept,) = [path for path in tmp_path.iterdir() if path != folder]
    assert content(kept) == {"thesis.txt": b"mine"}
    assert str(kept) in capsys.readouterr().err
