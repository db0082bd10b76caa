"""The options of a run from what was asked for: what was left out is taken from the environment and this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from unlearnbench.running.options import EngineName, RunOptions
from unlearnbench.system import devices
from unlearnbench.system.checkpoint_interval import checkpoint_seconds
from unlearnbench.system.errors import InputError
from unlearnbench.system.roots import root


def resolve(
    *,
    data: Path | None = None,
    results: Path | None = None,
    cache: Path | None = None,
    plugins: Sequence[Path] | None = None,
    engine: EngineName | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    cells_per_device: int = 1,
    time_limit: float | None = None,
    force: bool = False,
    retry_failed: bool = False,
    fail_fast: bool = False,
    verbose: bool = False,
) -> RunOptions:
    """The options of the runner. Without `results`, its `results` is the parent of the suites' result folders.

    Raises:
        InputError: an impossible engine, number of workers, device or time between checkpoints.
    """
    checkpoint_seconds()  # workers read it again
    wanted = devices.parse(device)
    if scheduler is not None and wanted not in ("auto", "cpu"):
        raise InputError("--device", "with --scheduler, CUDA_VISIBLE_DEVICES gives each worker its GPU; use auto")
    if scheduler is not None and cells_per_device > 1:
        raise InputError("--cells-per-device", "with --scheduler, start as many workers on each GPU")
    engine, jobs = engine_and_jobs(engine, jobs, scheduler)
    return RunOptions(
        data_root=data_root(data),
        results=root(results or Path("results")),
        cache=cache_root(cache),
        engine=engine,
        jobs=jobs,
        device=device,
        plugin_dirs=tuple(root(folder) for folder in plugins or ()),
        force=force,
        retry_failed=retry_failed,
        fail_fast=fail_fast,
        verbose=verbose,
        scheduler=scheduler,
        cells_per_device=cells_per_device,
        time_limit=time_limit,
    )


def data_root(option: Path | None) -> Path:
    """--data, else UNLEARNBENCH_DATA, else the user cache directory; absolute."""
    return _folder(option, "UNLEARNBENCH_DATA", "data")


def cache_root(option: Path | None) -> Path:
    """--cache, else UNLEARNBENCH_CACHE, else the user cache directory; absolute."""
    return _folder(option, "UNLEARNBENCH_CACHE", "artifacts")


def engine_and_jobs(
    engine: EngineName | None, jobs: int | None, scheduler: str | None = None
) -> tuple[EngineName, int]:
    """The engine's name and its number of workers: by default one per core."""
    if scheduler is not None:
        if engine != "dask":
            raise InputError("--scheduler", "is for --engine dask")
        if not re.fullmatch(r"(tcp|tls|wss?)://.+:[0-9]{1,5}", scheduler):
            raise InputError("--scheduler", f"'{scheduler}' is not an address like tcp://host:8786")
        if jobs is not None:
            raise InputError("--jobs", "a cluster has the workers that were started for it; leave it out")
    if engine == "serial":
        if jobs is not None and jobs > 1:
            raise InputError("--jobs", "the serial engine runs one job at a time; use --engine loky")
        return "serial", 1
    workers = jobs or _cores()
    if engine == "dask":
        return "dask", workers
    return ("loky" if engine == "loky" or workers > 1 else "serial"), workers


def _cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _folder(option: Path | None, variable: str, name: str) -> Path:
    if option is not None:
        return root(option)
    if os.environ.get(variable):
        return root(Path(os.environ[variable]))
    import platformdirs

    return root(platformdirs.user_cache_path("unlearnbench") / name)
