"""Files that can't be read, or are none; folders that move under a run; plugins that go elsewhere; verbs that read."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from odd_files import a_folder, a_link_to_nothing, a_pipe, a_socket
from tiny_runs import Place, Ran, rows, write_method, write_suite

from unlearnbench.cli import main as cli
from unlearnbench.registry import registry
from unlearnbench.system.store import Store

Put = Callable[[Path], None]
SPECIAL = [a_pipe, a_socket, a_folder, a_link_to_nothing]
SOME_SECONDS = 60


@pytest.fixture(autouse=True)
def _no_hanging() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise AssertionError("hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SOME_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    there = Place(tmp_path, capsys, monkeypatch)
    write_suite(tmp_path, attacks="")
    return there


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    capsys.readouterr()
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    return Ran(code, captured.out, captured.err)


def refused(ran: Ran, where: str, what: str = "can't be read: ") -> None:
    """Ended by one line that names the file."""
    assert (ran.code, ran.out) == (2, ""), ran
    assert ran.err.splitlines()[-1].startswith(f"error: {where}: {what}"), ran.err
    assert ran.err.count("error: ") == 1
    assert "Traceback" not in ran.err


def exchange(path: Path, put: Put) -> int:
    """Put something special in the place of a file; its kind."""
    path.unlink()
    put(path)
    return path.lstat().st_mode


# --- files that are none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("put", SPECIAL)
def test_what_has_a_records_name_and_is_none_ends_every_verb_in_one_line(
    place: Place, capsys: pytest.CaptureFixture[str], put: Put
) -> None:
    assert place.run().code == 0
    (some, *_) = sorted((place.results / "records").glob("*.parquet"))
    kind = exchange(some, put)
    shown = f"results/tiny/records/{some.name}"
    for more in ((), ("--force",), ("--retry-failed",)):
        refused(place.run(*more), shown)
    refused(call(capsys, "report", "results/tiny"), shown)
    refused(call(capsys, "publish", "results/tiny", "--out", "site"), shown)
    assert call(capsys, "merge", "results/tiny", "--out", "merged").code == 2
    assert call(capsys, "verify", "results/tiny", "--sample", "1").code == 2
    assert some.lstat().st_mode == kind
    assert not (place.folder / "site").exists()


@pytest.mark.parametrize("put", SPECIAL)
def test_what_has_an_artifacts_name_and_is_none_is_refused_and_stays(
    place: Place, capsys: pytest.CaptureFixture[str], put: Put
) -> None:
    assert place.run().code == 0
    store = Store(place.folder / "cache")
    kinds = {path: exchange(path, put) for path in map(store.path, store.keys())}
    shutil.rmtree(place.results)
    ran = place.run()
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {store.root}/")
    assert "can't be read: " in ran.err
    assert place.run("--force").code == 2
    ran = call(capsys, "cache", "verify", "--delete")
    assert (ran.code, f"checked=0 damaged=0 unreadable={len(kinds)} deleted=0" in ran.out) == (1, True), ran
    assert {path: path.lstat().st_mode for path in kinds} == kinds


def test_pipes_named_like_suites_plugins_receipts_logs_and_data_are_not_waited_for(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(place.folder / "pipe.yaml")
    for verb in ("validate", "run", "plan"):
        refused(call(capsys, verb, "pipe.yaml"), "pipe.yaml", "can't be read: a pipe")
    write_method(place.folder / "own", "fails", unlearn="raise RuntimeError('no luck')")
    os.mkfifo(place.folder / "own" / "methods" / "waits.py")
    ran = call(capsys, "list", "--plugins", "own")
    assert ran.code == 0
    assert "method waits: " in ran.out
    assert "a pipe, not an ordinary file" in " ".join(ran.out.split())
    # A receipt is not needed; a log of failures is.
    assert place.run().code == 0
    (receipt,) = (place.results / "receipts").iterdir()
    exchange(receipt, a_pipe)
    assert (place.run().code, receipt.is_fifo()) == (0, True)
    write_suite(place.folder, methods="fails", attacks="")
    os.mkfifo(place.results / "errors.log")
    refused(place.run("--plugins", "own"), "results/tiny/errors.log", "can't be written: ")


def test_data_that_is_no_file_is_refused_by_run_and_not_fetched_by_prepare(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = place.folder / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        os.mkfifo(raw / f"{part}-ubyte.gz")
    suite = place.folder / "suite.yaml"
    suite.write_text(suite.read_text().replace("[digits]", "[mnist]"))
    first = str(raw / "train-images-idx3-ubyte.gz")
    refused(place.run(), first, "can't be read: a pipe")
    refused(call(capsys, "prepare", "suite.yaml"), first, "can't be read: a pipe")
    assert all(path.is_fifo() for path in raw.iterdir())
    assert not place.results.exists()


# --- files that may not be read --------------------------------------------------------------------------------------


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, files: set[str]) -> None:
    """As for another user's files, which root may read."""
    opened = os.open

    def open_(name: str | Path, *more: int, **named: int) -> int:
        if str(name) in files:
            raise PermissionError(13, "Permission denied", str(name))
        return opened(name, *more, **named)

    monkeypatch.setattr(os, "open", open_)


