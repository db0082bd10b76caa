"""The options of a run, and its summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unlearnbench.suite.plan import Cell, Plan

EngineName = Literal["serial", "loky", "dask"]


@dataclass(frozen=True)
class RunOptions:
    """How to run a plan; see the command line. Paths become absolute, because plugins may change the working folder."""

    data_root: Path
    results: Path
    cache: Path
    engine: EngineName = "serial"
    jobs: int = 1
    device: str = "auto"
    plugin_dirs: tuple[Path, ...] = ()
    force: bool = False
    retry_failed: bool = False
    fail_fast: bool = False
    verbose: bool = False
    scheduler: str | None = None
    cells_per_device: int = 1
    time_limit: float | None = None  # seconds for a job

    def __post_init__(self) -> None:
        for name in ("data_root", "results", "cache"):
            object.__setattr__(self, name, getattr(self, name).absolute())
        object.__setattr__(self, "plugin_dirs", tuple(folder.absolute() for folder in self.plugin_dirs))


@dataclass
class Summary:
    """The status of the cells whose records are on disk at the end."""

    plan: Plan  # as it ran: with fewer models at a time where memory ran out
    computed: Sequence[Cell]  # the cells that this run had to compute
    planned: int = 0
    done: int = 0
    cached: int = 0
    failed: int = 0
    skipped: int = 0
    lost: int = 0  # cells that were recorded, but whose records are gone
    interrupted: bool = False
    leaderboard: bool = True  # False: the records do not yield one
    pictures: bool = True  # False: some could not be drawn
