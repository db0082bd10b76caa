"""Runs in a session of their own, which tests interrupt."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

WAITS = "Path('started').touch()\nwhile not Path('go').exists(): time.sleep(0.05)\nreturn before.expand(sets.replicas)"


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def session(leader: int) -> list[int]:
    """The living processes of a session, but for the resource tracker, which ends by itself."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z" and "resource_tracker" not in command:
                found.append(int(entry.name))
    return found


def finished_records(folder: Path) -> list[Path]:
    return list((folder / "results" / "tiny" / "records").glob("*.parquet"))
