"""The verb `validate`: checks a suite file."""

from __future__ import annotations

from collections import Counter

from unlearnbench.cli import loading, options
from unlearnbench.cli.exit_codes import OK
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import emit, emit_json, one_line
from unlearnbench.system.roots import as_named


def validate(suite: options.SuitePath, plugins: options.Plugins = None, output: options.Output = "text") -> int:
    """Check a suite file.

    Checks every key, name, parameter and rule. Reads no data and computes nothing.
    """
    try:
        loaded = loading.load(suite, plugins)
    except InputError as error:
        if output == "json":
            emit_json({"valid": False, "errors": [{"where": as_named(error.where), "what": as_named(error.what)}]})
        raise
    cells = Counter(setting.experiment for setting in loaded.settings())
    if output == "json":
        emit_json({"valid": True, "suite": loaded.name, "cells": dict(cells), "errors": []})
    else:
        parts = ", ".join(f"{name} {count}" for name, count in cells.items())
        emit(f"{one_line(as_named(str(suite)))}: valid; cells: {cells.total()} ({parts})")
    return OK
