"""The process that judges a plugin and never imports it: it asks, compares the answers, and reports each ruling.

There are three processes, so that no ruling is made where the plugin can reach it:

- the program (supervisor.py) starts the examiner, and prints what it reports;
- the examiner holds the models, the images and the truth, decides what to ask, and rules. Its channel to the program
  is not passed on;
- the subject (subject.py) imports the plugin and answers. An answer holds tensors and numbers, what was raised and what
  was tried, but no ruling: whatever a plugin prints, patches or writes into its process's files, nothing there says
  "pass". Whatever is not an answer to the question just asked fails the rule (channel.py), and so does a process that
  is left running.

What remains: a plugin shares the subject's process, and Python has no walls inside a process. By patching the code that
answers there, it can report outputs that are not its own. It gains no more than by behaving while it is examined, which
is always possible and which no examination can detect: check is for finding mistakes, not for trusting a stranger. What
a plugin does to files and connections is also seen only inside the subject. Plugins that run as the superuser, or where
the system lets one process of a user debug another, can reach any process of that user; so can any program that they
start.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.conformance.channel import ENDED, FORGED, AskSubject, LostError, Message, NamedTensors, Respond
from unlearnbench.conformance.rulings import Ruling, failed, passed, skipped
from unlearnbench.conformance.subject_host import Host, forked, fresh
from unlearnbench.registry.base import BUILT_IN, KINDS
from unlearnbench.registry.registry import named
from unlearnbench.system import descendants
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import error_line, one_line
from unlearnbench.system.process import be_quiet, limit_threads

if TYPE_CHECKING:
    from unlearnbench.conformance.audit_hook import Attempt
    from unlearnbench.conformance.case import Case, PluginRule

STARTING = 60.0  # additional seconds for importing the libraries on a busy machine
LONGEST = 2000  # characters of a plugin's identity
LOADS, ENDS = "loads", "no_processes"

Tell = Callable[..., None]


def main() -> int:
    """Examine what the request on the socket names."""
    stream = socket.socket(fileno=int(sys.argv[1]))
    stream.set_inheritable(False)
    with stream.makefile("rwb") as channel:
        request: dict[str, Any] = json.loads(channel.readline())
        be_quiet()
        limit_threads()
        adopts = descendants.can_adopt()
        descendants.close_to_others()

        def tell(**message: Any) -> None:
            channel.write(json.dumps(message).encode() + b"\n")
            channel.flush()

        examiner = Examiner(request, tell, adopts)
        try:
            examiner.start()
            _end_with(request["parent"])
            examiner.examine()
        except InputError as error:
            tell(bad_input=[error.where, error.what])
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending already
            examiner.close()
        tell(end=True)
    return 0


def _end_with(parent: int) -> None:
    """End in good order, with all that was started, on SIGTERM and when the parent is gone."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


class UnloadableError(Exception):
    """The plugin can't be loaded again, after the process that had loaded it was lost."""


