"""Engines: how tasks reach workers. All speak concurrent.futures, so that the runner does not care which it has."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Literal

EngineName = Literal["serial", "loky"]

# Small kernels with two threads on a busy two-core machine ran 60 times slower than with one.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Inline(Executor):
    """Runs a task in this process when it is submitted."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def start(engine: EngineName, workers: int) -> Executor:
    """An executor with `workers` workers of one thread each.

    loky is joblib's own process pool; a worker that dies does not hang it, it raises.
    """
    if engine == "serial":
        limit_threads()
        return Inline()
    from joblib.externals.loky import ProcessPoolExecutor

    executor: Executor = ProcessPoolExecutor(max_workers=workers, initializer=limit_threads, env=THREADS)
    return executor


def stop(executor: Executor) -> None:
    """End the workers at once, whatever they do: results so far are in the store."""
    if isinstance(executor, Inline):
        return
    executor.shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]


def limit_threads() -> None:
    """One thread for this process's kernels."""
    os.environ.update(THREADS)
    import torch

    torch.set_num_threads(1)
