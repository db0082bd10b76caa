"""Engines: how tasks reach workers. All are executors of concurrent.futures, so the runner need not know which one."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import Executor

from unlearnbench.running.executors import Cluster, Inline
from unlearnbench.running.options import EngineName
from unlearnbench.system import interruption
from unlearnbench.system.process import THREADS, limit_threads, settle


def start(engine: EngineName, workers: int, scheduler: str | None = None) -> Executor:
    """An executor with `workers` single-threaded workers, or with the workers of a Dask scheduler.

    loky is joblib's process pool: when a worker dies, it raises an error and does not hang.

    Raises:
        InputError: the scheduler can't be reached, or its workers can't be used.
    """
    if engine == "serial":
        limit_threads()
        return Inline()
    if engine == "dask":
        from unlearnbench.running import dask_executor

        return dask_executor.start(workers, scheduler)
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.backend import resource_tracker

    with interruption.deaf():
        resource_tracker.ensure_running()
    # With psutil installed, loky replaces workers that grow by 300 MB between two jobs, and warns of a leak.
    warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
    executor: Executor = ProcessPoolExecutor(workers, initializer=settle, initargs=(os.getpid(),), env=THREADS)
    return executor


def stop(executor: Executor) -> None:
    """End the workers at once, whatever they are doing; finished results are in the store."""
    if isinstance(executor, Inline | Cluster):
        executor.shutdown(cancel_futures=True)
        return
    executor.shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]
