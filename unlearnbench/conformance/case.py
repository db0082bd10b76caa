"""A plugin under examination: what checks of all kinds ask of it."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from unlearnbench.conformance.verdict import Verdict
from unlearnbench.conformance.watch import Watch
from unlearnbench.process_state.definitions import Definitions
from unlearnbench.process_state.guard import recorded
from unlearnbench.process_state.setting import Change
from unlearnbench.registry import PluginInfo, Registry
from unlearnbench.settings import PluginParams

Outcome = Mapping[str, Tensor]


@dataclass(frozen=True)
class Place:
    """Where a plugin is examined.

    Attributes:
        scratch: a temporary folder, for the harness.
        data_root: where datasets are looked for.
        plugin_dirs: as given with --plugins.
    """

    registry: Registry
    scratch: Path
    data_root: Path
    plugin_dirs: tuple[Path, ...]
    watch: Watch


class Case(ABC):
    """One plugin, with the parameters it is examined with.

    Attributes:
        changes: what it left changed in this process, of which all was put back.
    """

    def __init__(self, info: PluginInfo, params: PluginParams, place: Place) -> None:
        self.info, self.params, self.place = info, params, place
        self.changes: list[Change] = []
        self._definitions = Definitions()

    @cached_property
    def plugin(self) -> Any:
        with recorded(self.changes, self._definitions):
            return self.info.cls(self.params)

    @property
    @abstractmethod
    def reason(self) -> str | None:
        """Why the plugin can't be run here, or None if it can."""

    @abstractmethod
    def run(self) -> Outcome:
        """Run the plugin once more, on inputs of its own; all numbers that come out of it."""

    @cached_property
    def first(self) -> Outcome:
        """What came out of the first run."""
        return self.run()

    def watched(self, function: Callable[..., Any], *args: Any) -> Any:
        """`function(*args)`, with connections and writes refused, and changes of the process put back."""
        with self.place.watch.watching(), recorded(self.changes, self._definitions):
            return function(*args)


class Check(NamedTuple):
    """One rule.

    Attributes:
        name: in words of one line, with underscores.
        examine: the verdict; what it raises is a failure too.
        runs: whether the plugin has to be run for it.
    """

    name: str
    examine: Callable[[Any], Verdict]
    runs: bool = True


def line_of(error: BaseException, info: PluginInfo) -> str:
    """Where in the plugin's own file an exception came from, as ``, line 12``; empty if nowhere."""
    own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == info.origin]
    return f", line {own[-1]}" if own else ""