class Examiner:
    """Examines the rules one by one. If a subject is lost, one rule fails and another subject replaces it."""

    def __init__(self, request: dict[str, Any], tell: Tell, adopts: bool) -> None:
        self._request, self._tell, self._adopts = request, tell, adopts
        self._folder, self._limit = Path(request["folder"]), float(request["time_limit"])
        self._plugin_dirs = [Path(folder) for folder in request["plugin_dirs"]]
        self._hosts: dict[str, Host] = {}
        self._ready: set[str] = set()
        self._attempts: list[Attempt] = []
        self._left, self._forged = 0, False

    def start(self) -> None:
        """Start the processes that the plugin will run in. Raises InputError for a missing folder."""
        # Importing the libraries takes seconds: the other process does so meanwhile, and the first one need not.
        self._hosts["other"] = fresh(self._folder)
        self._hosts["subject"] = self._first()
        for host in self._hosts.values():
            host.show()  # uses threads, which must not exist yet when a process is forked

    def _first(self) -> Host:
        """The first subject: where that is safe, a fork of this process before it holds any truth."""
        if not sys.platform.startswith("linux"):
            return fresh(self._folder)
        import unlearnbench.stages.jobs  # noqa: F401
        from unlearnbench.conformance import answers, small_problem, suites  # noqa: F401

        if any(self._name in named(kind, self._plugin_dirs) for kind in ("method", "attack")):
            small_problem.shared_originals(small_problem.LEAK)  # does for both processes what torch does at first use
        return forked(self._folder)

    def examine(self) -> None:
        """Examine all rules. Raises InputError if there is no such plugin."""
        try:
            case = self._case()
            if case is not None:
                self._examine_rules(case)
        except (LostError, UnloadableError) as error:
            self._result(LOADS, failed(str(error), "only define the class when the file is imported"))

    def close(self) -> None:
        """End all processes."""
        for which in list(self._hosts):
            self._end(which, Host.kill)

    # --- checks -----------------------------------------------------------------------------------------------------

    def _case(self) -> Case | None:
        """The plugin with its parameters, or None if it can't be made, which is reported."""
        from unlearnbench.conformance.case import RaisedError, Setup
        from unlearnbench.conformance.pipeline import ATTACKED
        from unlearnbench.conformance.suites import CASES
        from unlearnbench.registry.registry import Registry, load

        try:
            answer = self._find("subject")
            kind, origin = answer["kind"], answer["origin"]
            identity = one_line(str(answer.get("identity", "")), LONGEST)
            self._tell(found={"kind": kind or "plugin", "name": self._name, "origin": origin,
                              "builtin": _is_builtin(origin), "identity": identity})  # fmt: skip
            if "broken" in answer:
                self._result(LOADS, failed(answer["broken"], f"fix {origin} until `unlearnbench list` shows it"))
                return None
            if answer["missing"] is not None:
                why = f"give it what has no default: unlearnbench check '{self._name}[{answer['missing']}=...]'"
                self._result(LOADS, skipped(why))
                return None
            self._make("subject")
        except RaisedError as error:
            if error.bad_input is not None:
                raise InputError(*error.bad_input) from None
            self._result(LOADS, failed(str(error), "let it be made from its Params alone"))
            return None
        networks = {name: load("model", name) for name in ("mlp", "linear")}  # of the small scenarios
        method, dataset = load("method", ATTACKED), load("dataset", "digits")
        registry = Registry({ATTACKED: method}, {}, {"digits": dataset}, networks, [])
        setup = Setup(registry, self._folder / "judged", Path(self._request["data_root"]))
        case = CASES[kind](origin, setup, self._ask("subject"), self._ask("other"), self._folder)
        case.attempts = self._attempts
        return case

    def _examine_rules(self, case: Case) -> None:
        from unlearnbench.conformance.suites import RULES, RUNS

        not_run: str | None = None
        for rule in RULES[case.kind]:
            self._tell(begin=rule.name)
            began = time.perf_counter()
            for host in self._hosts.values():
                host.channel.restart(self._limit)
            try:
                ruling = skipped(not_run) if rule.runs and not_run else ruling_on(rule, case)
                self._pause()
            except LostError as error:
                ruling = failed(str(error), _advice(str(error)))
            self._result(rule.name, ruling, time.perf_counter() - began)
            if rule.name == RUNS and ruling.status != "pass":
                not_run = "it is not run" if ruling.status == "skipped" else "it does not run"
        self._tell(begin=ENDS)
        began = time.perf_counter()
        for which in list(self._hosts):
            self._end(which, Host.end)
        self._result(ENDS, self._outlived(), time.perf_counter() - began)

    def _pause(self) -> None:
        """Ask once more: if an answer was forged, the real one arrives now. Raises LostError."""
        for which in list(self._ready):
            self._asked(which, {"ask": "pause"})

    def _outlived(self) -> Ruling:
        """Nothing that the plugin has started still runs, or has written to the examiner."""
        if self._left:
            processes = "a process" if self._left == 1 else f"{self._left} processes"
            return failed(f"left {processes} running", "end what is started, and wait for it, before returning")
        if self._forged:
            return failed(FORGED, _advice(FORGED))
        return passed("" if self._adopts else "only its own process group was checked: this system shows no more")

    def _result(self, check: str, ruling: Ruling, seconds: float = 0.0) -> None:
        self._tell(result=[check, ruling.status, ruling.note, ruling.advice, round(seconds, 3)])

    # --- subjects ---------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return one_line(self._request["text"].partition("[")[0].strip(), 60)

    def _ask(self, which: str) -> AskSubject:
        """A function that asks one of the processes, after starting it and loading the plugin there if necessary."""

        def ask(
            question: Message, tensors: NamedTensors | None = None, respond: Respond | None = None
        ) -> tuple[Message, NamedTensors]:
            from unlearnbench.conformance.case import RaisedError

            if which not in self._ready:
                try:
                    self._find(which)
                    self._make(which)
                except (LostError, RaisedError) as error:
                    raise UnloadableError(f"when it was loaded once more: {error}") from None
            return self._asked(which, question, tensors, respond)

        return ask

    def _find(self, which: str) -> Message:
        """Have a process look for the plugin. Raises RaisedError and LostError."""
        if which not in self._hosts:
            # Not a fork: it would contain the truth, which this process holds by now.
            self._hosts[which] = fresh(self._folder)
            self._hosts[which].show()
        self._hosts[which].channel.restart(self._limit, STARTING)
        request = {name: self._request[name] for name in ("text", "kind", "plugin_dirs", "data_root")}
        answer = self._seen(which, {"ask": "find", **request, "scratch": str(self._folder / "scratch")})
        # The plugin's origin is known without loading it: it can't claim to be another one.
        places = [named(kind, self._plugin_dirs) for kind in KINDS]
        if answer["kind"] not in (*KINDS, None) or answer["origin"] not in [place.get(self._name) for place in places]:
            raise LostError(FORGED)
        return answer

    def _make(self, which: str) -> None:
        """Have a process make an instance. Raises RaisedError and LostError."""
        self._seen(which, {"ask": "make"})
        self._hosts[which].channel.restart(self._limit)
        self._ready.add(which)

    def _seen(self, which: str, question: Message) -> Message:
        from unlearnbench.conformance.case import RaisedError, attempts_in

        answer, _ = self._asked(which, question)
        self._attempts += attempts_in(answer)
        if "raised" in answer:
            raise RaisedError(answer["raised"])
        return answer

    def _asked(
        self, which: str, question: Message, tensors: NamedTensors | None = None, respond: Respond | None = None
    ) -> tuple[Message, NamedTensors]:
        try:
            return self._hosts[which].channel.ask(question, tensors, respond)
        except LostError as error:
            # If the process ended by itself, what still runs was left running on purpose.
            self._end(which, Host.end if str(error) == ENDED else Host.kill)
            raise

    def _end(self, which: str, how: Callable[[Host, list[int]], None]) -> None:
        host = self._hosts.pop(which)
        self._ready.discard(which)
        how(host, [other.pid for other in self._hosts.values()])
        self._left += host.left
        self._forged |= host.forged


