"""A plugin under examination: the questions that rules ask about it, and the answers."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from unlearnbench.conformance.audit_hook import Attempt
from unlearnbench.conformance.channel import AskSubject, Message, NamedTensors, Respond
from unlearnbench.conformance.rulings import Ruling
from unlearnbench.conformance.small_problem import SCENARIOS
from unlearnbench.registry.base import Kind
from unlearnbench.registry.registry import Registry
from unlearnbench.settings.scenario import Scenario


@dataclass(frozen=True)
class Setup:
    """What is at hand where a plugin is examined.

    Attributes:
        scratch: a temporary folder, for the harness.
        data_root: where datasets are searched.
        plugin_dirs: as given with --plugins.
    """

    registry: Registry
    scratch: Path
    data_root: Path
    plugin_dirs: tuple[Path, ...] = ()


class RaisedError(Exception):
    """What the plugin raised, as the subject reported it.

    Attributes:
        types: names of the exception's class and of its base classes.
        at: where in the plugin's own file, as ``, line 12``; empty if nowhere.
        refused: what it tried that no plugin may do, in words; else None.
        bad_input: the two parts of an InputError; else None.
    """

    def __init__(self, raised: Message) -> None:
        super().__init__(str(raised["line"]))
        self.types = [str(name) for name in raised["types"]]
        self.at = str(raised["at"])
        self.refused = None if raised["refused"] is None else str(raised["refused"])
        self.bad_input: tuple[str, str] | None = None
        if raised["bad_input"] is not None:
            where, what = raised["bad_input"]
            self.bad_input = str(where), str(what)


class Odd(NamedTuple):
    """Describes a value that should have been a different one: its type, and how it is shown."""

    type: str
    shown: str

    @classmethod
    def of(cls, answer: Message) -> Odd | None:
        """The odd value that an answer describes, or None."""
        return cls(*map(str, answer["odd"])) if "odd" in answer else None


class Case(ABC):
    """One plugin, with the parameters that it is examined with. It runs in another process: see subject.py.

    Args:
        origin: the plugin's file or entry point.
        subject: asks the plugin's process.
        other: asks a second process, which is started when it is first asked.
        folder: holds `empty`, the plugin's working folder, and `scratch`, in which it may write.

    Attributes:
        attempts: what the plugin tried to do outside its process.
        changes: what the plugin left changed in its process; all of it was put back.
        moved: the random streams of its process that the plugin's last run has moved.
    """

    kind: Kind

    def __init__(self, origin: str, setup: Setup, subject: AskSubject, other: AskSubject, folder: Path) -> None:
        self.origin, self.setup, self.subject, self.other, self.folder = origin, setup, subject, other, folder
        self.attempts: list[Attempt] = []
        self.changes: list[str] = []
        self.moved: list[str] = []

    @cached_property
    def scenario(self) -> Scenario | None:
        """The first of the small scenarios that the plugin does not skip."""
        return next((s for s in SCENARIOS if self.skip(s) is None), None)

    @property
    def reason(self) -> str | None:
        """Why the plugin can't be run here, or None if it can."""
        return f"the {self.kind} skips every scenario that there is to check it on" if self.scenario is None else None

    @abstractmethod
    def run(self, seed: int | None = None, restore: bool = False) -> NamedTensors:
        """Run the plugin once more, on fresh inputs; all numbers that it returns.

        Args:
            seed: of all random streams of its process, set just before; None: they continue from their current state.
            restore: whether they are put back afterwards.
        """

    @cached_property
    def first(self) -> NamedTensors:
        """The numbers of the first run."""
        return self.run()

    @property
    def left(self) -> list[str]:
        """Files in the plugin's working folder, which was empty."""
        return sorted(path.name for path in (self.folder / "empty").iterdir())

    def ask(
        self, what: str, tensors: NamedTensors | None = None, respond: Respond | None = None, **details: Any
    ) -> tuple[Message, NamedTensors]:
        """The subject's answer.

        Raises:
            RaisedError: the plugin raised something.
            LostError: there is no answer.
        """
        return self.noted(*self.subject({"ask": what, **details}, tensors, respond))

    def noted(self, answer: Message, tensors: NamedTensors) -> tuple[Message, NamedTensors]:
        """An answer, after recording the parts that all answers have. Raises RaisedError."""
        self.attempts += attempts_in(answer)
        self.changes += [str(change) for change in answer["changes"]]
        self.moved = [str(name) for name in answer["moved"]]
        if "raised" in answer:
            raise RaisedError(answer["raised"])
        return answer, tensors

    def skip(self, scenario: Scenario) -> str | Odd | None:
        """What the plugin's `skip` says about a scenario."""
        answer, _ = self.ask("skip", scenario=scenario.model_dump(mode="json"))
        if (odd := Odd.of(answer)) is not None:
            return odd
        return None if answer["reason"] is None else str(answer["reason"])


class PluginRule(NamedTuple):
    """One rule.

    Attributes:
        name: lower-case words joined by underscores.
        examine: the verdict; what it raises is a failure too.
        runs: whether the plugin has to be run for it.
    """

    name: str
    examine: Callable[[Any], Ruling]
    runs: bool = True


def attempts_in(answer: Message) -> list[Attempt]:
    """The attempts of the plugin that an answer reports."""
    return [Attempt(what, str(to)) for what, to in answer["attempts"]]


def line_of(error: BaseException, origin: str) -> str:
    """Where in the plugin's own file an exception came from, as ``, line 12``; empty if nowhere."""
    own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == origin]
    return f", line {own[-1]}" if own else ""
