"""The subject's answers about a plugin of any kind: which one it is and what it declares; and the table of answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from unlearnbench.conformance import attack_answers, dataset_answers, method_answers, model_answers
from unlearnbench.conformance.channel import Message, NamedTensors, Respond
from unlearnbench.conformance.subject import Reply, Subject, odd
from unlearnbench.registry.base import KINDS
from unlearnbench.registry.plugin_facts import identity
from unlearnbench.registry.registry import discover
from unlearnbench.settings.grids import merge
from unlearnbench.settings.scenario import Scenario, canonical
from unlearnbench.settings.validation import check, submodel, within
from unlearnbench.suite.selection import parse_filter
from unlearnbench.system.errors import InputError, an, suggest
from unlearnbench.system.printing import one_line


def _find(subject: Subject, question: Message, *_: Any) -> Reply:
    """Find the plugin named by ``name[param=value,...]`` and check its parameters. Raises InputError if there is
    none."""
    text, kind = question["text"], question["kind"]
    name = text.partition("[")[0].strip()
    registry = subject.watched(discover, tuple(Path(folder) for folder in question["plugin_dirs"]))
    for bad in registry.broken:
        if bad.name == text and kind in (None, bad.kind or kind):
            return {"broken": bad.error, "kind": bad.kind or kind, "origin": bad.origin}, {}
    kinds = [kind] if kind else [each for each in KINDS if name in registry.of(each)]
    if not kinds:
        every = [known for each in KINDS for known in registry.of(each)]
        raise InputError(one_line(name, 60), f"unknown plugin '{one_line(name, 60)}'{suggest(name, every)}")
    if len(kinds) > 1:
        raise InputError(name, f"is the name of {' and '.join(an(each) for each in kinds)}; say which by --kind")
    info = registry.find(kinds[0], name, one_line(text))
    values: dict[str, Any] = {}
    for key, value in parse_filter(info.kind, text, registry).params:
        for part in reversed(key.split(".")):
            value = {part: value}
        values = merge(values, value)
    required = [field for field, how in info.cls.Params.model_fields.items() if how.is_required()]
    missing = next((field for field in required if field not in values), None)
    params = None if missing else check(info.cls.Params, values, within(info.name))
    subject.found(registry, info, params, question)
    return {"kind": info.kind, "name": info.name, "origin": info.origin, "missing": missing,
            "identity": identity(info)}, {}  # fmt: skip


def _make(subject: Subject, *_: Any) -> Reply:
    subject.make()
    return {}, {}


def _documented(subject: Subject, *_: Any) -> Reply:
    cls = subject.examined.info.cls
    return {"class": cls.__name__, "text": cls.__dict__.get("__doc__") or "", "paper": cls.paper}, {}


def _parameters(subject: Subject, *_: Any) -> Reply:
    fields = [[name, field.description or ""] for name, field in _fields(subject.examined.info.cls.Params)]
    models = [
        [model.__name__, model.model_config.get("frozen") is True, model.model_config.get("extra") == "forbid"]
        for model in _models(type(subject.examined.params))
    ]
    try:
        type(subject.examined.params).model_validate({**canonical(subject.examined.params), "no_such_parameter": 1})
        takes_any = True
    except ValidationError:
        takes_any = False
    return {"fields": fields, "models": models, "takes_any": takes_any}, {}


def _round_trip(subject: Subject, *_: Any) -> Reply:
    """JSON -> Params -> JSON."""
    params = subject.examined.params
    text = json.dumps(canonical(params), sort_keys=True, allow_nan=False)
    again = type(params).model_validate_json(text)
    names = [name for name in canonical(params) if getattr(again, name, None) != getattr(params, name)]
    then = json.dumps(canonical(again), sort_keys=True, allow_nan=False)
    return {"text": text, "again": then, "equal": bool(again == params), "differing": names}, {}


def _skip(subject: Subject, question: Message, *_: Any) -> Reply:
    answer = subject.watched(subject.plugin.skip, Scenario.model_validate(question["scenario"]))
    return ({"reason": answer} if answer is None or isinstance(answer, str) else odd(answer)), {}


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


ANSWERS: Mapping[str, Callable[[Subject, Message, NamedTensors, Respond], Reply]] = {
    "find": _find, "make": _make, "documented": _documented, "parameters": _parameters,
    "round_trip": _round_trip, "skip": _skip,
    "facts": method_answers.facts, "originals": method_answers.originals, "unlearn": method_answers.unlearn,
    "task": method_answers.task,
    "access": attack_answers.access, "attack": attack_answers.attack,
    "files": dataset_answers.files, "class_names": dataset_answers.class_names,
    "image_counts": dataset_answers.image_counts, "load": dataset_answers.load,
    "network_facts": model_answers.facts, "network_answers": model_answers.answers, "network": model_answers.network,
    "network_details": model_answers.details, "network_together": model_answers.together,
}  # fmt: skip
