"""The command line: one verb, one short function.

Results go to stdout, progress and errors to stderr. Exit codes: 0 all done, 1 some cells failed, 2 bad usage or
input, 130 interrupted. torch, pandas and pyarrow are imported inside the verbs that need them.
"""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from unlearnbench import __version__, devices, receipt
from unlearnbench import cli_options as options
from unlearnbench.errors import InputError
from unlearnbench.printing import complain, emit, emit_json, error_line, one_line

if TYPE_CHECKING:
    from unlearnbench.plan import Plan
    from unlearnbench.registry import Registry
    from unlearnbench.suite import Selection, Suite

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
USAGE_ERROR = cast(type[Exception], typer.BadParameter.__mro__[1])  # typer does not export it by name

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="How much private information do machine-unlearning methods leak?",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script: returns the exit code. Errors a user can act on are one line on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a plugin's text never fails to print
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="unlearnbench", standalone_mode=False)
    except InputError as error:
        complain(f"error: {error}")
        return BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except USAGE_ERROR as error:
        complain(f"error: {options.usage_line(error)}")
        return BAD_INPUT
    return code if isinstance(code, int) else OK


def _version(wanted: bool) -> None:
    if wanted:
        emit(f"unlearnbench {__version__}")
        raise typer.Exit(OK)


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    suite: options.SuiteFile,
    experiment: options.Experiments = None,
    method: options.Methods = None,
    attack: options.Attacks = None,
    dataset: options.Datasets = None,
    seeds: options.Seeds = None,
    override: options.Overrides = None,
    engine: options.EngineName = None,
    jobs: options.Jobs = None,
    device: options.Device = "auto",
    data: options.Data = None,
    results: options.Results = None,
    cache: options.Cache = None,
    plugins: options.Plugins = None,
    force: options.Force = False,
    retry_failed: options.RetryFailed = False,
    fail_fast: options.FailFast = False,
) -> int:
    """Run a suite.

    What was computed before is not computed again; after an interruption, run it again to go on.
    """
    engine_name, workers = options.engine_and_jobs(engine, jobs)
    devices.parse(device)
    chosen = {"e": experiment, "m": method, "a": attack, "d": dataset, "seeds": seeds, "set": override}

    def asked() -> receipt.Request | None:
        return receipt.request(suite, chosen, options.data_root(data), plugins or (), results)

    before = asked()
    if before is not None and not (force or retry_failed) and (known := receipt.find(before)) is not None:
        planned, skipped = known
        emit(f"cells: planned={planned} done=0 cached={planned - skipped} failed=0 skipped={skipped}")
        return OK
    selection = _selection(experiment, method, attack, dataset, seeds, override)
    loaded, plan = _plan(suite, selection, data, plugins)
    from unlearnbench import runner

    summary = runner.run(
        plan,
        runner.RunOptions(
            data_root=options.data_root(data),
            results=results if results is not None else Path("results") / loaded.name,
            cache=options.cache_root(cache),
            engine=engine_name,
            jobs=workers,
            device=device,
            plugin_dirs=tuple(plugins or ()),
            force=force,
            retry_failed=retry_failed,
            fail_fast=fail_fast,
        ),
    )
    counts = " ".join(f"{key}={getattr(summary, key)}" for key in ("planned", "done", "cached", "failed", "skipped"))
    emit(f"cells: {counts}")
    if summary.interrupted:
        return INTERRUPTED
    if summary.failed or not summary.leaderboard:
        return FAILED
    if before is not None and not loaded.registry.broken:  # what is broken is told every time
        receipt.keep(before, asked(), plan)
    return OK


@app.command()
def plan(
    suite: options.SuiteFile,
    experiment: options.Experiments = None,
    method: options.Methods = None,
    attack: options.Attacks = None,
    dataset: options.Datasets = None,
    seeds: options.Seeds = None,
    override: options.Overrides = None,
    data: options.Data = None,
    plugins: options.Plugins = None,
    output: options.Output = options.Format.text,
) -> int:
    """Show the cells that run would compute.

    Also counts the tasks (train, unlearn, shadows, attack) behind them.
    """
    selection = _selection(experiment, method, attack, dataset, seeds, override)
    loaded, planned = _plan(suite, selection, data, plugins)
    from unlearnbench import cli_listing

    cli_listing.show_plan(loaded.name, planned, output)
    for error in dict.fromkeys(cell.error for cell in planned.cells if cell.error is not None):
        complain(f"warning: cells will fail: {error}")
    return OK


