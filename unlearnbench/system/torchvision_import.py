"""Importing torchvision next to a torch that its compiled part was not built for.

The torchvision wheel that package indexes hand out is built against a CUDA torch. With a CPU torch its compiled
operators can't be loaded, which torchvision itself tolerates; but its import then registers shape functions for two of
those operators and dies with "operator torchvision::nms does not exist". Datasets and image models need none of
them, so declaring the two names is enough to get past that point.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

from unlearnbench.system.errors import InputError

# The operators whose absence stops the import (torchvision/_meta_registrations.py), as the compiled part declares them.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_torch: Any = torch  # its library functions have no types
# torch forgets a declaration when its Library object dies. No list: the guard compares a module's own lists.
_KEPT = SimpleNamespace(library=None)


def import_torchvision() -> ModuleType:
    """torchvision, imported.

    Declares the missing operators before the import rather than after a failed one: that would leave half-imported
    modules and half-made registrations behind.

    Raises:
        InputError: torchvision is not installed.
    """
    if "torchvision" in sys.modules:
        return sys.modules["torchvision"]
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise InputError("torchvision", "not installed; install the version that belongs to the installed torch")
    if not _operators_load(Path(spec.origin).parent):
        _declare()
    return importlib.import_module("torchvision")


def _operators_load(folder: Path) -> bool:
    """Whether torchvision's own loading of its compiled part will work; loading it twice is harmless."""
    if sys.platform == "win32":
        # Its folder is added to the DLL path by torchvision only, and wheels for Windows are built for CPU torch.
        return True
    for library in sorted(folder.glob("_C*.so")):
        try:
            _torch.ops.load_library(str(library))
        except OSError:
            return False
        return True
    return False


def _declare() -> None:
    library = _torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        if not hasattr(_torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)
    _KEPT.library = library
