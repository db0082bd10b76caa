"""Whatever library the harness or a built-in plugin computes with is one whose names the guard compares."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator

from checkout import ROOT

from unlearnbench.system.process_state.definitions import LIBRARIES
from unlearnbench.system.torchvision_import import import_torchvision

# Of these no number comes: they print, draw, carry jobs, describe types, or read what a user has written.
OTHERS = ("cryptography", "dask", "distributed", "jinja2", "joblib", "matplotlib", "numpy.typing", "platformdirs",
          "rich", "seaborn", "typer", "typing_extensions", "yaml")  # fmt: skip


def imported(code: str) -> Iterator[str]:
    """The modules that code imports, wherever in it; of a package from which modules are taken, those."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if is_module(whole) else node.module


def is_module(name: str) -> bool:
    """Whether there is a module of this name."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, RuntimeError):  # below no package, or below a torchvision of another build of torch
        return False


def test_every_library_that_is_computed_with_is_compared() -> None:
    import_torchvision()  # plainly it fails beside another build of torch, and then has no modules
    found: dict[str, str] = {}
    for folder in ("unlearnbench", "methods", "attacks"):
        for file in (ROOT / folder).rglob("*.py"):
            code = file.read_text()
            found |= {name: file.name for name in imported(code) if not name.startswith("unlearnbench")}
    assert {"numpy", "torch.nn", "scipy.stats", "sklearn.cluster"} <= found.keys()
    foreign = {name: file for name, file in found.items() if name.partition(".")[0] not in sys.stdlib_module_names}
    forgotten = {
        name: file
        for name, file in foreign.items()
        if name not in LIBRARIES and not any(name == other or name.startswith(f"{other}.") for other in OTHERS)
    }
    assert forgotten == {}