def test_records_that_may_not_be_read_are_neither_replaced_nor_moved_nor_left_out(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.run().code == 0
    files = {path: path.read_bytes() for path in (place.results / "records").glob("*.parquet")}
    first = f"results/tiny/records/{min(files).name}"
    refuse_to_open(monkeypatch, {*map(str, files), *(f"results/tiny/records/{path.name}" for path in files)})
    for more in ((), ("--force",)):
        refused(place.run(*more), "results/tiny/records/" + place.run(*more).err.split("/records/")[1].split(":")[0])
    refused(call(capsys, "report", "results/tiny"), first, "can't be read: Permission denied")
    # Beside the cells of another suite they stay where they are, and the run says what it could not do.
    write_suite(place.folder, methods="renew", attacks="")
    ran = place.run("--set", "beta=0.5")
    assert (ran.code, ran.counts["done"]) == (1, 3)
    assert "error: no leaderboard: " in ran.err
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in files} == files


def test_artifacts_that_may_not_be_read_are_not_damaged_and_not_replaced(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.run().code == 0
    store = Store(place.folder / "cache")
    files = {path: path.read_bytes() for path in map(store.path, store.keys())}
    shutil.rmtree(place.results)
    with monkeypatch.context() as patch:
        refuse_to_open(patch, set(map(str, files)))
        for more in ((), ("--force",)):
            ran = place.run(*more)
            assert (ran.code, ran.out) == (2, "")
            assert "can't be read: Permission denied" in ran.err
        ran = call(capsys, "cache", "verify", "--delete")
        assert (ran.code, f"checked=0 damaged=0 unreadable={len(files)} deleted=0" in ran.out) == (1, True), ran
        assert "deleted=0 " in call(capsys, "cache", "clear", "--damaged").out
        assert "unreadable" in call(capsys, "cache", "list").out
    assert {path: path.read_bytes() for path in files} == files
    assert place.run().code == 0


def give_up_privileges() -> None:
    """Root may read everything by two capabilities, which programs that a process starts need not have."""
    capabilities, drop = ("CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"), 24  # numbers 1 and 2; PR_CAPBSET_DROP
    for number, _ in enumerate(capabilities, start=1):
        if os.geteuid() == 0 and ctypes.CDLL(None).prctl(drop, number, 0, 0, 0) != 0:
            raise OSError("these capabilities can't be given up here")


@pytest.fixture
def ordinary(place: Place) -> Callable[..., Ran]:
    """The command line as a user whom permissions bind, in a process of its own."""

    def run(*arguments: str) -> Ran:
        program = "import sys; from unlearnbench.cli.main import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=place.folder, capture_output=True, text=True, timeout=SOME_SECONDS, preexec_fn=give_up_privileges,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    try:
        assert run("--version").code == 0
    except subprocess.SubprocessError:
        pytest.skip("root can't give up its right to read everything here")
    return run


RUN = ("run", "suite.yaml", "--engine", "serial", "--device", "cpu")


@pytest.mark.faults
def test_files_without_permission_are_left_alone(place: Place, ordinary: Callable[..., Ran]) -> None:
    assert place.run().code == 0
    every = [*place.folder.rglob("*.parquet"), *place.folder.rglob("*.safetensors")]
    for path in every:
        path.chmod(0)
    shutil.rmtree(place.results / "receipts")
    before = {path: path.stat().st_mtime_ns for path in every}
    ran = ordinary(*RUN)
    assert (ran.code, ran.out) == (2, ""), ran
    assert ran.err.startswith("error: results/tiny/records/")
    assert ran.err.endswith("can't be read: Permission denied\n")
    ran = ordinary(*RUN, "--results", "others")
    assert (ran.code, ran.out) == (2, ""), ran
    assert ran.err.splitlines()[-1].endswith(".safetensors: can't be read: Permission denied")
    ran = ordinary("cache", "verify", "--delete")
    found = sum(path.suffix == ".safetensors" for path in every)
    assert (ran.code, f"checked=0 damaged=0 unreadable={found} deleted=0" in ran.out) == (1, True), ran
    ran = ordinary("report", "results/tiny")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran
    now = [*place.folder.rglob("*.parquet"), *place.folder.rglob("*.safetensors")]
    assert {path: path.stat().st_mtime_ns for path in now} == before


@pytest.mark.faults
@pytest.mark.parametrize("mode", [0o000, 0o300])
def test_a_folder_that_may_not_be_listed_is_not_taken_for_an_empty_one(
    place: Place, ordinary: Callable[..., Ran], mode: int
) -> None:
    assert place.run().code == 0
    shutil.rmtree(place.results / "receipts")
    folders = [place.results / "records", place.folder / "cache", place.folder / "own" / "methods"]
    folders[-1].mkdir(parents=True)
    try:
        for folder in folders:
            folder.chmod(mode)
        for verb in (("report", "results/tiny"), ("merge", "results/tiny", "--out", "out"), RUN):
            ran = ordinary(*verb)
            assert (ran.code, ran.out) == (2, ""), ran
            assert ran.err == "error: results/tiny/records: can't be read: Permission denied\n"
        refused(ordinary("cache", "verify"), str(place.folder / "cache"))
        refused(ordinary("list", "--plugins", "own"), str(place.folder / "own" / "methods"))
        place.results.parent.chmod(0)
        for verb in (("report", "results/tiny"), RUN):
            refused(ordinary(*verb), "results/tiny/records")
    finally:
        for folder in (place.results.parent, *folders):
            folder.chmod(0o700)


@pytest.mark.faults
def test_data_that_may_not_be_read_is_nobodys_failure(place: Place, ordinary: Callable[..., Ran]) -> None:
    classes = [place.folder / "data" / "images" / name for name in "ab"]
    for folder in classes:
        folder.mkdir(parents=True)
        for number in range(1, 301):  # as many as the suite's parts take: sizes are checked before anything is read
            (folder / f"{number}.png").write_bytes(b"")
    suite = place.folder / "suite.yaml"
    suite.write_text(suite.read_text().replace("[digits]", "[images]"))
    (classes[0] / "1.png").chmod(0)
    refused(ordinary(*RUN), str(classes[0] / "1.png"), "can't be read: Permission denied")
    classes[1].chmod(0)
    refused(ordinary(*RUN), str(classes[1]), "can't be read: Permission denied")
    classes[1].chmod(0o700)
    assert not place.results.exists()


@pytest.mark.faults
def test_results_that_may_only_be_read_are_reported(place: Place, ordinary: Callable[..., Ran]) -> None:
    assert place.run().code == 0
    for path in [*place.results.rglob("*"), place.results]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        for form in ("text", "json", "csv"):
            ran = ordinary("report", "results/tiny", "--format", form)
            assert (ran.code, ran.err) == (0, ""), ran
            assert "vbu" in ran.out
        assert ordinary("verify", "results/tiny", "--sample", "1").code == 0
        assert ordinary("publish", "results/tiny", "--out", "site").code == 0
        assert ordinary(*RUN, "--force").err.endswith("can't be written: Permission denied\n")
    finally:
        for path in [place.results, *place.results.rglob("*")]:
            path.chmod(0o700)


# --- folders that move -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["Path('results').rename('moved')", "shutil.rmtree('results')"])
def test_results_that_are_moved_or_removed_under_a_run_are_missed_and_made_again(
    place: Place, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    once = f"""
        import shutil
        if not Path('{place.folder}/told').exists():
            Path('{place.folder}/told').touch()
            {how}
        return before.expand(sets.replicas)
        """
    write_method(place.folder / "own", "mover", unlearn=once)
    write_suite(place.folder, methods="vbu, mover", attacks="")
    ran = place.run("--plugins", "own")
    there = list((place.results / "records").glob("*.parquet"))
    assert ran.code == 2
    assert ran.counts["done"] == len(there) < ran.counts["planned"] == 4
    lines = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"error: results/tiny/records: {4 - len(there)} of the records that should be here")
    again = place.run("--plugins", "own")
    assert (again.code, again.counts["done"] + again.counts["cached"]) == (0, 4)
    assert again.counts["cached"] == len(there)


def test_plugins_that_change_the_working_folder_move_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.folder / "elsewhere").mkdir()
    monkeypatch.setenv("UNLEARNBENCH_CACHE", "store")
    monkeypatch.setenv("UNLEARNBENCH_DATA", "images")
    discover = registry.discover

    def discover_and_go(folders: object = ()) -> registry.Registry:
        found = discover(folders)  # type: ignore[arg-type]
        os.chdir(place.folder / "elsewhere")
        return found

    monkeypatch.setattr(registry, "discover", discover_and_go)
    write_method(place.folder / "own", "goes", unlearn="os.chdir('/')\nreturn before.expand(sets.replicas)")
    write_suite(place.folder, methods="goes", attacks="")
    for more, results in (((), "results/tiny"), (("--results", "mine"), "mine")):
        monkeypatch.chdir(place.folder)
        ran = place.run("--plugins", "own", *more)
        assert sum(ran.counts[name] for name in ("done", "failed")) == ran.counts["planned"]
        assert len(list((place.folder / results / "records").glob("*.parquet"))) == ran.counts["planned"]
        assert (place.folder / results / "leaderboard.md").is_file()
    assert list((place.folder / "elsewhere").iterdir()) == []
    assert {path.name for path in place.folder.iterdir()} >= {"results", "mine", "store"}


