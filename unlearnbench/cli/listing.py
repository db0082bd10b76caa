"""What the verbs plan, list and info print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unlearnbench.cli.options import Format
from unlearnbench.registry.base import KINDS
from unlearnbench.registry.facts import Facts, facts
from unlearnbench.registry.registry import Registry
from unlearnbench.system.errors import InputError, suggest
from unlearnbench.system.printing import WIDTH, emit, emit_folded, emit_json, emit_table, emit_text, visible

if TYPE_CHECKING:
    from unlearnbench.suite.plan import Plan

STAGES = ("select", "train", "retrained", "unlearn", "shadow_models", "shadows", "attack", "timing")
ALWAYS = ("train", "unlearn", "shadows", "attack")  # shown even where there are none


def show_plan(suite: str, plan: Plan, output: Format) -> None:
    """The cells of a plan, and how many tasks each stage has."""
    columns = ["experiment", "dataset", "scenario", "method", "attack", "seed", "key", "skip"]
    rows = [
        [
            cell.experiment,
            cell.dataset_id,
            cell.scenario_id,
            cell.method_id,
            cell.attack_id,
            cell.seed,
            cell.key,
            cell.skip,
        ]
        for cell in plan.cells
    ]
    counts = Counter(str(task.stage) for task in plan.tasks)
    tasks = {stage: counts[stage] for stage in STAGES if counts[stage] or stage in ALWAYS}
    if output is Format.json:
        emit_json({"suite": suite, "cells": [dict(zip(columns, row, strict=True)) for row in rows], "tasks": tasks})
        return
    emit_table(columns, [[*row[:4], row[4] or "-", row[5], str(row[6])[:12], row[7]] for row in rows])
    emit(f"cells: {len(rows)}, of which {sum(row[7] is not None for row in rows)} are skipped")
    emit("tasks: " + " ".join(f"{stage}={count}" for stage, count in tasks.items()))


def show_list(registry: Registry, output: Format, long: bool = False) -> None:
    """All plugins, then the broken ones with their errors; `long`: with all that `info` shows but the documentation."""
    plugins = [info for kind in KINDS for info in sorted(registry.of(kind).values(), key=lambda info: info.name)]
    if output is Format.json:
        broken = [
            {"kind": bad.kind, "name": bad.name, "origin": bad.origin, "error": bad.error} for bad in registry.broken
        ]
        emit_json({"plugins": [facts(info).plain for info in plugins], "broken": broken})
        return
    if long:
        for info in plugins:
            _show_facts(facts(info))  # the first line of the documentation; info shows all of it
            emit()
    else:
        told = [facts(info) for info in plugins]
        rows = [[t.kind, t.name, str(t.version), _shortened(t.origin, 24), visible(t.description)] for t in told]
        _emit_cut(["kind", "name", "version", "origin", "description"], rows)
    if registry.broken:
        emit("broken:" if long else "\nbroken:")
        for bad in registry.broken:
            emit_folded(f"{bad.kind or 'plugin'} {bad.name}: {bad.error}", "    ")
            emit_folded(f"    {bad.origin}", "    ")


def show_info(registry: Registry, name: str, output: Format) -> None:
    """Docstring, source and parameters of every plugin called `name`; raises InputError if there is none."""
    found = [registry.of(kind)[name] for kind in KINDS if name in registry.of(kind)]
    if not found:
        for bad in registry.broken:
            if bad.name == name:
                raise InputError(name, f"{bad.kind or 'plugin'} '{name}' is broken: {bad.error} ({bad.origin})")
        everything = [plugin for kind in KINDS for plugin in registry.of(kind)]
        raise InputError(name, f"unknown plugin '{name}'{suggest(name, everything)}")
    if output is Format.json:
        emit_json({"plugins": [{**facts(info).plain, "documentation": info.documentation} for info in found]})
        return
    for position, info in enumerate(found):
        if position:
            emit()
        _show_facts(facts(info), info.documentation)


def _show_facts(told: Facts, documentation: str = "") -> None:
    emit(visible(f"{told.kind} {told.name}, version {told.version}"))
    emit_folded(f"from: {told.origin}" if told.source == "built-in" else f"from: {told.source} {told.origin}", "    ")
    if told.paper:
        emit_folded(f"paper: {told.paper}", "    ")
    emit_folded(f"known by: {told.identity}", "    ")
    if told.access is not None:
        emit_folded(f"sees: {told.access}", "    ")
    if documentation:
        emit()
        emit_text(documentation)
        emit()
    elif told.description:
        emit_folded(told.description)
    emit("parameters:" if told.parameters else "no parameters")
    for one in told.parameters:
        kind = " ".join(part for part in (one.type, one.bounds) if part)
        emit_folded(f"  {one.name}: {kind}, default {one.default}", "      ")
        if one.meaning:
            emit_folded(f"      {one.meaning}", "      ")


def _emit_cut(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose last column is cut to what a terminal of 80 columns has left for it; `info` shows all of it."""
    lines = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns) - 1)]
    left = max(20, WIDTH - sum(widths) - 2 * len(widths))
    for line in lines:
        last = line[-1] if len(line[-1]) <= left else line[-1][: left - 3].rstrip() + "..."
        head = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False))
        emit(f"{head}  {last}".rstrip())


def _shortened(origin: str, longest: int) -> str:
    """The end of a path, the beginning of anything else."""
    shown = visible(origin)
    if len(shown) <= longest:
        return shown
    return "..." + shown[3 - longest :] if shown.startswith("/") else shown[: longest - 3] + "..."
