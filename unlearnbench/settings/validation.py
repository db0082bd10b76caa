"""Checks plain values against a pydantic model and says in one line, with a key path, what is wrong."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json

from unlearnbench.settings.rules import BrokenRulesError
from unlearnbench.system.errors import InputError, InputErrors, Mistakes, suggest
from unlearnbench.system.printing import error_line, one_line

Valid = TypeVar("Valid", bound=BaseModel)
Keys = tuple[str | int, ...]

PLAINLY = {  # pydantic's words, and those that a suite's author would use
    "Input should be": "must be",
    "an object": "a mapping",
    "a valid array": "a list",
    "a valid string": "text",
    "a valid integer": "a whole number",
    "a valid boolean": "true or false",
    "a valid ": "a ",
}


def check(model: type[Valid], values: Mapping[str, Any], where: Callable[[Keys], str], context: str = "") -> Valid:
    """`values` as a `model`, without any silent conversion ("3" is not 3, 1.0 is not a count).

    Args:
        where: makes the place shown in an error from the key path inside `values`.
        context: added to errors about several keys together, e.g. `` (dataset 'mnist')``.

    Raises:
        InputError: the first thing that is wrong.
    """
    try:
        return check_every(model, values, where, context)
    except InputErrors as several:
        raise several.errors[0] from None


def check_every(
    model: type[Valid], values: Mapping[str, Any], where: Callable[[Keys], str], context: str = ""
) -> Valid:
    """The same, for a suite.

    Raises:
        InputError: what is wrong; InputErrors if it is more than one thing.
    """
    try:
        # Strict JSON mode: no conversions but those that JSON itself needs (a list for a tuple, text for a path).
        return model.model_validate_json(to_json(values, inf_nan_mode="constants"), strict=True)
    except ValidationError as error:
        mistakes = Mistakes()
        for keys, what in _wrong(error, values, model):
            mistakes.add(InputError(where(keys), what + ("" if keys else context)))
        mistakes.settle()
        raise AssertionError("an invalid value without an error") from error
    except Exception as error:  # a plugin's own validator may raise anything
        raise InputError(where(()), f"can't be checked: {error_line(error)}") from error


def _wrong(error: ValidationError, values: Mapping[str, Any], model: type[BaseModel]) -> Iterator[tuple[Keys, str]]:
    """Everything that is wrong, with its key path: fields, and the rules between those that are right."""
    # Unknown keys first: they are often the reason why others are missing.
    every = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    unknown: dict[Keys, set[str]] = {}
    seen = set[Keys]()
    for each in every:
        keys = _real(each, values)
        if each["type"] == "extra_forbidden":
            parent = _model_at(model, keys[:-1])
            near = difflib.get_close_matches(str(keys[-1]), parent.model_fields if parent else (), n=1, cutoff=0.5)
            unknown.setdefault(keys[:-1], set()).update(near)
        if each["type"] == "missing":
            if each["loc"][-1] in unknown.get(keys, ()):  # meant by the unknown key
                continue
            yield keys, _what(each, keys, model)
        elif isinstance(broken := each.get("ctx", {}).get("error"), BrokenRulesError):
            yield from ((keys, one_line(rule.text)) for rule in broken.rules)
        elif keys not in seen:  # members of a union are all tried, and each gives an error
            seen.add(keys)
            yield keys, _what(each, keys, model)
    at_fault = {str((_real(each, values) or each["loc"])[0]) for each in every if each["loc"]}
    if at_fault and any(each["type"] != "missing" for each in every):
        for text in _rules_of_the_rest(model, values, at_fault):
            yield (), one_line(text)


def _rules_of_the_rest(model: type[BaseModel], values: Mapping[str, Any], at_fault: Set[str]) -> list[str]:
    """The rules that values break without those at fault, and that concern none of these."""
    rest = {key: value for key, value in values.items() if key not in at_fault}
    try:
        model.model_validate_json(to_json(rest, inf_nan_mode="constants"), strict=True)
    except ValidationError as error:
        found = [each.get("ctx", {}).get("error") for each in error.errors(include_url=False)]
        rules = [rule for broken in found if isinstance(broken, BrokenRulesError) for rule in broken.rules]
        return [rule.text for rule in rules if at_fault.isdisjoint(rule.fields)]
    except Exception:  # a plugin's own validator may raise anything; `check` has said so
        return []
    return []


def wrong_in_part(model: type[BaseModel], values: Mapping[str, Any]) -> str | None:
    """What is wrong with single values of a `model`, some of which may be missing; None if nothing is.

    For values that others wrote and that are only read: rules between values matter only where they are computed with.
    """
    try:
        model.model_validate_json(to_json(values, inf_nan_mode="constants"), strict=True)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            if each["type"] != "missing" and (keys := _real(each, values)):
                return one_line(f"{key_path(*keys)} {_what(each, keys, model)}")
    return None


def check_key(model: type[BaseModel], keys: Sequence[str], where: str) -> None:
    """Raise InputError unless the dotted path `keys` names a field of `model`. Keys of a model with keys of a plugin
    among its own are not checked."""
    fields: type[BaseModel] | None = model
    for position, key in enumerate(keys):
        if fields is None:
            raise InputError(where, f"'{'.'.join(keys[:position])}' has no keys of its own")
        if fields.model_config.get("extra") == "allow":
            return
        if key not in fields.model_fields:
            raise InputError(where, f"unknown key '{one_line(key, 60)}'{suggest(key, fields.model_fields)}")
        fields = submodel(fields.model_fields[key].annotation)


def submodel(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model in an annotation such as ``Backdoor | None``, if there is one."""
    for member in members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member
    return None


