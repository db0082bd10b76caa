"""What all plugins have in common, whatever their kind."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, get_args

from unlearnbench.settings.scenario import PluginParams, Scenario

Kind = Literal["method", "attack", "dataset", "model"]
KINDS: tuple[Kind, ...] = get_args(Kind)
BUILT_IN = {"method": "methods", "attack": "attacks", "dataset": "datasets", "model": "networks"}
"""The subpackages of built-in plugins; models/ is what networks are made of."""
PLUGIN_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Plugin:
    """Base of all plugins. `version` is part of every key: raise it whenever results change."""

    kind: ClassVar[Kind]
    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    paper: ClassVar[str] = ""  # the source: authors, venue, year
    Params: ClassVar[type[PluginParams]] = PluginParams

    def __init__(self, params: PluginParams | None = None) -> None:
        self.params: Any = params if params is not None else self.Params()

    def skip(self, scenario: Scenario) -> str | None:
        """Why this plugin can't take part in a scenario; None if it can."""
        return None


def name_of(plugin: Any) -> str:
    """The plugin's name, which is its file's name."""
    return plugin.name or type(plugin).__module__.rpartition(".")[2]
