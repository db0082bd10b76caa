"""Missing, unreadable and damaged are three things; and nothing waits for a pipe."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from odd_files import a_folder, a_link_to_nothing, a_pipe, a_socket

from unlearnbench.system import regular_files
from unlearnbench.system.errors import UnreadableError
from unlearnbench.system.parquet_files import sync_folder, write_atomically


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")  # never ends


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


SPECIAL = [a_pipe, a_socket, a_device, a_folder, a_link_to_nothing, a_link_to_itself, a_link_to_a_pipe]


@pytest.mark.parametrize("put", SPECIAL)
def test_what_is_no_ordinary_file_is_refused_at_once_and_never_replaced(tmp_path: Path, put: Callable[[Path], None]):
    path = tmp_path / "file"
    put(path)
    kind = path.lstat().st_mode
    for look in (regular_files.opened, regular_files.read, regular_files.is_there, regular_files.check_readable):
        with pytest.raises(UnreadableError, match="can't be read: ") as error:
            look(path)
        assert error.value.where == str(path)
    with pytest.raises(OSError, match="what is there can't be read"):
        write_atomically(path, b"new")
    assert path.lstat().st_mode == kind
    assert not list(tmp_path.glob("*.tmp"))


def test_ordinary_files_and_links_to_them_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        assert regular_files.is_there(tmp_path / name)
        assert regular_files.read(tmp_path / name) == b"0123456789"
        assert regular_files.read(tmp_path / name, 4) == b"0123"
    assert regular_files.listing(tmp_path) == ["file", "link"]


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "nothing", tmp_path / "no" / "folder", tmp_path / "file" / "below"):
        assert not regular_files.is_there(path)
        regular_files.check_readable(path)
        with pytest.raises(FileNotFoundError):
            regular_files.read(path)
        with pytest.raises(FileNotFoundError):
            regular_files.listing(path)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_what_can_not_be_opened_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"mine")
    opened = os.open

    def refuse(name: str, *more: int) -> int:
        if name == str(path):
            raise OSError(number, os.strerror(number), name)
        return opened(name, *more)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UnreadableError) as error:
        regular_files.read(path)
    assert str(error.value) == f"{path}: can't be read: {os.strerror(number)}"
    with pytest.raises(OSError, match="what is there can't be read"):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"mine"


def test_an_append_does_not_wait_for_the_reader_of_a_pipe(tmp_path: Path) -> None:
    regular_files.append(tmp_path / "log", "one\n")
    regular_files.append(tmp_path / "log", "two \udcff\n")
    assert (tmp_path / "log").read_text() == "one\ntwo \\udcff\n"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        regular_files.append(tmp_path / "pipe", "one\n")
    with os.fdopen(os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)), pytest.raises(OSError, match="a pipe"):
        regular_files.append(tmp_path / "pipe", "one\n")


# --- putting files on the disk ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES])
@pytest.mark.parametrize("where", ["open", "fsync"])
def test_a_folder_that_can_not_be_synced_is_used_and_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, where: str
) -> None:
    from unlearnbench.system import parquet_files

    parquet_files._say_unsynced.cache_clear()
    opened, synced = os.open, os.fsync
    folders = set[int]()

    def open_(path: str | Path, flags: int, *more: int) -> int:
        if where == "open" and Path(path).is_dir():
            raise OSError(number, os.strerror(number), str(path))
        file = opened(path, flags, *more)
        if Path(path).is_dir():
            folders.add(file)
        return file

    def fsync(file: int) -> None:
        if where == "fsync" and file in folders:
            raise OSError(number, os.strerror(number))
        synced(file)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "fsync", fsync)
    for name in ("one", "two"):
        write_atomically(tmp_path / name, b"content")
    assert (tmp_path / "two").read_bytes() == b"content"
    assert capsys.readouterr().err.count("after a power cut the last may be lost") == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_is_full_or_broken_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fsync(file: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    for write in (lambda: write_atomically(tmp_path / "file", b""), lambda: sync_folder(tmp_path)):
        with pytest.raises(OSError, match=os.strerror(number)):
            write()
