"""What a plugin says about itself: its documentation, its source and its parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from unlearnbench.conformance.case import Case, Check
from unlearnbench.conformance.verdict import Verdict, failed, passed
from unlearnbench.settings import Scenario, canonical
from unlearnbench.validation import submodel

STRICT = "derive Params, and every model inside it, from unlearnbench.settings (PluginParams, Strict)"


def documented(case: Case) -> Verdict:
    """The class says what it does."""
    if (case.info.cls.__dict__.get("__doc__") or "").strip():
        return passed()
    return failed(
        f"class {case.info.cls.__name__} has no docstring", "say there what it does and how, with its equation"
    )


def sourced(case: Case) -> Verdict:
    """The paper is named; a warning only, for not everything has one."""
    if case.info.cls.paper.strip():
        return passed(case.info.cls.paper)
    return passed("warning: `paper` is empty; name the source: authors, title, venue, year")


def parameters_described(case: Case) -> Verdict:
    """Every parameter says what it means."""
    bare = [name for name, field in _fields(case.info.cls.Params) if not (field.description or "").strip()]
    if bare:
        what = f"no description of {', '.join(bare)}"
        return failed(what, 'give each a Field(..., description="its meaning, and its unit if it has one")')
    return passed()


def parameters_round_trip(case: Case) -> Verdict:
    """JSON -> Params -> JSON changes nothing: settings go into keys and records as JSON."""
    plain = canonical(case.params)
    text = json.dumps(plain, sort_keys=True, allow_nan=False)
    again = type(case.params).model_validate_json(text)
    if again != case.params or json.dumps(canonical(again), sort_keys=True, allow_nan=False) != text:
        differing = [name for name in plain if getattr(again, name, None) != getattr(case.params, name)]
        what = f"written as JSON and read again, {', '.join(differing) or 'the parameters'} differ"
        return failed(what, "use plain types: numbers, text, booleans, lists and models of them")
    return passed()


def parameters_frozen(case: Case) -> Verdict:
    """No parameter can be changed, and no unknown one given."""
    for model in _models(type(case.params)):
        if not model.model_config.get("frozen") or model.model_config.get("extra") != "forbid":
            return failed(f"{model.__name__} is not frozen, or takes unknown keys", STRICT)
    values = {**canonical(case.params), "no_such_parameter": 1}
    try:
        type(case.params).model_validate(values)
    except ValidationError:
        return passed()
    return failed("an unknown parameter is accepted", STRICT)


def skips_in_words(case: Case) -> Verdict:
    """`skip` gives a reason or None, whatever the scenario, and changes nothing."""
    from unlearnbench.conformance.small_problem import SCENARIOS

    for scenario in SCENARIOS:
        answer = _skip(case, scenario)
        if not (answer is None or (isinstance(answer, str) and answer.strip())):
            what = f"skip returned {type(answer).__name__} {str(answer)!r:.40}"
            return failed(what, "return None to take part, or why not as one line of text")
        if _skip(case, scenario) != answer:
            return failed("skip gives another answer when it is asked again", "decide by scenario and self.params only")
    return passed()


def _skip(case: Case, scenario: Scenario) -> Any:
    return case.watched(case.plugin.skip, scenario)


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        inner = submodel(field.annotation)
        if inner is not None and inner is not model:
            yield from _models(inner)


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field
        inner = submodel(field.annotation)
        if inner is not None and inner is not model:
            yield from _fields(inner, f"{prefix}{name}.")


CHECKS = [
    Check("documented", documented, runs=False),
    Check("source_named", sourced, runs=False),
    Check("parameters_described", parameters_described, runs=False),
    Check("parameters_round_trip", parameters_round_trip, runs=False),
    Check("parameters_frozen", parameters_frozen, runs=False),
]
SKIP = Check("skip", skips_in_words, runs=False)
