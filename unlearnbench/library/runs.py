"""`run` and `load`: a suite to its results, and results that are there already."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from unlearnbench.library.results import Results
from unlearnbench.library.surroundings import visiting
from unlearnbench.running.options import EngineName
from unlearnbench.suite import packaged
from unlearnbench.system.errors import InputError, StrPath, an, records_of, suggest

if TYPE_CHECKING:
    from unlearnbench.running.options import RunOptions
    from unlearnbench.suite.selection import Selection

Names = str | Sequence[str]


def run(
    suite: StrPath | Mapping[str, Any],
    *,
    experiments: Names = (),
    methods: Names = (),
    attacks: Names = (),
    datasets: Names = (),
    networks: Names = (),
    seeds: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    results: StrPath | None = None,
    data: StrPath | None = None,
    cache: StrPath | None = None,
    plugins: StrPath | Sequence[StrPath] = (),
    engine: EngineName | None = None,
    jobs: int | None = None,
    device: str = "auto",
    scheduler: str | None = None,
    cells_per_device: int = 1,
    time_limit: float | None = None,
    force: bool = False,
    retry_failed: bool = False,
    fail_fast: bool = False,
    verbose: bool = False,
) -> Results:
    """Run a suite, as the command `unlearnbench run` does: what is finished is not computed again.

    Progress goes to stderr, which a notebook shows. Cells that fail do not raise: `Results.failed` counts them. After
    an interruption the same call goes on.

    Args:
        suite: a file; the name of a suite that comes with unlearnbench, such as ``"quickstart"``; or a dict in the form
            of a suite file.
        experiments: names of experiments; empty: all. One name may be given without a list, here and below.
        methods: names, or ``"name[param=value,...]"``; original and retrain are always added.
        attacks, datasets, networks: likewise.
        seeds: repetitions 0 to seeds-1, instead of the suite's.
        overrides: scenario keys and their values, such as ``{"beta": 0, "stop.steps": 5}``.
        results: the result folder; None: ``results/<suite name>``.
        data: the data folder; None: UNLEARNBENCH_DATA, else the user's cache directory.
        cache: the store of trained models; None: UNLEARNBENCH_CACHE, else the user's cache directory.
        plugins: folders of your own plugins, whose code runs. Files that changed since the last call are read again.
        engine: ``"serial"``, ``"loky"`` or ``"dask"``; None: loky if `jobs` is over 1. Worker processes end with the
            call.
        jobs: the number of worker processes; None: one for each core.
        device: ``"auto"``, ``"cpu"``, or GPUs such as ``"cuda:0,cuda:1"``.
        scheduler: the address of a Dask scheduler, with ``engine="dask"``.
        cells_per_device: cells at a time on each GPU.
        time_limit: seconds after which a job is ended; its cells fail.
        force: compute again what is there.
        retry_failed: try failed cells again.
        fail_fast: stop at the first cell that fails.
        verbose: show what goes into the run's log.

    Raises:
        InputError: bad input, as one line that says where, what and what to do.
        KeyboardInterrupt: the run was interrupted; what was recorded stays.
    """
    selection = _selection(experiments, methods, attacks, datasets, networks, seeds, overrides)
    _check(engine, jobs, seeds, cells_per_device, time_limit)
    given: Any = suite
    if not isinstance(given, str | os.PathLike | Mapping):
        what = f"must be a file, the name of a suite, or a dict in the form of a suite file, not {type(given).__name__}"
        raise InputError("suite", what)
    with visiting():
        from unlearnbench.workflow import options

        source = _plain(suite, "suite") if isinstance(suite, Mapping) else packaged.suite_file(os.fspath(suite))
        resolved = options.resolve(
            data=_path(data),
            results=_path(results),
            cache=_path(cache),
            plugins=[Path(folder) for folder in ([plugins] if isinstance(plugins, str | os.PathLike) else plugins)],
            engine=engine,
            jobs=jobs,
            scheduler=scheduler,
            device=device,
            cells_per_device=cells_per_device,
            time_limit=time_limit,
            force=force,
            retry_failed=retry_failed,
            fail_fast=fail_fast,
            verbose=verbose,
        )
        folder = _run(source, selection, resolved, results is None)
    return Results(folder)


def load(folder: StrPath) -> Results:
    """The results in a folder that `run` wrote, whoever called it.

    Raises:
        InputError: the folder holds no records.
    """
    given: Any = folder
    if not isinstance(given, str | os.PathLike):
        raise InputError("folder", f"must be a path, not {type(given).__name__}")
    records_of(Path(folder))
    return Results(folder)


def _run(suite: Path | Mapping[str, Any], selection: Selection, how: RunOptions, by_name: bool) -> Path:
    """Run the suite; returns its result folder, which `by_name` lies below that of the options."""
    from unlearnbench.running import worker
    from unlearnbench.suite import tune_section
    from unlearnbench.workflow import loading
    from unlearnbench.workflow.finish import run_to_the_end

    loaded = loading.load(suite, how.plugin_dirs)
    settings = loaded.settings(selection)
    tune_section.refuse_partial(loaded, settings)
    plan = loading.plan(settings, how.data_root, how.device)
    loading.report_plugins(loaded, how.plugin_dirs)
    if by_name:
        how = replace(how, results=how.results / loaded.name)
    try:
        summary = run_to_the_end(plan, how)
    finally:
        if how.engine == "serial":  # plugins may be edited before the next call
            worker.leave()
    if summary.interrupted:
        raise KeyboardInterrupt
    if summary.lost:
        raise InputError(str(how.results), f"{summary.lost} records are gone; call run again")
    return how.results


def _selection(
    experiments: Names, methods: Names, attacks: Names, datasets: Names, networks: Names, seeds: int | None,
    overrides: Mapping[str, Any] | None,
) -> Selection:  # fmt: skip
    from unlearnbench.suite.selection import Selection

    assigned = tuple(f"{key}={json.dumps(_plain(value, key))}" for key, value in (overrides or {}).items())
    names = {"experiments": experiments, "methods": methods, "attacks": attacks, "datasets": datasets,
             "networks": networks}  # fmt: skip
    chosen = {kind: _names(kind, given) for kind, given in names.items()}
    return Selection(**chosen, seeds=seeds, overrides=assigned)


def _names(kind: str, given: Names) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise InputError(kind, "must be a name or a list of names; an empty list selects all")
    return tuple(names)


def _check(
    engine: str | None, jobs: int | None, seeds: int | None, cells_per_device: int, time_limit: float | None
) -> None:
    """What the command line's own options refuse before a verb sees them."""
    if engine is not None and engine not in get_args(EngineName):
        raise InputError("engine", f"unknown engine '{engine}'{suggest(str(engine), get_args(EngineName))}")
    whole = {"jobs": (jobs, 1_000_000), "seeds": (seeds, 1_000), "cells_per_device": (cells_per_device, 64)}
    for name, (value, most) in whole.items():
        if value is not None and (type(value) is not int or not 1 <= value <= most):
            raise InputError(name, f"must be a whole number from 1 to {most:,}")
    if time_limit is not None and not time_limit >= 0.1:
        raise InputError("time_limit", "must be at least 0.1 seconds")


def _path(given: StrPath | None) -> Path | None:
    return None if given is None else Path(given)


def _plain(value: Any, where: str) -> Any:
    """A value in the form in which a YAML file would give it; a dict may hold tuples and the like."""
    if isinstance(value, Mapping):
        if odd := next((key for key in value if not isinstance(key, str)), None):
            raise InputError(where, f"the key {odd!r} is not text")
        return {key: _plain(each, f"{where}.{key}") for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, f"{where}[{number}]") for number, each in enumerate(value)]
    if value is None or type(value) in (str, bool, int, float):
        return value
    raise InputError(where, f"{an(type(value).__name__)} can't stand in a suite; write a number, text, list or dict")
