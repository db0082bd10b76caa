"""What a plugin says about itself: its documentation, its source and its parameters."""

from __future__ import annotations

from unlearnbench.conformance.case import Case, Odd
from unlearnbench.conformance.rulings import Ruling, failed, passed
from unlearnbench.conformance.small_problem import SCENARIOS

STRICT = "derive Params, and every model inside it, from unlearnbench.settings.scenario (PluginParams, Strict)"


def documented(case: Case) -> Ruling:
    """The class says what it does."""
    answer, _ = case.ask("documented")
    if answer["text"].strip():
        return passed()
    return failed(f"class {answer['class']} has no docstring", "say there what it does and how, with its equation")


def sourced(case: Case) -> Ruling:
    """The paper is named. Only a warning, as not everything has a paper."""
    answer, _ = case.ask("documented")
    if answer["paper"].strip():
        return passed(answer["paper"])
    return passed("warning: `paper` is empty; name the source: authors, title, venue, year")


def parameters_described(case: Case) -> Ruling:
    """Every parameter says what it means."""
    answer, _ = case.ask("parameters")
    bare = [name for name, description in answer["fields"] if not description.strip()]
    if bare:
        what = f"no description of {', '.join(bare)}"
        return failed(what, 'give each a Field(..., description="its meaning, and its unit if it has one")')
    return passed()


def parameters_round_trip(case: Case) -> Ruling:
    """JSON -> Params -> JSON changes nothing: settings go into keys and records as JSON."""
    answer, _ = case.ask("round_trip")
    if not answer["equal"] or answer["text"] != answer["again"]:
        what = f"written as JSON and read again, {', '.join(answer['differing']) or 'the parameters'} differ"
        return failed(what, "use plain types: numbers, text, booleans, lists and models of them")
    return passed()


def parameters_frozen(case: Case) -> Ruling:
    """No parameter can be changed, and unknown ones are refused."""
    answer, _ = case.ask("parameters")
    for name, frozen, strict in answer["models"]:
        if not (frozen and strict):
            return failed(f"{name} is not frozen, or takes unknown keys", STRICT)
    return failed("an unknown parameter is accepted", STRICT) if answer["takes_any"] else passed()


def skips_in_words(case: Case) -> Ruling:
    """`skip` gives a reason or None, whatever the scenario, and changes nothing."""
    for scenario in SCENARIOS:
        answer = case.skip(scenario)
        if isinstance(answer, Odd) or (answer is not None and not answer.strip()):
            kind, shown = answer if isinstance(answer, Odd) else ("str", f"{answer!r:.40}")
            return failed(f"skip returned {kind} {shown}", "return None to take part, or why not as one line of text")
        if case.skip(scenario) != answer:
            return failed("skip gives another answer when called again", "decide by scenario and self.params only")
    return passed()
