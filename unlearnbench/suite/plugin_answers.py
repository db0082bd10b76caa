"""Planning's questions to plugins: each is asked once, and an exception fails only the cells of that plugin."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unlearnbench.metrics.catalog import METRICS
from unlearnbench.registry.fingerprint import listings
from unlearnbench.settings.naming import LARGEST_NAMES
from unlearnbench.settings.scenario import Scenario
from unlearnbench.suite.choices import PluginChoice
from unlearnbench.system.errors import InputError, unreadable
from unlearnbench.system.printing import error_line

if TYPE_CHECKING:
    from unlearnbench.settings.access import Access
    from unlearnbench.suite.suite import CellSetting
    from unlearnbench.system.process_state.definitions import Definitions
    from unlearnbench.system.process_state.guard import Snapshot


ALIKE = ("random", "class")
"""Rules for what is erased by which the remaining images of the same classes could as well have been erased."""

CAPABILITIES = {
    "features": "a representation of images (features)",
    "posterior": "a distribution of the representation, mean and scale of p(Z|x) (posterior)",
}


class PluginFaultError(Exception):
    """A plugin raised an exception, or gave an invalid answer, when it was asked about a cell."""

    def __init__(self, text: str, trace: str) -> None:
        super().__init__(text)
        self.trace = trace


class Inquiry:
    """The answers of a suite's plugins.

    Args:
        data_root: where datasets look for their files.

    Attributes:
        data_files: SHA-256 of every file that was fingerprinted, by absolute path.
        data_folders: the contents of the folders around them.
    """

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root
        self.data_files: dict[str, str] = {}
        self.data_folders: dict[str, list[str]] = {}
        self._answers: dict[tuple[Any, ...], Any] = {}
        self._kept: list[Any] = []
        self._watch = _Watch()

    def fingerprint(self, choice: PluginChoice) -> str:
        """The hash of a dataset's files. Raises InputError where they are missing."""
        from unlearnbench.registry.fingerprint import fingerprint

        def compute() -> str:
            dataset = self._instance(choice)
            self.data_folders |= listings(dataset.files(self.data_root), self.data_root)
            return fingerprint(dataset, self.data_root, self.data_files)

        # By id, not by object: experiments share their datasets, which may be large.
        return cast(str, self.once(f"fingerprint {choice.id}", lambda: self._ask(choice, "files", compute)))

    def class_names(self, choice: PluginChoice) -> tuple[str, ...]:
        """The names of a dataset's classes. Raises InputError where its files are missing."""

        def ask() -> Any:
            dataset = self._instance(choice)
            return self._ask(choice, "class_names", lambda: _class_names(dataset.class_names(self.data_root)))

        return cast("tuple[str, ...]", self.once(f"class_names {choice.id}", ask))

    def image_counts(self, choice: PluginChoice) -> tuple[int, int] | None:
        """The numbers of a dataset's training and test images, or None if it can't say without decoding them.

        Raises:
            InputError: its files are missing.
        """

        def ask() -> Any:
            dataset = self._instance(choice)
            return self._ask(choice, "image_counts", lambda: _image_counts(dataset.image_counts(self.data_root)))

        return cast("tuple[int, int] | None", self.once(f"image_counts {choice.id}", ask))

    def has_groups(self, choice: PluginChoice) -> bool:
        """Whether a dataset says whose each image is."""
        return cast("bool", self._asked("has_groups", choice, lambda dataset: bool(dataset.has_groups)))

    def access(self, choice: PluginChoice) -> Access:
        """The access that an attack needs."""
        return cast("Access", self._asked("access", choice, _access))

    def own_original(self, choice: PluginChoice) -> bool:
        """Whether a method trains its own original."""
        return cast("bool", self._asked("own_original", choice, lambda method: bool(method.own_original)))

    def reference(self, choice: PluginChoice) -> bool:
        """Whether a method is shown unranked."""
        return cast("bool", self._asked("reference", choice, lambda method: bool(method.reference)))

    def ranks_by(self, choice: PluginChoice) -> tuple[str, ...] | None:
        """The metrics by which an attack declares it is ranked."""
        return cast("tuple[str, ...] | None", self._asked("ranks_by", choice, _ranks_by))

    def many_at_once(self, choice: PluginChoice) -> bool:
        """Whether a method unlearns many replicas with one set of kernels."""
        return cast("bool", self._asked("many_at_once", choice, lambda method: bool(method.many_at_once)))

    def lacks(self, setting: CellSetting, access: Access | None) -> str | None:
        """What a cell's method or attack needs that the network or the scenario does not have, as a reason to skip the
        cell."""
        has = cast("tuple[str, ...]", self._asked("capabilities", setting.network, _capabilities))
        needs = cast("tuple[str, ...]", self._asked("needs", setting.method, _needs))
        for who, needed in ((setting.method, needs), (setting.attack, _needed(access))):
            for one in needed:
                if who is not None and one not in has:
                    return f"{who.info.name} needs {CAPABILITIES[one]}, which the network {setting.network.id} lacks"
        if access is not None and access.remaining and setting.scenario.erased not in ALIKE:
            # Of the images that a rule could have chosen, remaining are those that it did not.
            return (
                f"remaining images are like erased ones only where erased is {' or '.join(ALIKE)}, not"
                f" {setting.scenario.erased}"
            )
        return None

    def skip(self, choices: Iterable[PluginChoice | None], scenario: Scenario) -> str | None:
        """The first reason why one of a cell's plugins can't take part, or None."""
        for choice in choices:
            if choice is not None and (reason := self._reason(choice, scenario)) is not None:
                return reason
        return None

    def once(self, question: str, make: Callable[[], Any], *about: Any) -> Any:
        """The answer about shared objects (choices, scenarios), computed once; a fault is raised every time."""
        key = (question, *map(id, about))
        if key not in self._answers:
            self._kept.extend(about)  # an id is only unique while its object lives
            try:
                self._answers[key] = make()
            except PluginFaultError as fault:
                self._answers[key] = fault
        answer = self._answers[key]
        if isinstance(answer, PluginFaultError):
            raise answer.with_traceback(None)
        return answer

    def close(self) -> None:
        """All questions are asked; drop the plugins. Raises InputError if one of them left the process changed."""
        self._watch.close(self._answers.clear)

    def _reason(self, choice: PluginChoice, scenario: Scenario) -> str | None:

        def ask(plugin: Any) -> str | None:
            return _checked_reason(plugin.skip(scenario))

        return cast("str | None", self._asked("skip", choice, ask, scenario))

    def _asked(self, what: str, choice: PluginChoice, question: Callable[[Any], Any], *about: Any) -> Any:
        """A plugin's answer to a question, optionally about something."""

        def ask() -> Any:
            plugin = self._instance(choice)
            return self._ask(choice, what, lambda: question(plugin))

        return self.once(what, ask, choice, *about)

    def _instance(self, choice: PluginChoice) -> Any:
        make = lambda: self._ask(choice, "constructor", lambda: choice.info.cls(choice.params))  # noqa: E731
        return self.once("instance", make, choice)

    def _ask(self, choice: PluginChoice, what: str, question: Callable[[], Any]) -> Any:
        try:
            with self._watch.over(choice, what):
                return question()
        except InputError:
            raise
        except PermissionError as error:  # includes a folder that a dataset may not read
            raise unreadable(error, error.filename or f"{choice.info.kind} {choice.info.name}") from error
        except (Exception, SystemExit) as error:
            text = f"plan: {choice.info.kind} {choice.info.name}: {what}: {error_line(error)}"
            raise PluginFaultError(text, traceback.format_exc()) from error


