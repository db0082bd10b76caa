"""The command line: one verb, one short function.

Results go to stdout, progress and errors to stderr. Exit codes: 0 all done, 1 some cells failed, 2 bad usage or
input, or results that could not be printed, 128 + N ended by signal N: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP, and 141
where nobody reads stdout any more. torch, pandas and pyarrow are imported inside the verbs that need them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from unlearnbench.cli import cache as cli_cache
from unlearnbench.cli import check as cli_check
from unlearnbench.cli import compare as cli_compare
from unlearnbench.cli import loading as cli_loading
from unlearnbench.cli import merge as cli_merge
from unlearnbench.cli import new as cli_new
from unlearnbench.cli import options
from unlearnbench.cli import publish as cli_publish
from unlearnbench.cli import report as cli_report
from unlearnbench.cli import run as cli_running
from unlearnbench.cli import verify as cli_verify
from unlearnbench.cli.run import INTERRUPTED, OK
from unlearnbench.system import interruption, streams
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import complain, emit, emit_json, one_line
from unlearnbench.system.roots import as_named, forget
from unlearnbench.system.version import __version__

BAD_INPUT = 2
USAGE_ERROR = cast(type[Exception], typer.BadParameter.__mro__[1])  # typer does not export it by name

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="How much private information do machine-unlearning methods leak?",
)
app.add_typer(cli_cache.app, name="cache")
app.add_typer(cli_new.app, name="new")


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script: returns the exit code. Errors a user can act on are one line on stderr."""
    forget()
    streams.settle()
    with interruption.listening() as ending:
        try:
            code = _carry_out(arguments)
        except KeyboardInterrupt:
            code = INTERRUPTED
        if code == INTERRUPTED:
            complain(interruption.MESSAGE)
            code = ending.code
        return streams.outcome(code)


def _carry_out(arguments: Sequence[str] | None) -> int:
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="unlearnbench", standalone_mode=False)
    except InputError as error:
        complain(f"error: {error}")
        return BAD_INPUT
    except PermissionError as error:  # a folder in which nobody may look, wherever that shows
        complain(f"error: {error.filename or 'a file'}: can't be read or written: {error.strerror}")
        return BAD_INPUT
    except typer.Abort:  # what the option parser makes of an interrupt
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
    scheduler: options.Scheduler = None,
    device: options.Device = "auto",
    cells_per_device: options.PerDevice = 1,
    time_limit: options.TimeLimit = None,
    data: options.Data = None,
    results: options.Results = None,
    cache: options.Cache = None,
    plugins: options.Plugins = None,
    force: options.Force = False,
    retry_failed: options.RetryFailed = False,
    fail_fast: options.FailFast = False,
    verbose: options.Verbose = False,
) -> int:
    """Run a suite.

    What was computed before is not computed again; after an interruption, run it again to go on. A section 'tune' of
    an experiment is ignored, unless it draws or screens settings: then the experiment is for 'tune' only.
    """
    return cli_running.run(
        cli_running.Request(
            suite,
            cli_loading.Chosen(experiment, method, attack, dataset, seeds, override),
            cli_running.How(
                engine=engine,
                jobs=jobs,
                scheduler=scheduler,
                device=device,
                cells_per_device=cells_per_device,
                time_limit=time_limit,
                data=data,
                results=results,
                cache=cache,
                plugins=plugins,
                force=force,
                retry_failed=retry_failed,
                fail_fast=fail_fast,
                verbose=verbose,
            ),
        )
    )


