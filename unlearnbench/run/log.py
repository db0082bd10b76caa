"""The log file of a run: what was started, what each task took, what failed and why; kept for the last runs."""

from __future__ import annotations

import platform
import re
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TextIO

from unlearnbench.system.devices import describe
from unlearnbench.system.printing import one_line, visible
from unlearnbench.system.provenance import git_state, versions

KEPT = 20  # logs of so many runs
NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z(-\d+)?\.log")


class RunLog:
    """A new file in `folder`, which is made; older logs than the last ones are deleted.

    Every line is on disk's way once it is written, so that the log of a run that was killed tells how far it came.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self._file = _create(folder, f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        older = [path for path in folder.iterdir() if NAME.fullmatch(path.name) and path != self.path]
        for path in sorted(older)[: -(KEPT - 1)]:
            path.unlink(missing_ok=True)  # another run may be doing the same

    def close(self) -> None:
        self._file.close()

    def line(self, text: str) -> None:
        """A line with the time."""
        self._file.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {one_line(text, longest=2_000)}\n")

    def lines(self, text: str) -> None:
        """A text of several lines, such as a traceback, indented under the line before."""
        for line in text.rstrip().splitlines():
            self._file.write(f"    {visible(line)}\n")


def begin(folder: Path, device: str, about: Mapping[str, object]) -> RunLog:
    """A log that says the command, the code, the kind of machine, and `about` the run."""
    log = RunLog(folder)
    commit, dirty = git_state()
    for line in (
        f"command: {shlex.join(sys.argv)}",
        "versions: " + ", ".join(f"{name} {version}" for name, version in versions().items()),
        f"git: {commit or 'none'}{' with changes' if dirty else ''}",
        f"host: {platform.system()} {platform.machine()}, {describe(device)}",
        ", ".join(f"{name}: {value}" for name, value in about.items()),
    ):
        log.line(line)
    return log


def _create(folder: Path, stamp: str) -> tuple[Path, TextIO]:
    for number in count():  # two runs may start at once, and clocks jump
        path = folder / f"{stamp}{f'-{number}' if number else ''}.log"
        try:
            return path, path.open("x", encoding="utf-8", errors="backslashreplace", buffering=1)
        except FileExistsError:
            continue
    raise AssertionError("count() has no end")