class _Watch:
    """Guards the process's state while plugins are asked, thousands of times.

    Slow checks are made when a plugin is asked a question for the first time, and at the end.
    """

    def __init__(self) -> None:
        self._asked: set[tuple[str, str, str]] = set()
        self._before: Snapshot | None = None
        self._definitions: Definitions | None = None

    def over(self, choice: PluginChoice, what: str) -> AbstractContextManager[None]:
        """The context in which a plugin answers."""
        from unlearnbench.system.process_state.definitions import Definitions
        from unlearnbench.system.process_state.guard import Snapshot, guarded

        self._before = self._before or Snapshot()
        if not choice.info.is_released:
            self._definitions = self._definitions or Definitions()
        who, asked = f"{choice.info.kind} {choice.info.name}", (choice.info.kind, choice.info.name, what)
        if asked in self._asked:
            return guarded(who, before=self._before)
        self._asked.add(asked)
        return guarded(who, self._definitions, random=True)

    def close(self, release: Callable[[], None]) -> None:
        """Restores the state; raises InputError if a later answer, or a plugin's destructor, has changed it."""
        release()
        changes = [] if self._definitions is None else self._definitions.settle()
        changes += [] if self._before is None else self._before.settle()
        if changes:
            asked = ", ".join(sorted({name for _, name, _ in self._asked}))
            raise InputError(asked, f"one of these plugins changed {changes[0]}; set it inside a with-block")


def _capabilities(network: Any) -> tuple[str, ...]:
    if type(network.features) is not bool or type(network.posterior) is not bool:
        found = f"{network.features!r} and {network.posterior!r}"
        raise TypeError(f"features and posterior must be true or false, not {found}")
    if network.posterior:
        return ("features", "posterior")
    return ("features",) if network.features else ()


def _needs(method: Any) -> tuple[str, ...]:
    found = method.needs
    if isinstance(found, str) or not all(one in CAPABILITIES for one in found):
        raise TypeError(f"must be a tuple of {' and '.join(CAPABILITIES)}, not {found!r}")
    return tuple(found)


def _needed(access: Access | None) -> tuple[str, ...]:
    """What an attack's access needs of a network."""
    if access is None:
        return ()
    if access.inference == "sample":
        return ("posterior",)
    return ("features",) if access.level == "representation" else ()


def _access(attack: Any) -> Access:
    from unlearnbench.settings.access import Access

    access = attack.access
    counts = ("shadows", "shadow_models", "in_and_out", "retrained")
    if not isinstance(access, Access) or any(type(n := getattr(access, name)) is not int or n < 0 for name in counts):
        raise TypeError(f"must be an Access with numbers of shadows and models, not {access!r}")
    return access


def _ranks_by(attack: Any) -> tuple[str, ...] | None:
    found = attack.ranks_by
    if found is None or (isinstance(found, tuple) and all(type(name) is str and name in METRICS for name in found)):
        return cast("tuple[str, ...] | None", found)
    raise TypeError(f"must be None or a tuple of metrics, not {found!r}")


def _class_names(found: Any) -> tuple[str, ...]:
    names = tuple(found)
    if isinstance(found, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"must be texts, one for each class, not {found!r}")
    size = len(json.dumps(names).encode())
    if size > LARGEST_NAMES:
        raise TypeError(f"{size:,} bytes of names; at most {LARGEST_NAMES:,}, for every record holds them")
    return names


def _image_counts(found: Any) -> tuple[int, int] | None:
    if found is None or (isinstance(found, tuple) and len(found) == 2 and all(type(n) is int and n > 0 for n in found)):
        return cast("tuple[int, int] | None", found)
    raise TypeError(f"must be the numbers of training and test images, or None, not {found!r}")


def _checked_reason(reason: Any) -> str | None:
    if reason is None or (isinstance(reason, str) and reason):
        return reason
    raise TypeError(f"must be None or a reason, not {reason!r}")