def ruling_on(rule: PluginRule, case: Case) -> Ruling:
    """Whether a plugin keeps a rule; whatever the plugin raises is a failure.

    Raises:
        LostError, UnloadableError: its process is gone.
    """
    from unlearnbench.conformance.case import RaisedError

    on = "small images" if case.kind == "model" else "three erasures of digits"
    advice = f"fix {case.origin}: it has to work on {on}"
    try:
        if rule.runs and (reason := case.reason) is not None:
            return skipped(reason)
        return rule.examine(case)
    except (LostError, UnloadableError):
        raise
    except RaisedError as error:
        if error.refused is not None:
            return failed(f"{error.refused}{error.at}", "leave it out; see the checks no_network, no_writes")
        return failed(f"{error}{error.at}", advice)
    except Exception as error:  # its answers made no sense
        return failed(error_line(error), advice)


def _is_builtin(origin: str) -> bool:
    places = [importlib.util.find_spec(f"unlearnbench.{folder}") for folder in BUILT_IN.values()]
    return str(Path(origin).parent) in [
        str(place) for spec in places if spec for place in spec.submodule_search_locations or ()
    ]


def _advice(what: str) -> str:
    if "longer" in what:
        return "look for endless loops and for work that grows with the harness's settings; or raise --time-limit"
    if what == FORGED:
        return "print what there is to say, and leave alone files that it did not open"
    return "return or raise, never end the process"


if __name__ == "__main__":
    sys.exit(main())
