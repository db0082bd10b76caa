"""The verb `check`: is a plugin one that the harness can rely on?"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unlearnbench.cli import options
from unlearnbench.cli.options import PluginKind
from unlearnbench.system.printing import WIDTH, emit, emit_folded, emit_json, visible

if TYPE_CHECKING:
    from unlearnbench.conformance import PluginReport
    from unlearnbench.registry.base import Kind

OK, FAILED = 0, 1
WORDS = {"pass": "PASS", "fail": "FAIL", "skipped": "SKIPPED"}

Name = Annotated[str, typer.Argument(metavar=options.FILTER, help="A method, attack or dataset.")]
CheckLimit = Annotated[
    float | None,
    typer.Option("--time-limit", min=0.1, metavar="SECONDS", help="End a check that takes longer; it fails [120]."),
]


def check(
    name: str,
    kind: PluginKind | None,
    plugins: list[Path] | None,
    data: Path | None,
    time_limit: float | None,
    output: options.Format,
) -> int:
    """Make the checks, print what they found, and return the exit code."""
    from unlearnbench.conformance import TIME_LIMIT, CheckRequest
    from unlearnbench.conformance import check as examine

    wanted: Kind | None = kind.value if kind else None
    folders = tuple(folder.absolute() for folder in plugins or ())
    request = CheckRequest(name, wanted, folders, options.data_root(data), time_limit or TIME_LIMIT)
    report = examine(request)
    if output is options.Format.json:
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
        # What was found goes on below its own beginning; advice is what matters, so it is never cut.
        lines = textwrap.wrap(visible(result.line), WIDTH - len(head), break_on_hyphens=False) or [""]
        emit(f"{head}{lines[0]}".rstrip())
        for line in lines[1:]:
            emit(" " * len(head) + line)
    seconds = sum(result.seconds for result in report.results)
    counts = " ".join(f"{word}={report.count(status)}" for status, word in
                      (("pass", "passed"), ("fail", "failed"), ("skipped", "skipped")))  # fmt: skip
    emit(f"checks: {counts} in {seconds:.1f} s")
