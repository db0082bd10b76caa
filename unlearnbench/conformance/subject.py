"""The plugin in the process where it runs: answers say what was observed, and judge nothing.

An answer is JSON and tensors: what the plugin declares, what it returned, its inputs as it left them, and what it
raised or tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from unlearnbench.conformance.audit_hook import AuditHook, RefusedError
from unlearnbench.conformance.case import Setup
from unlearnbench.conformance.channel import Message, NamedTensors, Respond
from unlearnbench.registry.plugin_info import PluginInfo
from unlearnbench.registry.registry import Registry
from unlearnbench.settings.scenario import PluginParams
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import error_line
from unlearnbench.system.process_state.definitions import Definitions
from unlearnbench.system.process_state.guard import recorded
from unlearnbench.system.process_state.shared_state import Change

Reply = tuple[Message, NamedTensors]


class Examined(NamedTuple):
    """The plugin that is examined.

    Attributes:
        params: None if some have no default and are not given.
        definitions: what names stood for once it had been imported.
    """

    setup: Setup
    info: PluginInfo
    params: Any
    definitions: Definitions


@dataclass
class Subject:
    """A plugin, and what is observed of it.

    Attributes:
        plugin: an instance, once it has been made.
        changes: what the plugin has left changed in the process since the last answer; all of it was put back.
        moved: the random streams of the process that the last call of the plugin has moved.
    """

    watch: AuditHook
    plugin: Any = None
    _examined: Examined | None = None
    changes: list[Change] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)

    @property
    def examined(self) -> Examined:
        """The plugin that is asked about; it is known from the first question on."""
        assert self._examined is not None
        return self._examined

    def watched(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call plugin code with connections and writes refused, and undo its changes to the process."""
        with self.watch.watching():
            if self._examined is None:  # it is being imported, where the registry itself undoes changes
                return function(*args)
            with recorded(self.changes, self._examined.definitions):
                return function(*args)

    def run(self, question: Message, function: Callable[..., Any], *args: Any) -> Any:
        """A whole run of the plugin, watched.

        Args:
            question: the question; `seed` for the random streams of the process, and whether to `restore` them.
        """
        from unlearnbench.system.process_state import global_random

        before = global_random.state()
        if question.get("seed") is not None:
            global_random.seed(question["seed"])
        began = global_random.state()
        try:
            return self.watched(function, *args)
        finally:
            self.moved = global_random.moved(began, global_random.state())
            if question.get("restore"):
                global_random.restore(before)

    def found(self, registry: Registry, info: PluginInfo, params: PluginParams | None, question: Message) -> None:
        """Record the plugin that is examined; `params` is None if some have no default and are not given."""
        folders = tuple(Path(folder) for folder in question["plugin_dirs"])
        setup = Setup(registry, Path(question["scratch"]), Path(question["data_root"]), folders)
        self._examined = Examined(setup, info, params, Definitions())

    def make(self) -> None:
        """Make an instance of the plugin."""
        self.plugin = self.watched(self.examined.info.cls, self.examined.params)

    def answer(self, question: Message, tensors: NamedTensors, respond: Respond) -> Reply:
        """What was observed, including what the plugin raised."""
        from unlearnbench.conformance.answers import ANSWERS

        self.moved = []
        try:
            reply, found = ANSWERS[question["ask"]](self, question, tensors, respond)
        except BaseException as error:  # also the plugin's SystemExit, which must not end this process
            reply, found = {"raised": self._raised(error)}, {}
        attempts, self.watch.attempts[:] = [list(attempt) for attempt in self.watch.attempts], []
        changes, self.changes = [str(change) for change in self.changes], []
        return {**reply, "moved": self.moved, "attempts": attempts, "changes": changes}, found

    def _raised(self, error: BaseException) -> Message:
        from unlearnbench.conformance.case import line_of

        return {
            "types": [cls.__name__ for cls in type(error).__mro__], "line": error_line(error),
            "at": line_of(error, self._examined.info.origin) if self._examined else "",
            "refused": f"{error}" if isinstance(error, RefusedError) else None,
            "bad_input": [error.where, error.what] if isinstance(error, InputError) else None,
        }  # fmt: skip


def odd(value: object) -> Message:
    """The description of a value that should have been a different one; see case.Odd."""
    return {"odd": [type(value).__name__, f"{str(value)!r:.40}"]}


def plain(stack: Any) -> dict[str, Any]:
    """A stack's tensors, for a message."""
    params = {f"p.{name}": value for name, value in stack.params.items()}
    return params | {f"b.{name}": value for name, value in stack.buffers.items()}
