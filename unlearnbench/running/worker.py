"""Runs inside a worker: takes one job's inputs from the store and puts its results there."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.suite.tasks import Job, Task
from unlearnbench.system.errors import UnreadableError, unwritable
from unlearnbench.system.printing import error_line, one_line
from unlearnbench.system.process import is_exhaustion
from unlearnbench.system.time_limit import OverdueError, limited

if TYPE_CHECKING:
    from unlearnbench.stages.resources import Workplace

NamedHashes = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class JobPlace:
    """Where and how a job runs: plain values, sent to the worker with the job.

    Attributes:
        time_limit: seconds that a job may take.
        expendable: whether to end the process together with a job that takes longer.
        data, plugins: what the plan was made from: the fingerprint of each dataset by its id, and the SHA-256 of each
            plugin's files, with its packages' versions, by its kind and name. Only checked by workers that may be on
            another machine.
    """

    data_root: Path
    cache: Path
    plugin_dirs: tuple[Path, ...]
    device: str
    time_limit: float | None = None
    expendable: bool = False
    data: NamedHashes = ()
    plugins: NamedHashes = ()


@dataclass(frozen=True)
class JobOutcome:
    """The outcome of a job's tasks, by their keys.

    Attributes:
        values: what the finished tasks have measured.
        errors: why other tasks failed: one line, and the traceback.
        exhausted: whether memory ran out for this many models at a time.
        late: whether the job took too long and was interrupted; nothing was done.
        missing: an artifact that the job needs and that is missing or damaged, see `why`; nothing was done.
        refused: a file or folder that the user has to fix, and what is wrong: a result can't be stored (a full disk, no
            permission), an existing file can't be read, or a worker does not see the store. Nothing was done.
    """

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, tuple[str, str]] = field(default_factory=dict)
    exhausted: bool = False
    late: bool = False
    missing: str | None = None
    why: str = ""
    refused: tuple[str, str] | None = None

    @classmethod
    def failure(cls, job: Job, error: BaseException) -> JobOutcome:
        """The whole job failed, or an artifact or an image can't be read, which is not the fault of its cells."""
        if isinstance(error, UnreadableError):
            return cls(refused=(error.where, error.what))
        return cls({}, {task.key: _described(task, error) for task in job}, exhausted=is_exhaustion(error))

    @classmethod
    def unwritable(cls, error: OSError, cache: Path) -> JobOutcome:
        """A result could not be stored."""
        refusal = unwritable(error, cache)
        return cls(refused=(refusal.where, refusal.what))


def get_ready(attacks: bool = False) -> None:
    """Import what jobs need. With `attacks`, have the process from which attacks are forked import it as well."""
    importlib.import_module("unlearnbench.stages.jobs")
    if attacks:
        from unlearnbench.stages.isolation import warm_up

        warm_up()


def carry_out(job: Job, place: JobPlace) -> JobOutcome:
    """Run a job and store its results. A failing plugin is an outcome, not an exception."""
    from unlearnbench.stages.jobs import run_job
    from unlearnbench.stages.resources import MissingArtifactError
    from unlearnbench.stages.resumption import key_of
    from unlearnbench.system.store import Artifact, CorruptArtifactError

    outcome = JobOutcome()
    try:
        # Plugins may print anything: stdout is for results.
        with contextlib.redirect_stdout(sys.stderr), limited(place.time_limit, place.expendable):
            workplace = workplace_of(place)
            results = run_job(job, workplace)
        for task, result in zip(job, results, strict=True):
            if isinstance(result, Artifact):
                try:
                    workplace.store.put(task.key, result)
                except OSError as error:  # not the cell's fault; later cells would meet it, too
                    return JobOutcome.unwritable(error, place.cache)
                outcome.values[task.key] = dict(result.values)
            else:
                outcome.errors[task.key] = _described(task, result)
        workplace.store.discard_checkpoints(key_of(job))
    except OverdueError:
        return JobOutcome(late=True)
    except (MissingArtifactError, CorruptArtifactError) as error:
        return JobOutcome(missing=error.key, why=error_line(error))
    except (Exception, SystemExit) as error:
        outcome = JobOutcome.failure(job, error)
        if outcome.exhausted:
            workplace_of(place).free()
            workplace_of(place).store.discard_checkpoints(key_of(job))  # half the models at a time have another key
    return outcome


def _described(task: Task, error: BaseException) -> tuple[str, str]:
    from unlearnbench.stages.result_checks import RemoteError

    if isinstance(error, RemoteError):
        return f"{task.stage}: {one_line(error.line)}", error.trace
    return f"{task.stage}: {error_line(error)}", "".join(traceback.format_exception(error))


def workplace_of(place: JobPlace) -> Workplace:
    """The workplace of a process, one per place, so that plugins are discovered and images loaded once."""
    return _workplace(place)


def leave() -> None:
    """Let go of what jobs in this process have loaded, and of the process that their attacks were forked from."""
    from unlearnbench.stages import isolation

    _workplace.cache_clear()
    isolation.close()


@lru_cache(maxsize=4)
def _workplace(place: JobPlace) -> Workplace:
    from unlearnbench.stages.resources import Workplace

    return Workplace.open(place.data_root, place.cache, place.plugin_dirs, place.device)
