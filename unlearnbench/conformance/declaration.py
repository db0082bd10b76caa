"""What a plugin says about itself: its documentation, its source and its parameters."""

from __future__ import annotations

from unlearnbench.conformance.case import Case, Check, Odd
from unlearnbench.conformance.verdict import Verdict, failed, passed

STRICT = "derive Params, and every model inside it, from unlearnbench.settings.scenario (PluginParams, Strict)"


def documented(case: Case) -> Verdict:
    """The class says what it does."""
    told, _ = case.ask("documented")
    if told["text"].strip():
        return passed()
    return failed(f"class {told['class']} has no docstring", "say there what it does and how, with its equation")


def sourced(case: Case) -> Verdict:
    """The paper is named; a warning only, for not everything has one."""
    told, _ = case.ask("documented")
    if told["paper"].strip():
        return passed(told["paper"])
    return passed("warning: `paper` is empty; name the source: authors, title, venue, year")


def parameters_described(case: Case) -> Verdict:
    """Every parameter says what it means."""
    told, _ = case.ask("parameters")
    bare = [name for name, description in told["fields"] if not description.strip()]
    if bare:
        what = f"no description of {', '.join(bare)}"
        return failed(what, 'give each a Field(..., description="its meaning, and its unit if it has one")')
    return passed()


def parameters_round_trip(case: Case) -> Verdict:
    """JSON -> Params -> JSON changes nothing: settings go into keys and records as JSON."""
    told, _ = case.ask("round_trip")
    if not told["equal"] or told["text"] != told["again"]:
        what = f"written as JSON and read again, {', '.join(told['differing']) or 'the parameters'} differ"
        return failed(what, "use plain types: numbers, text, booleans, lists and models of them")
    return passed()


def parameters_frozen(case: Case) -> Verdict:
    """No parameter can be changed, and no unknown one given."""
    told, _ = case.ask("parameters")
    for name, frozen, strict in told["models"]:
        if not (frozen and strict):
            return failed(f"{name} is not frozen, or takes unknown keys", STRICT)
    return failed("an unknown parameter is accepted", STRICT) if told["takes_any"] else passed()


def skips_in_words(case: Case) -> Verdict:
    """`skip` gives a reason or None, whatever the scenario, and changes nothing."""
    from unlearnbench.conformance.small_problem import SCENARIOS

    for scenario in SCENARIOS:
        answer = case.skip(scenario)
        if isinstance(answer, Odd) or (answer is not None and not answer.strip()):
            kind, shown = answer if isinstance(answer, Odd) else ("str", f"{answer!r:.40}")
            return failed(f"skip returned {kind} {shown}", "return None to take part, or why not as one line of text")
        if case.skip(scenario) != answer:
            return failed("skip gives another answer when it is asked again", "decide by scenario and self.params only")
    return passed()


CHECKS = [
    Check("documented", documented, runs=False),
    Check("source_named", sourced, runs=False),
    Check("parameters_described", parameters_described, runs=False),
    Check("parameters_round_trip", parameters_round_trip, runs=False),
    Check("parameters_frozen", parameters_frozen, runs=False),
]
SKIP = Check("skip", skips_in_words, runs=False)
