"""The log file of a run: what was started, how long each task took, what failed and why. The last runs keep theirs."""

from __future__ import annotations

import logging
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

KEPT = 20  # logs are kept for this many runs
NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z(-\d+)?\.log")


class Reporter(logging.Logger):
    """A logger that `logging.disable`, which plugins and libraries set for the whole process, does not silence."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 (logging's name)
        return level >= self.getEffectiveLevel()


class RunLog(Reporter):
    """A logger with a new file in `folder`, which is created if missing; only the newest logs are kept.

    Every line is flushed, so the log of a killed run shows how far it got. A text of several lines, such as a
    traceback, is attached to a line with `extra={"detail": text}`.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("unlearnbench.running")
        folder.mkdir(parents=True, exist_ok=True)
        self._stream = _create(folder, f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        file = _Lines(self._stream)
        file.setFormatter(_Formatter())
        self.addHandler(file)
        self.path = Path(self._stream.name)
        older = [path for path in folder.iterdir() if NAME.fullmatch(path.name) and path.name != self.path.name]
        for path in sorted(older)[: -(KEPT - 1)]:
            path.unlink(missing_ok=True)  # another run may be deleting it too

    def close(self) -> None:
        self._stream.close()


def detail_of(record: logging.LogRecord) -> list[str]:
    """The lines of the text attached to a line."""
    return [visible(line) for line in getattr(record, "detail", "").rstrip().splitlines()]


class _Lines(logging.Handler):
    """Writes to a stream that it does not own: logging closes every handler when a plugin configures it anew.

    A log that can't be written ends the run, just like a record that can't be written.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        self._stream.write(self.format(record) + "\n")
        self._stream.flush()


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = f"{moment} {one_line(record.getMessage(), longest=2_000)}"
        return "\n".join([line, *(f"    {more}" for more in detail_of(record))])


def begin(folder: Path, device: str, about: Mapping[str, object]) -> RunLog:
    """A log that starts with the command, the code version, the kind of machine, and `about` the run."""
    log = RunLog(folder)
    commit, dirty = git_state()
    for line in (
        f"command: {shlex.join(sys.argv)}",
        "versions: " + ", ".join(f"{name} {version}" for name, version in versions().items()),
        f"git: {commit or 'none'}{' with changes' if dirty else ''}",
        f"host: {platform.system()} {platform.machine()}, {describe(device)}",
        ", ".join(f"{name}: {value}" for name, value in about.items()),
    ):
        log.info(line)
    return log


def _create(folder: Path, stamp: str) -> TextIO:
    for number in count():  # two runs may start at once, and clocks jump
        path = folder / f"{stamp}{f'-{number}' if number else ''}.log"
        try:
            return path.open("x", encoding="utf-8", errors="backslashreplace")
        except FileExistsError:
            continue
    raise AssertionError("count() has no end")
