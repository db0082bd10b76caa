"""The verb `compare`: checks a result folder against the claims of a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from unlearnbench.cli.exit_codes import FAILED, OK
from unlearnbench.suite.packaged import claims_about, claims_file
from unlearnbench.system.errors import InputError, records_of
from unlearnbench.system.printing import complain, emit, emit_json


def compare(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A result folder, e.g. results/paper.")],
    claims: Annotated[
        Path | None,
        typer.Option(
            "--claims", metavar="FILE", parser=claims_file, help="The claims [suites/<name of DIR>.claims.yaml]."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 if a claim has no verdict.")] = False,
    output: Annotated[
        Literal["text", "markdown", "json"],
        typer.Option("--format", help="How the comparison is written to stdout."),
    ] = "text",
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Also write REPORT.md and its figures there.")
    ] = None,
) -> int:
    """Check a run against a paper's claims.

    Prints the paper's tables next to the measured ones and a verdict on each claim.
    """
    records_of(folder)
    from unlearnbench.claims import comparison
    from unlearnbench.report import paper

    path = claims or claims_about(folder.resolve().name)
    if path is None:
        missing = f"suites/{folder.resolve().name}.claims.yaml"
        raise InputError(missing, "no such file; give the claims with --claims")
    found = comparison.compare(folder, path)
    if output == "json":
        emit_json(comparison.as_json(found))
    else:
        draw = paper.text if output == "text" else paper.markdown
        emit(draw(found).rstrip("\n"))
    if report is not None:
        try:
            written = paper.write(found, report)
        except OSError as error:
            raise InputError(str(report), f"can't be written: {error.strerror or error}") from error
        complain(f"wrote {written[0]} and {len(written) - 1} figures")
    return FAILED if strict and not found.is_complete else OK
