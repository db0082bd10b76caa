"""Checkpoints of a job in the store, beside the artifact that it computes."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearnbench.suite.tasks import Job
from unlearnbench.system.checkpoint_interval import checkpoint_seconds
from unlearnbench.system.devices import describe
from unlearnbench.system.errors import UnreadableError
from unlearnbench.system.package_code import CODE
from unlearnbench.system.printing import complain, error_line
from unlearnbench.system.store import Artifact, CorruptArtifactError, Store
from unlearnbench.training.checkpoints import Checkpoints

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Attacks run in a process of their own that may not write; a time is measured without interruptions.
_NEVER = ("attack", "timing")


def checkpoints_of(job: Job, store: Store, device: torch.device) -> Checkpoints:
    """The checkpoints of a job, which earlier attempts may have begun.

    Raises:
        InputError: the variable in the environment is not a number.
    """
    if job[0].stage in _NEVER:
        return Checkpoints()
    return Checkpoints(StoreShelf(store, key_of(job), job[0].stage, device), checkpoint_seconds())


def key_of(job: Job) -> str:
    """The key beside whose artifact a job's checkpoints lie: tasks that are computed together have them together."""
    return job[0].together[0] if job[0].together else job[0].key


class StoreShelf:
    """The checkpoints of one job in the store."""

    def __init__(self, store: Store, key: str, stage: str, device: torch.device) -> None:
        self._store, self._key, self._stage = store, key, stage
        self._inside = store.checkpoints(key)
        self._there = self._inside.root.is_dir()
        self._made_by = {**_software(), "device": describe(str(device)), "threads": torch.get_num_threads()}
        self._said = False

    def load(self, name: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        """What was saved last; None if there is nothing, or nothing that is whole and made by the same code."""
        if not self._there:
            return None
        try:
            found = self._inside.get(_hashed(name))
        except (CorruptArtifactError, UnreadableError) as error:
            self._say(f"a checkpoint can't be used ({error_line(error)}): this part of {self._stage} starts again")
            return None
        if found is not None and found.values["made_by"] != self._made_by:
            self._say(f"checkpoints of {self._stage} by other code, versions or hardware are not used: it starts again")
            return None
        return None if found is None else (found.tensors, found.values)

    def save(self, name: str, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> bool:
        """Replace what the name had; false if nothing more can be saved."""
        try:
            self._inside.put(_hashed(name), Artifact(tensors, {**values, "made_by": self._made_by}))
        except Exception as error:  # whatever it is, the work goes on without
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                self._store.discard_checkpoints(self._key)  # the results need the room
            self.give_up(error)
            return False
        self._there = True
        return True

    def drop(self, name: str) -> None:
        """Delete what the name has."""
        self._inside.path(_hashed(name)).unlink(missing_ok=True)

    def give_up(self, error: Exception) -> None:
        """Nothing more is saved, because of this error."""
        self._say(f"no checkpoints of {self._stage} are written ({error_line(error)}): an interruption would cost more")

    def _say(self, what: str) -> None:
        """One line for a job is enough."""
        if not self._said:
            complain(f"warning: {what}")
        self._said = True


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@cache
def _software() -> dict[str, str]:
    """What decides the last bits besides the key, which holds parts of these versions."""
    kernels = torch.backends.cpu.get_cpu_capability()
    return {"code": CODE, "torch": torch.__version__, "numpy": np.__version__, "kernels": kernels}
