"""Executors that concurrent.futures lacks: in this process, and of workers that come and go."""

from __future__ import annotations

import contextlib
import os
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any


class Inline(Executor):
    """Runs a task in this process when it is submitted."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with _stdout_kept():
            try:
                future.set_result(function(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)
        return future


class WorkerDiedError(Exception):
    """The worker that had a task died, and no other task with it."""


class Cluster(Executor):
    """Workers that come, go and die one by one, where the workers of a pool die together."""

    @abstractmethod
    def workers(self) -> int:
        """How many there are; waits for the first."""


@contextlib.contextmanager
def _stdout_kept() -> Iterator[None]:
    """Send what is written past Python's own stdout, by a plugin's C code or its children, to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
