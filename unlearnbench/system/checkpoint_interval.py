"""How often checkpoints are written, where the environment says so."""

from __future__ import annotations

import os

from unlearnbench.system.errors import InputError

VARIABLE = "UNLEARNBENCH_CHECKPOINT_SECONDS"


def checkpoint_seconds() -> float | None:
    """Seconds of work between two checkpoints of a stage; None: as often as they cost little.

    Raises:
        InputError: the variable is not a number of seconds.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise InputError(VARIABLE, f"'{text}' is not a number of seconds; unset it, or say how many")
    return seconds