def test_a_message_shows_roots_as_they_were_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.run()
    (some, *_) = (place.results / "records").glob("*.parquet")
    for named in ("results/tiny", "./results/../results/tiny", str(place.results)):
        content = some.read_bytes()
        some.write_bytes(content[:-1])
        assert f"{Path(named) / 'records' / some.name}: a damaged record" in place.run("--results", named).err
    refused(call(capsys, "validate", "none.yaml"), "none.yaml", "no such file")
    refused(call(capsys, "validate", str(place.folder / "none.yaml")), str(place.folder / "none.yaml"), "no such file")


# --- verbs that read -------------------------------------------------------------------------------------------------


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")}


@pytest.mark.faults
def test_verbs_that_read_write_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    write_suite(place.folder)
    assert place.run().code == 0
    (place.results / "leaderboard.parquet").unlink()  # nor do they make what is missing
    (place.folder / "cache" / "notes").touch()
    before = everything(place.folder)
    for arguments in (
        ("report", "results/tiny"),
        ("report", "results/tiny", "--format", "json"),
        ("report", "results/tiny", "--format", "leaks"),
        ("validate", "suite.yaml"),
        ("plan", "suite.yaml"),
        ("list",),
        ("info", "vbu"),
        ("cache", "list"),
        ("cache", "verify"),
        ("verify", "results/tiny", "--sample", "1"),
    ):
        assert call(capsys, *arguments).code == 0, arguments
        assert everything(place.folder) == before, arguments
    assert call(capsys, "compare", "results/tiny").code == 2  # there are no claims about it
    assert everything(place.folder) == before
    for arguments in (("publish", "results/tiny", "--out", "site"), ("merge", "results/tiny", "--out", "merged")):
        assert call(capsys, *arguments).code == 0
        now = everything(place.folder)
        assert {name: now[name] for name in before} == before
    assert rows(place.folder / "merged") == rows(place.results)