def members(annotation: Any) -> Iterator[Any]:
    """The members of a union, or the annotation itself; ``Annotated`` is looked through."""
    if get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from members(member)
    elif get_origin(annotation) is Annotated:
        yield from members(get_args(annotation)[0])
    else:
        yield annotation


def key_path(*parts: str | int) -> str:
    """``experiments.leak.methods[0]`` from its parts; empty parts are left out."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part:
            text += f".{part}" if text else part
    return one_line(text)


def within(*parts: str | int) -> Callable[[Keys], str]:
    """What `check` takes as its `where` for values that lie at the key path `parts`."""
    return lambda keys: key_path(*parts, *keys)


def _real(error: ErrorDetails, values: Any) -> Keys:
    """The error's location without the union members that pydantic puts between the keys."""
    keys: list[str | int] = []
    for key in error["loc"]:
        listed = isinstance(values, list) and isinstance(key, int) and key < len(values)
        if listed or (isinstance(values, Mapping) and key in values):
            values = values[key]
            keys.append(key)
    return tuple(keys)


def _what(error: ErrorDetails, keys: Keys, model: type[BaseModel]) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        name = str(keys[-1])
        parent = _model_at(model, keys[:-1])
        return f"unknown key '{one_line(name, 60)}'{suggest(name, parent.model_fields) if parent else ''}"
    if kind == "missing":
        return f"'{error['loc'][-1]}' is missing"
    if kind == "value_error":
        return one_line(str(error["ctx"]["error"]))
    shown = one_line(json.dumps(error["input"], ensure_ascii=False, default=str), 60)
    if kind == "literal_error":
        expected = error["ctx"]["expected"]
        near = suggest(error["input"], re.findall(r"'([^']*)'", expected)) if isinstance(error["input"], str) else ""
        return f"must be {expected}, not {shown}{near if 'did you mean' in near else ''}"
    must = one_line(error["msg"])
    for theirs, ours in PLAINLY.items():
        must = must.replace(theirs, ours)
    return f"{must[:1].lower()}{must[1:]}, not {shown}"


def _model_at(model: type[BaseModel], keys: Keys) -> type[BaseModel] | None:
    annotation: Any = model
    for key in keys:
        inner = submodel(annotation)
        if inner is not None:
            field = inner.model_fields.get(str(key))
            annotation = field.annotation if field else None
        else:  # the values of a dict[str, BaseModel], the items of a list[BaseModel]
            annotation = next((get_args(member)[-1] for member in members(annotation) if get_args(member)), None)
    return submodel(annotation)
