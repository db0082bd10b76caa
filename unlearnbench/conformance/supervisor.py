"""Starts the process that examines a plugin, and outlives it: one that hangs or dies costs a check, not the program."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from unlearnbench.conformance.verdict import Result
from unlearnbench.engine import THREADS
from unlearnbench.errors import InputError
from unlearnbench.registry import Kind

TIME_LIMIT = 120.0  # seconds for a check: those of the slowest plugins take a few on an idle machine
STARTING = 60.0  # seconds more, for importing the libraries on a busy machine
LOADS = "loads"
# Where libraries write. torch tells its own place to the processes that its process starts.
FOLDERS = ("TMPDIR", "TEMP", "TMP", "MPLCONFIGDIR", "JOBLIB_TEMP_FOLDER", "TORCHINDUCTOR_CACHE_DIR")


@dataclass(frozen=True)
class Request:
    """What to check.

    Attributes:
        name: of the plugin, or ``name[param=value,...]``.
        kind: where methods, attacks and datasets share a name.
        time_limit: seconds that a check may take.
    """

    name: str
    kind: Kind | None = None
    plugin_dirs: tuple[Path, ...] = ()
    data_root: Path = Path("data")
    time_limit: float = TIME_LIMIT


@dataclass
class Report:
    """What was found of a plugin; `identity`: what its results are kept under."""

    name: str
    kind: str = "plugin"
    origin: str = ""
    builtin: bool = False
    identity: str = ""
    results: list[Result] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(result.status != "fail" for result in self.results)

    def count(self, status: str) -> int:
        return sum(result.status == status for result in self.results)


def failures(
    name: str,
    kind: Kind | None = None,
    plugin_dirs: Sequence[Path] = (),
    data_root: Path | None = None,
    time_limit: float = TIME_LIMIT,
) -> list[str]:
    """For a plugin's own tests: what it fails, a line each with what to change. Empty if it keeps every rule.

    Args:
        data_root: where datasets are looked for; None: UNLEARNBENCH_DATA.

    Raises:
        InputError: there is no such plugin.
    """
    root = data_root or Path(os.environ.get("UNLEARNBENCH_DATA") or "data")
    report = check(Request(name, kind, tuple(plugin_dirs), root, time_limit))
    return [f"{result.check}: {result.line}" for result in report.results if result.status == "fail"]


def check(request: Request) -> Report:
    """Make all checks of a plugin, in processes of their own.

    Raises:
        InputError: there is no such plugin, or a folder is missing.
    """
    report = Report(request.name)
    lame: str | None = None
    with tempfile.TemporaryDirectory(prefix="unlearnbench-check-") as folder:
        while True:
            lost = _examine(request, report, lame, Path(folder))
            if lost is None:
                return report
            name, what = lost
            # It may have been lost after the check, by what the plugin had left running.
            report.results = [result for result in report.results if result.check != name]
            report.results.append(Result(name, "fail", what, _advice(name, what)))
            if name == LOADS:
                return report
            if name == "runs":
                lame = "it does not run"


def _advice(name: str, what: str) -> str:
    if name == LOADS:
        return "do nothing when the file is imported but define the class"
    if "longer" in what:
        return "look for loops without an end and for work that grows with the harness's settings; or --time-limit"
    return "return or raise, never end the process"


def _examine(request: Request, report: Report, lame: str | None, folder: Path) -> tuple[str, str] | None:
    """One process. Returns the check in which it was lost, and how; None if it came to its end."""
    for name in ("scratch", "empty"):
        (folder / name).mkdir(exist_ok=True)
    process = _start(folder)
    try:
        lines = _Lines(process.stdout)
        plain: dict[str, Any] = {
            "name": request.name, "kind": request.kind, "data_root": str(request.data_root.absolute()),
            "plugin_dirs": [str(path.absolute()) for path in request.plugin_dirs], "scratch": str(folder / "scratch"),
            "parent": os.getpid(), "made": [result.check for result in report.results], "lame": lame,
        }  # fmt: skip
        with suppress(BrokenPipeError):  # it is told below that it ended
            assert process.stdin is not None
            process.stdin.write(json.dumps(plain).encode())
            process.stdin.close()
        return _listen(lines, request, report)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it and whatever it has started
        process.wait()


def _start(folder: Path) -> subprocess.Popen[bytes]:
    # Plugins may write where tempfile writes; bytecode of what they import is not theirs.
    scratch = str(folder / "scratch")
    places = dict.fromkeys(FOLDERS, scratch)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "unlearnbench.conformance.child"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder / "empty", start_new_session=True,
        env={**os.environ, **THREADS, **places, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


def _listen(lines: _Lines, request: Request, report: Report) -> tuple[str, str] | None:
    at, limit = LOADS, request.time_limit + STARTING
    while True:
        try:
            line = lines.next(limit)
        except queue.Empty:
            return at, f"took longer than {request.time_limit:g} s"
        if line is None:
            return at, "ended the process"
        message = json.loads(line)
        if "bad_input" in message:
            raise InputError(*message["bad_input"])
        if "found" in message:
            found = message["found"]
            report.name, report.kind = found["name"], found["kind"]
            report.origin, report.builtin = found["origin"], found["builtin"]
            report.identity = found.get("identity", "")
        elif "begin" in message:
            at, limit = message["begin"], request.time_limit
        elif "result" in message:
            report.results.append(Result(*message["result"]))
        else:
            return None


class _Lines:
    """Lines of a pipe, waited for no longer than wanted."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self._read, args=(pipe,), daemon=True).start()

    def _read(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            self._queue.put(line)
        self._queue.put(None)

    def next(self, seconds: float) -> bytes | None:
        """The next line, None at the end; raises queue.Empty if there is none in time."""
        return self._queue.get(timeout=seconds)