@app.command()
def tune(
    suite: options.SuiteFile,
    experiment: options.Experiments = None,
    method: options.Methods = None,
    dataset: options.Datasets = None,
    seeds: options.Seeds = None,
    override: options.Overrides = None,
    engine: options.EngineName = None,
    jobs: options.Jobs = None,
    scheduler: options.Scheduler = None,
    device: options.Device = "auto",
    cells_per_device: options.PerDevice = 1,
    time_limit: options.TimeLimit = None,
    data: options.Data = None,
    results: options.Results = None,
    cache: options.Cache = None,
    plugins: options.Plugins = None,
    force: options.Force = False,
    retry_failed: options.RetryFailed = False,
    fail_fast: options.FailFast = False,
    verbose: options.Verbose = False,
) -> int:
    """Choose every method's best setting.

    Runs the experiments of a suite that have a section 'tune', on validation images and never on test images, and
    writes tuned.yaml, tuning.parquet and tuning.md beside the leaderboard. They hold the choices of this call only;
    what was computed before is not computed again.
    """
    return cli_running.tune(
        cli_running.Request(
            suite,
            cli_loading.Chosen(experiment, method, None, dataset, seeds, override),
            cli_running.How(
                engine=engine,
                jobs=jobs,
                scheduler=scheduler,
                device=device,
                cells_per_device=cells_per_device,
                time_limit=time_limit,
                data=data,
                results=results,
                cache=cache,
                plugins=plugins,
                force=force,
                retry_failed=retry_failed,
                fail_fast=fail_fast,
                verbose=verbose,
            ),
        )
    )


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

    Also counts the tasks (train, unlearn, shadows, attack) behind them. Of an experiment that is tuned in two rounds,
    shows the first.
    """
    root = options.data_root(data)
    loaded = cli_loading.load(suite, plugins)
    planned = cli_loading.plan(
        loaded.settings(cli_loading.Chosen(experiment, method, attack, dataset, seeds, override).selection), root
    )
    from unlearnbench.cli import listing as cli_listing

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
        loaded = cli_loading.load(suite, plugins)
    except InputError as error:
        if output is options.Format.json:
            emit_json({"valid": False, "errors": [{"where": as_named(error.where), "what": as_named(error.what)}]})
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

    Says what was read and what was left out, how images were decoded, the numbers of the classes, and which images are
    there more than once. May download; no other verb does.
    """
    from unlearnbench.cli import prepare as cli_prepare

    return cli_prepare.prepare(
        cli_loading.load(suite, plugins), cli_loading.Chosen(datasets=dataset).selection, options.data_root(data)
    )


@app.command("list")
def list_plugins(
    plugins: options.Plugins = None, long: options.Long = False, output: options.Output = options.Format.text
) -> int:
    """Show all plugins.

    Methods, attacks and datasets, then the files that are broken, with their errors.
    """
    from unlearnbench.cli import listing as cli_listing
    from unlearnbench.registry import registry

    cli_listing.show_list(registry.discover(plugins or ()), output, long)
    return OK


@app.command()
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A method, attack or dataset.")],
    plugins: options.Plugins = None,
    output: options.Output = options.Format.text,
) -> int:
    """Show a plugin's parameters.

    Also where it is from, its paper, what it does and, of an attack, what it sees.
    """
    from unlearnbench.cli import listing as cli_listing
    from unlearnbench.registry import registry

    cli_listing.show_info(registry.discover(plugins or ()), name, output)
    return OK


@app.command()
def check(
    name: cli_check.Name,
    kind: options.Kind = None,
    plugins: options.Plugins = None,
    data: options.Data = None,
    time_limit: cli_check.CheckLimit = None,
    output: options.Output = options.Format.text,
) -> int:
    """Hold a plugin to the rules.

    Runs it on a few digits, in a process without network: every rule that it breaks is said, with what to change.
    """
    return cli_check.check(name, kind, plugins, data, time_limit, output)


@app.command()
def report(
    folder: cli_report.Folder,
    metric: cli_report.MetricNames = None,
    sort: cli_report.Sort = None,
    output: options.ReportOutput = options.ReportFormat.text,
) -> int:
    """Print a run's leaderboard, made from its records."""
    return cli_report.report(folder, metric, sort, output)


@app.command()
def compare(
    folder: cli_compare.Folder,
    claims: cli_compare.ClaimsFile = None,
    strict: cli_compare.Strict = False,
    output: cli_compare.Output = cli_compare.CompareFormat.text,
    report: cli_compare.Report = None,
) -> int:
    """Hold a run against a paper's claims.

    Prints the paper's tables beside the measured ones and a verdict on each claim.
    """
    return cli_compare.compare(folder, claims, strict, output, report)


@app.command()
def publish(
    folders: cli_publish.Folders,
    out: cli_publish.Out,
    title: cli_publish.Title = "unlearnbench",
    claims: cli_publish.ClaimsFiles = None,
    plugins: options.Plugins = None,
) -> int:
    """Build a static site of results.

    Pages of experiments, methods and attacks with tables, figures and provenance; they need no server and nothing from
    another host.
    """
    return cli_publish.publish(folders, out, title, claims, plugins)


app.command()(cli_merge.merge)
app.command()(cli_verify.verify)
