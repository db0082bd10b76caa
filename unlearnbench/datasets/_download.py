"""Downloads through torchvision, which checks files against known MD5 sums."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from unlearnbench.plugin import Dataset
from unlearnbench.registry.base import name_of
from unlearnbench.system.errors import InputError, UnreadableError
from unlearnbench.system.escaping import one_line
from unlearnbench.system.torchvision_import import import_torchvision


def prepare(dataset: Dataset, root: Path, fetch: Callable[[ModuleType], object]) -> None:
    """Run `fetch(torchvision)` unless the dataset can be read already, and then read it.

    A complete copy is left alone: it may be on read-only storage, or in fewer files than torchvision asks for.

    Raises:
        InputError: nothing could be fetched (no network, no room, no permission), or what lies there is damaged, or
            can't be read.
    """
    try:
        dataset.load(root)
        return
    except UnreadableError:  # fetching would replace unknown content
        raise
    except InputError as error:
        where = error.where  # the missing or damaged file, which fetching may fix
    torchvision = import_torchvision()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout belongs to the command's result
            fetch(torchvision)
    except Exception as error:  # network, disk, or torchvision's own assertions about a damaged file
        raise InputError(
            where,
            f"dataset {name_of(dataset)}: missing or damaged, and fetching it failed"
            f" ({type(error).__name__}: {one_line(error)}); delete a damaged file; without a network put a good one"
            " there by hand",
        ) from error
    dataset.load(root)
