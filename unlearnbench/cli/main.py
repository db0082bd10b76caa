"""The command line: one verb, one function in its own file, which declares the verb's options.

Results go to stdout, progress and errors to stderr. Exit codes: 0 all done, 1 some cells failed, 2 bad usage or
input, or results that could not be printed, 128 + N ended by signal N: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP, and 141
if stdout is closed. torch, pandas and pyarrow are imported inside the verbs that need them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, cast

import typer

from unlearnbench.cli import (
    cache,
    check,
    compare,
    listing,
    merge,
    new,
    plan,
    prepare,
    publish,
    report,
    run,
    tune,
    validate,
    verify,
)  # fmt: skip
from unlearnbench.cli.exit_codes import BAD_INPUT, INTERRUPTED, OK
from unlearnbench.system import interruption, streams
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import complain, emit
from unlearnbench.system.roots import forget
from unlearnbench.system.version import __version__

USAGE_ERROR = cast(type[Exception], typer.BadParameter.__mro__[1])  # typer does not export it by name
VERBS: Mapping[str, Callable[..., int]] = {
    "run": run.run, "tune": tune.tune, "plan": plan.plan, "validate": validate.validate, "prepare": prepare.prepare,
    "list": listing.list_plugins, "info": listing.info, "check": check.check, "report": report.report,
    "compare": compare.compare, "publish": publish.publish, "merge": merge.merge, "verify": verify.verify,
}  # fmt: skip

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="How much private information do machine-unlearning methods leak?",
)
for name, verb in VERBS.items():
    app.command(name)(verb)
app.add_typer(cache.app, name="cache")
app.add_typer(new.app, name="new")


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script: returns the exit code. Errors that a user can act on are one line on stderr."""
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
    except PermissionError as error:  # a folder without permission, wherever that shows
        complain(f"error: {error.filename or 'a file'}: can't be read or written: {error.strerror}")
        return BAD_INPUT
    except typer.Abort:  # the option parser's form of an interrupt
        return INTERRUPTED
    except USAGE_ERROR as error:
        complain(f"error: {_usage_line(error)}")
        return BAD_INPUT
    return code if isinstance(code, int) else OK


def _usage_line(error: Any) -> str:
    """A usage error of the option parser, in this program's form."""
    place = error.ctx.command_path if getattr(error, "ctx", None) else "unlearnbench"
    if getattr(error, "possibilities", None) and hasattr(error, "option_name"):  # click has it for commands too
        return f"{place}: no such option {error.option_name}; did you mean '{error.possibilities[0]}'?"
    what = error.format_message().rstrip(".")
    for theirs, ours in {". Did you mean": "; did you mean", "Value error, ": "", "Input should": "must"}.items():
        what = what.replace(theirs, ours)
    return f"{place}: {what[:1].lower()}{what[1:]}"


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
