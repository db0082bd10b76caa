"""The verbs `list` and `info`: show all plugins, or one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from unlearnbench.cli import completion, options
from unlearnbench.cli.exit_codes import OK
from unlearnbench.system.errors import InputError, suggest
from unlearnbench.system.printing import WIDTH, emit, emit_folded, emit_json, emit_text, visible

if TYPE_CHECKING:
    from unlearnbench.registry.plugin_facts import Facts
    from unlearnbench.registry.registry import Registry


def list_plugins(
    plugins: options.Plugins = None,
    long: Annotated[bool, typer.Option("--long", help="With papers, access and all parameters.")] = False,
    output: options.Output = "text",
) -> int:
    """Show all plugins.

    Methods, attacks, datasets and models (networks), then broken files with their errors.
    """
    from unlearnbench.registry import registry

    _show_list(registry.discover(plugins or ()), output, long)
    return OK


def info(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", autocompletion=completion.plugins, help="A method, attack, dataset or model."),
    ],
    plugins: options.Plugins = None,
    output: options.Output = "text",
) -> int:
    """Show a plugin's parameters.

    Also shows its origin, its paper, what it does and, for an attack, what it sees.
    """
    from unlearnbench.registry import registry

    _show_info(registry.discover(plugins or ()), name, output)
    return OK


def _show_list(registry: Registry, output: str, long: bool) -> None:
    """All plugins, then broken ones with their errors; `long`: with all that `info` shows except the documentation."""
    from unlearnbench.registry.base import KINDS
    from unlearnbench.registry.plugin_facts import facts

    plugins = [info for kind in KINDS for info in sorted(registry.of(kind).values(), key=lambda info: info.name)]
    if output == "json":
        broken = [
            {"kind": bad.kind, "name": bad.name, "origin": bad.origin, "error": bad.error} for bad in registry.broken
        ]
        emit_json({"plugins": [facts(info).plain for info in plugins], "broken": broken})
        return
    if long:
        for info in plugins:
            _show_facts(facts(info))  # only the first line of the documentation; info shows all of it
            emit()
    else:
        listed = [facts(info) for info in plugins]
        rows = [[f.kind, f.name, str(f.version), _shortened(f.origin, 24), visible(f.description)] for f in listed]
        _emit_cut(["kind", "name", "version", "origin", "description"], rows)
    if registry.broken:
        emit("broken:" if long else "\nbroken:")
        for bad in registry.broken:
            emit_folded(f"{bad.kind or 'plugin'} {bad.name}: {bad.error}", "    ")
            emit_folded(f"    {bad.origin}", "    ")


def _show_info(registry: Registry, name: str, output: str) -> None:
    """Docstring, source and parameters of every plugin with this name; raises InputError if there is none."""
    from unlearnbench.registry.base import KINDS
    from unlearnbench.registry.plugin_facts import facts

    found = [registry.of(kind)[name] for kind in KINDS if name in registry.of(kind)]
    if not found:
        for bad in registry.broken:
            if bad.name == name:
                raise InputError(name, f"{bad.kind or 'plugin'} '{name}' is broken: {bad.error} ({bad.origin})")
        everything = [plugin for kind in KINDS for plugin in registry.of(kind)]
        raise InputError(name, f"unknown plugin '{name}'{suggest(name, everything)}")
    if output == "json":
        emit_json({"plugins": [{**facts(info).plain, "documentation": info.documentation} for info in found]})
        return
    for position, info in enumerate(found):
        if position:
            emit()
        _show_facts(facts(info), info.documentation)


def _show_facts(found: Facts, documentation: str = "") -> None:
    emit(visible(f"{found.kind} {found.name}, version {found.version}"))
    emit_folded(
        f"from: {found.origin}" if found.source == "built-in" else f"from: {found.source} {found.origin}", "    "
    )
    if found.paper:
        emit_folded(f"paper: {found.paper}", "    ")
    emit_folded(f"known by: {found.identity}", "    ")
    if found.access is not None:
        emit_folded(f"sees: {found.access}", "    ")
    if documentation:
        emit()
        emit_text(documentation)
        emit()
    elif found.description:
        emit_folded(found.description)
    emit("parameters:" if found.parameters else "no parameters")
    for one in found.parameters:
        kind = " ".join(part for part in (one.type, one.bounds) if part)
        emit_folded(f"  {one.name}: {kind}, default {one.default}", "      ")
        if one.meaning:
            emit_folded(f"      {one.meaning}", "      ")


def _emit_cut(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose last column is cut to fit a terminal of 80 columns; `info` shows all of it."""
    lines = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns) - 1)]
    left = max(20, WIDTH - sum(widths) - 2 * len(widths))
    for line in lines:
        last = line[-1] if len(line[-1]) <= left else line[-1][: left - 3].rstrip() + "..."
        head = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False))
        emit(f"{head}  {last}".rstrip())


def _shortened(origin: str, longest: int) -> str:
    """The end of a path; the beginning of anything else."""
    shown = visible(origin)
    if len(shown) <= longest:
        return shown
    return "..." + shown[3 - longest :] if shown.startswith("/") else shown[: longest - 3] + "..."