@app.command()
def validate(
    suite: options.SuiteFile, plugins: options.Plugins = None, output: options.Output = options.Format.text
) -> int:
    """Check a suite file.

    Every key, name, parameter and rule is checked. Reads no data and computes nothing.
    """
    try:
        loaded, _ = _load(suite, plugins)
    except InputError as error:
        if output is options.Format.json:
            emit_json({"valid": False, "errors": [{"where": error.where, "what": error.what}]})
        raise
    cells = Counter(setting.experiment for setting in loaded.settings())
    if output is options.Format.json:
        emit_json({"valid": True, "suite": loaded.name, "cells": dict(cells), "errors": []})
    else:
        parts = ", ".join(f"{name} {count}" for name, count in cells.items())
        emit(f"{one_line(str(suite))}: valid; cells: {cells.total()} ({parts})")
    return OK


@app.command()
def prepare(
    suite: options.SuiteFile,
    dataset: options.Datasets = None,
    data: options.Data = None,
    plugins: options.Plugins = None,
) -> int:
    """Fetch and check a suite's data.

    May download; no other verb does.
    """
    loaded, _ = _load(suite, plugins)
    selection = _selection(dataset=dataset)
    root = options.data_root(data)
    for choice in {setting.dataset.id: setting.dataset for setting in loaded.settings(selection)}.values():
        source = cast(Any, choice.info.cls(choice.params))
        try:
            source.prepare(root)
            images = source.load(root)
        except (OSError, RuntimeError) as error:  # no network, no space, a damaged archive
            raise InputError(choice.id, f"can't be prepared in {root}: {error_line(error)}") from error
        shape = "x".join(str(side) for side in images.train.pixels.shape[1:])
        emit(
            f"{one_line(choice.id)}: train={len(images.train)} test={len(images.test)}"
            f" classes={images.classes} shape={shape}"
        )
    return OK


@app.command("list")
def list_plugins(plugins: options.Plugins = None, output: options.Output = options.Format.text) -> int:
    """Show all plugins.

    Methods, attacks and datasets, then the files that are broken, with their errors.
    """
    from unlearnbench import cli_listing, registry

    cli_listing.show_list(registry.discover(plugins or ()), output)
    return OK


@app.command()
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A method, attack or dataset.")],
    plugins: options.Plugins = None,
) -> int:
    """Show a plugin's parameters.

    Also its description and its paper.
    """
    from unlearnbench import cli_listing, registry

    cli_listing.show_info(registry.discover(plugins or ()), name)
    return OK


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A result folder, e.g. results/quickstart.")],
    output: options.ReportOutput = options.ReportFormat.text,
) -> int:
    """Build and print a run's leaderboard."""
    records = folder / "records"
    if not records.is_dir():
        raise InputError(str(folder), "holds no folder 'records'; give one that run has written, e.g. results/<suite>")
    from unlearnbench import leaderboard
    from unlearnbench.report import export, terminal

    frame = leaderboard.build(records, folder)
    if output is options.ReportFormat.text:
        from rich.console import Console

        Console(highlight=False).print(terminal.render(frame))
    else:
        emit(export.export(frame, output.value).rstrip("\n"))
    return OK


def _selection(
    experiment: Iterable[str] | None = None,
    method: Iterable[str] | None = None,
    attack: Iterable[str] | None = None,
    dataset: Iterable[str] | None = None,
    seeds: int | None = None,
    override: Iterable[str] | None = None,
) -> Selection:
    from unlearnbench.suite import Selection

    return Selection(
        experiments=tuple(experiment or ()),
        methods=tuple(method or ()),
        attacks=tuple(attack or ()),
        datasets=tuple(dataset or ()),
        seeds=seeds,
        overrides=tuple(override or ()),
    )


def _load(suite: Path, plugins: Sequence[Path] | None) -> tuple[Suite, Registry]:
    from unlearnbench.registry import discover
    from unlearnbench.suite import load_suite

    registry = discover(plugins or ())
    for bad in registry.broken:
        complain(f"warning: {bad.kind or 'plugin'} '{bad.name}' is broken: {bad.error} ({bad.origin})")
    return load_suite(suite, registry), registry


def _plan(suite: Path, selection: Selection, data: Path | None, plugins: Sequence[Path] | None) -> tuple[Suite, Plan]:
    loaded, _ = _load(suite, plugins)
    settings = loaded.settings(selection)
    from unlearnbench import plan

    return loaded, plan.build(settings, options.data_root(data))
