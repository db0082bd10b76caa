"""`check` as it is called: starts the examiner, and outlives whatever a plugin does to it."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlearnbench.conformance.rulings import Result
from unlearnbench.registry.base import Kind
from unlearnbench.system import descendants
from unlearnbench.system.errors import InputError
from unlearnbench.system.process import THREADS

TIME_LIMIT = 120.0  # seconds for a check: those of the slowest plugins take a few on an idle machine
SLACK = 120.0  # seconds more, for starting processes and importing libraries on a busy machine, and for ending them
ENDING = 30.0  # seconds for the examiner to end what it has started
MARK = "UNLEARNBENCH_CHECK"  # in the environment of all processes of an examination


@dataclass(frozen=True)
class CheckRequest:
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
class PluginReport:
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
    report = check(CheckRequest(name, kind, tuple(plugin_dirs), root, time_limit))
    return [f"{result.check}: {result.line}" for result in report.results if result.status == "fail"]


def check(request: CheckRequest) -> PluginReport:
    """Make all checks of a plugin, in processes of their own.

    Raises:
        InputError: there is no such plugin, or a folder is missing.
    """
    with tempfile.TemporaryDirectory(prefix="unlearnbench-check-", ignore_cleanup_errors=True) as folder:
        for name in ("scratch", "empty", "judged"):
            (Path(folder) / name).mkdir()
        # A socket and no pipe: a process of the same user could open a pipe anew, under /proc.
        ours, theirs = socket.socketpair()
        mark = f"{MARK}={secrets.token_hex(16)}"
        name, _, value = mark.partition("=")
        with ours, theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "unlearnbench.conformance.examiner", str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=2, cwd=folder, start_new_session=True, pass_fds=[theirs.fileno()],
                # What it computes it computes on the CPU; where torch sees no other device, the process can be forked.
                env={**os.environ, **THREADS, name: value, "PYTHONDONTWRITEBYTECODE": "1", "CUDA_VISIBLE_DEVICES": ""},
            )  # fmt: skip
            theirs.close()
            try:
                return _listen(ours, request, Path(folder))
            except KeyboardInterrupt:
                process.terminate()
                raise
            finally:
                _end(process, mark)


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    """The examiner ends what it has started; if it can't, because the plugin killed it, what it left is found here."""
    try:
        code = process.wait(ENDING)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if code < 0:
        descendants.end_marked(mark)


def _listen(stream: socket.socket, request: CheckRequest, folder: Path) -> PluginReport:
    report, at = PluginReport(request.name), "loads"
    plain: dict[str, Any] = {
        "text": request.name, "kind": request.kind, "data_root": str(request.data_root.absolute()),
        "plugin_dirs": [str(path.absolute()) for path in request.plugin_dirs], "folder": str(folder),
        "parent": os.getpid(), "time_limit": request.time_limit,
    }  # fmt: skip
    stream.settimeout(request.time_limit + SLACK)
    with stream.makefile("rwb") as channel:
        try:
            channel.write(json.dumps(plain).encode() + b"\n")
            channel.flush()
            while line := channel.readline():
                message = json.loads(line)
                if "bad_input" in message:
                    raise InputError(*message["bad_input"])
                if "found" in message:
                    found = message["found"]
                    report.name, report.kind = found["name"], found["kind"]
                    report.origin, report.builtin = found["origin"], found["builtin"]
                    report.identity = found["identity"]
                elif "begin" in message:
                    at = message["begin"]
                elif "result" in message:
                    report.results.append(Result(*message["result"]))
                else:
                    return report
        except (OSError, ValueError):  # it was stopped, or killed in the middle of a line
            pass
    what = "ended or stopped the process that examines it"
    report.results.append(Result(at, "fail", what, "leave other processes alone"))
    return report
