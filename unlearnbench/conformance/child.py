"""The process in which a plugin is examined: finds it, makes the checks one by one, and tells each verdict at once.

Started by the supervisor, with the request on stdin as JSON; tells on what was stdout when it started, one JSON object
a line: `found` or `bad_input`, then `begin` and `result` of each check, then `end`. What plugins print goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench import engine
from unlearnbench.conformance.verdict import Verdict, failed, skipped
from unlearnbench.errors import InputError, an
from unlearnbench.printing import error_line, one_line

if TYPE_CHECKING:
    from unlearnbench.conformance.case import Case, Check, Place
    from unlearnbench.registry import Kind, PluginInfo, Registry

Tell = Callable[..., None]


def main() -> int:
    """Examine what the request on stdin names."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    request = json.load(sys.stdin)
    engine.settle(request["parent"])  # quiet, one thread, ends with its parent

    def tell(**message: Any) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    try:
        _examine(request, tell)
    except InputError as error:
        tell(bad_input=[error.where, error.what])
    tell(end=True)
    return 0


def _examine(request: dict[str, Any], tell: Tell) -> None:
    import unlearnbench.stages  # noqa: F401 (all that is imported writes nothing while plugins are watched)
    from unlearnbench.conformance.case import Place
    from unlearnbench.conformance.watch import Watch
    from unlearnbench.plugin_facts import identity
    from unlearnbench.registry import discover

    watch = Watch(Path(request["scratch"]), Path.cwd())
    folders = tuple(Path(folder) for folder in request["plugin_dirs"])
    with watch.watching():
        registry = discover(folders)
    if _is_broken(registry, request, tell):
        return
    info, values = _find(registry, request["name"], request["kind"])
    tell(found={"kind": info.kind, "name": info.name, "origin": info.origin, "builtin": info.builtin,
                "identity": identity(info)})  # fmt: skip
    place = Place(registry, Path(request["scratch"]), Path(request["data_root"]), folders, watch)
    case = _case(info, values, place, tell)
    if case is not None:
        _make_checks(case, request, tell)


def _is_broken(registry: Registry, request: dict[str, Any], tell: Tell) -> bool:
    """Tell of a plugin that was found and can't be loaded."""
    for bad in registry.broken:
        if bad.name == request["name"] and request["kind"] in (None, bad.kind or request["kind"]):
            tell(found={"kind": bad.kind or request["kind"] or "plugin", "name": bad.name, "origin": bad.origin,
                        "builtin": False})  # fmt: skip
            _tell_verdict("loads", failed(bad.error, f"mend {bad.origin} until `unlearnbench list` shows it"), tell)
            return True
    return False


def _find(registry: Registry, text: str, kind: Kind | None) -> tuple[PluginInfo, dict[str, Any]]:
    """The plugin and the parameters of ``name[param=value,...]``; raises InputError."""
    from unlearnbench.errors import suggest
    from unlearnbench.grids import merge
    from unlearnbench.registry import KINDS
    from unlearnbench.selection import parse_filter

    name = text.partition("[")[0].strip()
    kinds = [kind] if kind else [each for each in KINDS if name in registry.of(each)]
    if not kinds:
        every = [known for each in KINDS for known in registry.of(each)]
        raise InputError(one_line(name, 60), f"unknown plugin '{one_line(name, 60)}'{suggest(name, every)}")
    if len(kinds) > 1:
        raise InputError(name, f"is the name of {' and '.join(an(each) for each in kinds)}; say which by --kind")
    info = registry.find(kinds[0], name, one_line(text))
    values: dict[str, Any] = {}
    for key, value in parse_filter(kinds[0], text, registry).params:
        for part in reversed(key.split(".")):
            value = {part: value}
        values = merge(values, value)
    return info, values


def _case(info: PluginInfo, values: dict[str, Any], place: Place, tell: Tell) -> Case | None:
    """The plugin with its parameters, or None if it can't be made, which is told."""
    from unlearnbench.conformance.suites import CASES
    from unlearnbench.validation import check, within

    required = [name for name, field in info.cls.Params.model_fields.items() if field.is_required()]
    if set(required) - set(values):
        why = f"give it what has no default: unlearnbench check '{info.name}[{required[0]}=...]'"
        _tell_verdict("loads", skipped(why), tell)
        return None
    try:
        params = check(info.cls.Params, values, within(info.name))
        case = CASES[info.kind](info, params, place)
        _ = case.plugin
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        _tell_verdict("loads", failed(error_line(error), "let it be made from its Params alone"), tell)
        return None
    return case


def _make_checks(case: Case, request: dict[str, Any], tell: Tell) -> None:
    """All checks that an earlier process has not made."""
    from unlearnbench.conformance.suites import CHECKS, RUNS

    lame: str | None = request["lame"]
    for check in CHECKS[case.info.kind]:
        if check.name in request["made"]:
            continue
        tell(begin=check.name)
        began = time.perf_counter()
        verdict = skipped(lame) if check.runs and lame else verdict_of(check, case)
        _tell_verdict(check.name, verdict, tell, time.perf_counter() - began)
        if check.name == RUNS and verdict.status != "pass":
            lame = "it is not run" if verdict.status == "skipped" else "it does not run"


def verdict_of(check: Check, case: Case) -> Verdict:
    """What a check finds; whatever the plugin raises is a finding."""
    from unlearnbench.conformance.case import line_of
    from unlearnbench.conformance.watch import RefusedError

    try:
        if check.runs and (reason := case.reason) is not None:
            return skipped(reason)
        return check.examine(case)
    except RefusedError as error:
        return failed(f"{error}{line_of(error, case.info)}", "leave it out; see the checks no_network, no_writes")
    except BaseException as error:  # also SystemExit: what a plugin raises is a verdict, not this process's end
        advice = f"mend {case.info.origin}: it has to work on three erasures of digits"
        return failed(f"{error_line(error)}{line_of(error, case.info)}", advice)


def _tell_verdict(check: str, verdict: Verdict, tell: Tell, seconds: float = 0.0) -> None:
    tell(result=[check, verdict.status, verdict.note, verdict.advice, round(seconds, 3)])


if __name__ == "__main__":
    sys.exit(main())
