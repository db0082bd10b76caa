"""Executors that concurrent.futures lacks: one in this process, and one whose workers come and go."""

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
    """The worker of a task died, and no other task was lost with it."""


class Cluster(Executor):
    """Workers that come, go and die one by one, whereas the workers of a pool die together."""

    @abstractmethod
    def workers(self) -> int:
        """The number of workers; waits for the first one."""


@contextlib.contextmanager
def _stdout_kept() -> Iterator[None]:
    """Redirect to stderr what a plugin's C code or child processes write to stdout, bypassing Python."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
