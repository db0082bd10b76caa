"""unlearnbench: how much private information do machine-unlearning methods leak?

The names below are the library. They are imported when they are used: importing the package takes milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unlearnbench.system.version import PROTOCOL_VERSION, __version__

if TYPE_CHECKING:
    from unlearnbench.library.own_attacks import attack
    from unlearnbench.library.own_models import unlearn
    from unlearnbench.library.results import Leaderboard, Results
    from unlearnbench.library.runs import load, run
    from unlearnbench.system.errors import InputError

__all__ = [
    "PROTOCOL_VERSION",
    "InputError",
    "Leaderboard",
    "Results",
    "__version__",
    "attack",
    "load",
    "run",
    "unlearn",
]

_PLACES = {
    "InputError": "unlearnbench.system.errors",
    "Leaderboard": "unlearnbench.library.results",
    "Results": "unlearnbench.library.results",
    "attack": "unlearnbench.library.own_attacks",
    "load": "unlearnbench.library.runs",
    "run": "unlearnbench.library.runs",
    "unlearn": "unlearnbench.library.own_models",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'unlearnbench' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
