"""The verb `validate`: checks a suite file."""

from __future__ import annotations

from collections import Counter

from unlearnbench.cli import loading, options
from unlearnbench.cli.exit_codes import BAD_INPUT, OK
from unlearnbench.system.errors import InputError, each_of
from unlearnbench.system.printing import complain, emit, emit_json, one_line
from unlearnbench.system.roots import as_named

SHOWN = 50  # mistakes, as lines


def validate(suite: options.SuitePath, plugins: options.Plugins = None, output: options.Output = "text") -> int:
    """Check a suite file.

    Checks every key, name, parameter and rule, and reports every mistake. Reads no data and computes nothing.
    """
    try:
        loaded = loading.load(suite, plugins)
    except InputError as error:
        errors = each_of(error)
        if output == "json":
            found = [{"where": as_named(each.where), "what": as_named(each.what)} for each in errors]
            emit_json({"valid": False, "errors": found})
        for each in errors[:SHOWN]:
            complain(f"error: {each}")
        if len(errors) > SHOWN:
            complain(f"error: and {len(errors) - SHOWN} more; --format json shows all")
        return BAD_INPUT
    cells = Counter(setting.experiment for setting in loaded.settings())
    if output == "json":
        emit_json({"valid": True, "suite": loaded.name, "cells": dict(cells), "errors": []})
    else:
        parts = ", ".join(f"{name} {count}" for name, count in cells.items())
        emit(f"{one_line(as_named(str(suite)))}: valid; cells: {cells.total()} ({parts})")
    return OK
