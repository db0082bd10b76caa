"""`check` as callers see it: starts the examiner, and survives whatever a plugin does to it."""

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

TIME_LIMIT = 120.0  # seconds per rule; the slowest plugins take a few seconds on an idle machine
SLACK = 120.0  # more seconds for starting and ending processes and importing libraries on a busy machine
ENDING = 30.0  # seconds for the examiner to end what it has started
MARK = "UNLEARNBENCH_CHECK"  # variable in the environment of all processes of an examination


@dataclass(frozen=True)
class CheckRequest:
    """What to check.

    Attributes:
        name: of the plugin, or ``name[param=value,...]``.
        kind: needed if plugins of several kinds share the name.
        time_limit: seconds that a rule may take.
    """

    name: str
    kind: Kind | None = None
    plugin_dirs: tuple[Path, ...] = ()
    data_root: Path = Path("data")
    time_limit: float = TIME_LIMIT


@dataclass
class PluginReport:
    """What was found about a plugin; `identity`: the part of keys by which its results are stored."""

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
    """For a plugin's own tests: the rules that it breaks, one line each, with what to change. Empty if it keeps all.

    Args:
        data_root: where datasets are searched; None: UNLEARNBENCH_DATA.

    Raises:
        InputError: there is no such plugin.
    """
    root = data_root or Path(os.environ.get("UNLEARNBENCH_DATA") or "data")
    report = check(CheckRequest(name, kind, tuple(plugin_dirs), root, time_limit))
    return [f"{result.check}: {result.line}" for result in report.results if result.status == "fail"]


def check(request: CheckRequest) -> PluginReport:
    """Examine all rules of a plugin, in other processes.

    Raises:
        InputError: there is no such plugin, or a folder is missing.
    """
    with tempfile.TemporaryDirectory(prefix="unlearnbench-check-", ignore_cleanup_errors=True) as folder:
        for name in ("scratch", "empty", "judged"):
            (Path(folder) / name).mkdir()
        # A socket, not a pipe: another process of the same user could open a pipe under /proc.
        ours, theirs = socket.socketpair()
        mark = f"{MARK}={secrets.token_hex(16)}"
        name, _, value = mark.partition("=")
        with ours, theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "unlearnbench.conformance.examiner", str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=2, cwd=folder, start_new_session=True, pass_fds=[theirs.fileno()],
                # It computes on the CPU; as torch sees no other device, the process can be forked.
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
    """Wait for the examiner, which ends what it has started. If the plugin killed it, end here what it left."""
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
