"""What runs inside a worker: one job from the store to the store."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from unlearnbench.plan import Task
from unlearnbench.printing import error_line
from unlearnbench.schedule import Job


@dataclass(frozen=True)
class Place:
    """Where a job is carried out; plain values, sent to the worker with the job."""

    data_root: Path
    cache: Path
    plugin_dirs: tuple[Path, ...]
    device: str


@dataclass(frozen=True)
class Outcome:
    """What became of a job's tasks, by their keys.

    Attributes:
        values: what those that are done have measured.
        errors: why others failed, in one line, and where.
        exhausted: whether there was too little memory for so many models at a time.
        missing: an artifact that the job needs and that is gone or damaged, as `why` says; nothing was done.
    """

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, tuple[str, str]] = field(default_factory=dict)
    exhausted: bool = False
    missing: str | None = None
    why: str = ""

    @classmethod
    def failure(cls, job: Job, error: BaseException) -> Outcome:
        """The whole job failed."""
        return cls({}, {task.key: _told(task, error) for task in job}, _is_exhaustion(error))


def get_ready() -> None:
    """Import what jobs need."""
    importlib.import_module("unlearnbench.stages")


def carry_out(job: Job, place: Place) -> Outcome:
    """Run a job and store its results. A failing plugin is an outcome, not an exception."""
    from unlearnbench.stages import run_job
    from unlearnbench.store import Artifact, CorruptArtifactError
    from unlearnbench.workplace import MissingArtifactError

    outcome = Outcome()
    try:
        # Whatever plugins print: stdout is for results.
        with contextlib.redirect_stdout(sys.stderr):
            workplace = _workplace(place)
            results = run_job(job, workplace)
        for task, result in zip(job, results, strict=True):
            if isinstance(result, Artifact):
                workplace.store.put(task.key, result)
                outcome.values[task.key] = dict(result.values)
            else:
                outcome.errors[task.key] = _told(task, result)
    except (MissingArtifactError, CorruptArtifactError) as error:
        return Outcome(missing=error.key, why=error_line(error))
    except (Exception, SystemExit) as error:
        outcome = Outcome.failure(job, error)
        if outcome.exhausted:
            _workplace(place).free()
    return outcome


def _is_exhaustion(error: BaseException) -> bool:
    """Whether memory ran out: CUDA's has an exception of its own, torch's CPU allocator says it in words."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def _told(task: Task, error: BaseException) -> tuple[str, str]:
    return f"{task.stage}: {error_line(error)}", "".join(traceback.format_exception(error))


@lru_cache(maxsize=4)
def _workplace(place: Place) -> Any:
    """One per process and place: plugins are found and images loaded once."""
    from unlearnbench.workplace import Workplace

    return Workplace.open(place.data_root, place.cache, place.plugin_dirs, place.device)
