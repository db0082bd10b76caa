"""What the verbs plan, list and info print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from unlearnbench.cli_options import Format
from unlearnbench.errors import InputError, suggest
from unlearnbench.naming import short
from unlearnbench.printing import emit, emit_json, emit_table, one_line, visible
from unlearnbench.registry import KINDS, PluginInfo, Registry
from unlearnbench.validation import members, submodel

if TYPE_CHECKING:
    from unlearnbench.plan import Plan

STAGES = ("train", "unlearn", "shadows", "attack")
BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


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
    tasks = {stage: counts[stage] for stage in STAGES}
    if output is Format.json:
        emit_json({"suite": suite, "cells": [dict(zip(columns, row, strict=True)) for row in rows], "tasks": tasks})
        return
    emit_table(columns, [[*row[:4], row[4] or "-", row[5], str(row[6])[:12], row[7]] for row in rows])
    emit(f"cells: {len(rows)}, of which {sum(row[7] is not None for row in rows)} are skipped")
    emit("tasks: " + " ".join(f"{stage}={count}" for stage, count in tasks.items()))


def show_list(registry: Registry, output: Format) -> None:
    """All plugins, then the broken ones with their errors."""
    plugins = [
        {
            "kind": info.kind,
            "name": info.name,
            "version": info.version,
            "origin": "built-in" if info.builtin else info.origin,
            "description": info.description,
        }
        for kind in KINDS
        for info in sorted(registry.of(kind).values(), key=lambda info: info.name)
    ]
    broken = [{"kind": bad.kind, "name": bad.name, "origin": bad.origin, "error": bad.error} for bad in registry.broken]
    if output is Format.json:
        emit_json({"plugins": plugins, "broken": broken})
        return
    columns = ["kind", "name", "version", "origin", "description"]
    emit_table(columns, [[plugin[column] for column in columns] for plugin in plugins])
    if broken:
        emit("\nbroken:")
        emit_table(["kind", "name", "origin", "error"], [[bad[key] for key in bad] for bad in broken])


def show_info(registry: Registry, name: str) -> None:
    """Docstring, source and parameters of every plugin called `name`; raises InputError if there is none."""
    found = [registry.of(kind)[name] for kind in KINDS if name in registry.of(kind)]
    if not found:
        for bad in registry.broken:
            if bad.name == name:
                raise InputError(name, f"{bad.kind or 'plugin'} '{name}' is broken: {bad.error} ({bad.origin})")
        everything = [plugin for kind in KINDS for plugin in registry.of(kind)]
        raise InputError(name, f"unknown plugin '{name}'{suggest(name, everything)}")
    for position, info in enumerate(found):
        if position:
            emit()
        _show(info)


def _show(info: PluginInfo) -> None:
    emit(visible(f"{info.kind} {info.name}, version {info.version}, {info.origin}"))
    if info.cls.paper:
        emit(visible(f"paper: {info.cls.paper}"))
    if info.documentation:
        emit()
        for line in info.documentation.splitlines():
            emit(visible(line.replace("\t", "    ")))
    emit()
    rows = list(parameters(info.cls.Params))
    if rows:
        emit_table(["parameter", "type", "default", "meaning"], rows)
    else:
        emit("no parameters")


def parameters(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Each parameter's dotted name, type, default and meaning, safe to print."""
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _default(field)
        yield f"{prefix}{name}", _type(field), default, one_line(field.description or "")
        inner = submodel(field.annotation)
        if inner is not None and inner is not model:
            yield from parameters(inner, f"{prefix}{name}.")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    return one_line(short(to_jsonable_python(value, fallback=str)))


def _type(field: FieldInfo) -> str:
    names = " | ".join(_type_name(member) for member in members(field.annotation))
    bounds = [
        f"{sign} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, sign in BOUNDS.items()
        if isinstance(getattr(rule, name, None), int | float)
    ]
    return " ".join([names, ", ".join(bounds)]).strip()


def _type_name(member: Any) -> str:
    if get_origin(member) is Literal:
        return " | ".join(short(value) for value in get_args(member))
    if member is type(None):
        return "null"
    if get_origin(member) is None and isinstance(member, type):
        return "mapping" if issubclass(member, BaseModel) else member.__name__
    return one_line(str(member).replace("typing.", ""))
