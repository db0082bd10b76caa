"""Engines: how tasks reach workers. All speak concurrent.futures, so that the runner does not care which it has."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, Literal

from unlearnbench import interruption, streams

EngineName = Literal["serial", "loky", "dask"]

# Small kernels with two threads on a busy two-core machine ran 60 times slower than with one.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


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


def start(engine: EngineName, workers: int, scheduler: str | None = None) -> Executor:
    """An executor with `workers` workers of one thread each, or those that a Dask scheduler has.

    loky is joblib's own process pool; a worker that dies does not hang it, it raises.

    Raises:
        InputError: the scheduler can't be reached, or its workers can't be used.
    """
    if engine == "serial":
        limit_threads()
        return Inline()
    if engine == "dask":
        from unlearnbench import dask_engine

        return dask_engine.start(workers, scheduler)
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.backend import resource_tracker

    with interruption.deaf():
        resource_tracker.ensure_running()
    # Where psutil is there, loky replaces workers that have grown by 300 MB between two jobs, and calls that a leak.
    warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
    executor: Executor = ProcessPoolExecutor(workers, initializer=settle, initargs=(os.getpid(),), env=THREADS)
    return executor


def stop(executor: Executor) -> None:
    """End the workers at once, whatever they do: results so far are in the store."""
    if isinstance(executor, Inline | Cluster):
        executor.shutdown(cancel_futures=True)
        return
    executor.shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]


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


def settle(parent: int) -> None:
    """Make this process a worker of `parent`."""
    be_quiet()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    limit_threads()


def be_quiet() -> None:
    """Leave stdout, and signals that ask to end, to the parent."""
    interruption.leave_to_parent()
    streams.settle()
    sys.stdout.flush()
    os.dup2(2, 1)


def _end_with(parent: int) -> None:
    """A parent that was killed could not end its workers, and they would wait for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def limit_threads() -> None:
    """One thread for this process's kernels, memory kept for the next step, and the same kernel for the same work."""
    os.environ.update(THREADS)
    _keep_memory()
    import torch

    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True  # the same cell gives the same numbers
    torch.backends.cudnn.benchmark = False


def _keep_memory() -> None:
    """Have glibc keep what is freed: each step of many replicas frees and takes the same megabytes.

    By default every block goes back to the kernel and comes again page by page: 512 replicas took 2.5 times as long.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library: slower, nothing else
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
