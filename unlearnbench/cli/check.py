"""The verb `check`: checks whether the harness can rely on a plugin."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unlearnbench.cli import completion, options
from unlearnbench.cli.exit_codes import FAILED, OK
from unlearnbench.system.printing import WIDTH, emit, emit_folded, emit_json, visible
from unlearnbench.workflow import options as workflow

if TYPE_CHECKING:
    from unlearnbench.conformance import PluginReport

WORDS = {"pass": "PASS", "fail": "FAIL", "skipped": "SKIPPED"}


def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar=options.FILTER, autocompletion=completion.plugins, help="A method, attack, dataset or model."
        ),
    ],
    kind: Annotated[
        Literal["method", "attack", "dataset", "model"] | None,
        typer.Option("--kind", help="Its kind, if plugins of two kinds share the name."),
    ] = None,
    plugins: options.Plugins = None,
    data: options.Data = None,
    time_limit: Annotated[
        float | None,
        typer.Option("--time-limit", min=0.1, metavar="SECONDS", help="End a check that takes longer; it fails [120]."),
    ] = None,
    output: options.Output = "text",
) -> int:
    """Check a plugin against the rules.

    Runs it on a few digits, in a process without network, and reports every broken rule with what to change.
    """
    from unlearnbench import conformance

    folders = tuple(folder.absolute() for folder in plugins or ())
    request = conformance.CheckRequest(
        name, kind, folders, workflow.data_root(data), time_limit or conformance.TIME_LIMIT
    )
    report = conformance.check(request)
    if output == "json":
        emit_json(_plain(report))
    else:
        _show(report)
    return OK if report.passed else FAILED


def _plain(report: PluginReport) -> dict[str, object]:
    results = [
        {"check": r.check, "status": r.status, "note": r.note, "advice": r.advice, "seconds": r.seconds}
        for r in report.results
    ]
    return {"name": report.name, "kind": report.kind, "origin": report.origin, "identity": report.identity,
            "passed": report.passed, "checks": results}  # fmt: skip


def _show(report: PluginReport) -> None:
    emit(visible(f"{report.kind} {report.name} ({'built-in' if report.builtin else report.origin})"))
    if report.identity:
        emit_folded(f"known by: {report.identity}", "    ")
    width = max(len(result.check) for result in report.results)
    for result in report.results:
        head = f"{WORDS[result.status]:<7}  {result.check:<{width}}  "
        # Findings are wrapped, never cut: the advice in them matters.
        lines = textwrap.wrap(visible(result.line), WIDTH - len(head), break_on_hyphens=False) or [""]
        emit(f"{head}{lines[0]}".rstrip())
        for line in lines[1:]:
            emit(" " * len(head) + line)
    seconds = sum(result.seconds for result in report.results)
    counts = " ".join(f"{word}={report.count(status)}" for status, word in
                      (("pass", "passed"), ("fail", "failed"), ("skipped", "skipped")))  # fmt: skip
    emit(f"checks: {counts} in {seconds:.1f} s")
