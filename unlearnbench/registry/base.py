"""What all plugins have in common, whatever their kind."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, get_args

from unlearnbench.settings.scenario import PluginParams, Scenario

Kind = Literal["method", "attack", "dataset", "model"]
KINDS: tuple[Kind, ...] = get_args(Kind)
BUILT_IN = {"method": "methods", "attack": "attacks", "dataset": "datasets", "model": "networks"}
"""The subpackages of built-in plugins; models/ is what networks are made of."""

CONTRACT_VERSION = "1.1"
"""The version of what plugins are promised, as major.minor; docs/reference/plugins.md says what raises it."""

PLUGIN_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Plugin:
    """Base of all plugins. `version` is part of every key: raise it whenever results change."""

    kind: ClassVar[Kind]
    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    contract: ClassVar[str] = ""  # the version of the contract that it is written for: "1", or "1.2" for what 1.2 added
    paper: ClassVar[str] = ""  # the source: authors, venue, year
    Params: ClassVar[type[PluginParams]] = PluginParams

    def __init__(self, params: PluginParams | None = None) -> None:
        self.params: Any = params if params is not None else self.Params()

    def skip(self, scenario: Scenario) -> str | None:
        """Why this plugin can't take part in a scenario; None if it can."""
        return None


def contract_error(declared: object) -> str | None:
    """Why a plugin written for this version of the contract can't be used here; None if it can."""
    if declared == "":
        return None
    if not isinstance(declared, str) or not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4})?", declared):
        return f'contract is {declared!r:.40}; write the major version of the contract as text, e.g. contract = "1"'
    wanted, here = ([int(part) for part in text.split(".")] for text in (declared, CONTRACT_VERSION))
    if wanted[0] == here[0] and wanted[1:] <= here[1:]:
        return None
    advice = "install a newer unlearnbench" if wanted > here else "adapt it, or install the unlearnbench it is for"
    return f"it is written for plugin contract {declared}, this unlearnbench has {CONTRACT_VERSION}; {advice}"


def name_of(plugin: Any) -> str:
    """The plugin's name, which is its file's name."""
    return plugin.name or type(plugin).__module__.rpartition(".")[2]
