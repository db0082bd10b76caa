"""What a shell completes: names of suites, experiments and plugins. Quick, as a key was pressed: no plugin is loaded.

What can't be read completes nothing: the command itself says what is wrong with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from unlearnbench.suite import packaged
from unlearnbench.system.errors import InputError

if TYPE_CHECKING:
    from unlearnbench.registry.base import Kind


def suites(incomplete: str) -> list[str]:
    """Suites that come with the package, and YAML files."""
    found = _beginning(packaged.names(), incomplete)
    with contextlib.suppress(OSError, ValueError, NotImplementedError):  # what is typed may be no pattern
        found += sorted(str(path) for path in Path().glob(f"{incomplete}*.yaml"))
    return found


def experiments(ctx: typer.Context, incomplete: str) -> list[str]:
    """The experiments of the suite that is named before."""
    from unlearnbench.system import yaml_reading

    with contextlib.suppress(InputError, OSError, TypeError, KeyError):
        # An option without its value ends the parser's work: what stands before it is left among the arguments.
        suite = ctx.params.get("suite") or packaged.suite_file(next(iter(ctx.args), ""))
        return _beginning(yaml_reading.read(suite)["experiments"], incomplete)
    return []


def methods(ctx: typer.Context, incomplete: str) -> list[str]:
    """Methods, those of --plugins included."""
    return _plugins(["method"], ctx, incomplete)


def attacks(ctx: typer.Context, incomplete: str) -> list[str]:
    """Attacks, those of --plugins included."""
    return _plugins(["attack"], ctx, incomplete)


def datasets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Datasets, those of --plugins included."""
    return _plugins(["dataset"], ctx, incomplete)


def networks(ctx: typer.Context, incomplete: str) -> list[str]:
    """Networks, those of --plugins included."""
    return _plugins(["model"], ctx, incomplete)


def plugins(ctx: typer.Context, incomplete: str) -> list[str]:
    """Plugins of all kinds, those of --plugins included."""
    from unlearnbench.registry.base import KINDS

    return _plugins(KINDS, ctx, incomplete)


def _plugins(kinds: Iterable[Kind], ctx: typer.Context, incomplete: str) -> list[str]:
    from unlearnbench.registry.registry import named

    with contextlib.suppress(InputError, OSError):
        folders = [Path(folder) for folder in ctx.params.get("plugins") or ()]
        return _beginning((name for kind in kinds for name in named(kind, folders)), incomplete)
    return []


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted({str(name) for name in names if str(name).startswith(incomplete)})
