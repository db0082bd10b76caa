"""What runs inside a worker: one task from the store to the store."""

from __future__ import annotations

import contextlib
import sys
import traceback
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from unlearnbench.plan import Task
from unlearnbench.printing import error_line


@dataclass(frozen=True)
class Place:
    """Where a task is carried out; plain values, sent to the worker with the task."""

    data_root: Path
    cache: Path
    plugin_dirs: tuple[Path, ...]
    device: str


@dataclass(frozen=True)
class Outcome:
    """What became of a task. `missing` names an artifact that it needs and that is gone or damaged."""

    status: Literal["ok", "failed", "missing"]
    values: dict[str, Any] | None = None
    error: str | None = None
    trace: str | None = None
    missing: str | None = None


def carry_out(task: Task, place: Place) -> Outcome:
    """Run a task and store its result. A failing plugin is an outcome, not an exception."""
    from unlearnbench.stages import run_stage
    from unlearnbench.store import CorruptArtifactError
    from unlearnbench.workplace import MissingArtifactError

    try:
        # Whatever plugins print: stdout is for results.
        with contextlib.redirect_stdout(sys.stderr):
            workplace = _workplace(place)
            artifact = run_stage(task, workplace)
        workplace.store.put(task.key, artifact)
    except (MissingArtifactError, CorruptArtifactError) as error:
        return Outcome("missing", missing=error.key, error=error_line(error))
    except (Exception, SystemExit) as error:
        return Outcome("failed", error=f"{task.stage}: {error_line(error)}", trace=traceback.format_exc())
    return Outcome("ok", values=dict(artifact.values))


@lru_cache(maxsize=4)
def _workplace(place: Place) -> Any:
    """One per process and place: plugins are found and images loaded once."""
    from unlearnbench.workplace import Workplace

    return Workplace.open(place.data_root, place.cache, place.plugin_dirs, place.device)
