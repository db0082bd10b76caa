"""Checks plain values against a pydantic model and says in one line, with a key path, what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json

from unlearnbench.system.errors import InputError, suggest
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
        # Strict JSON mode: no conversions but those that JSON itself needs (a list for a tuple, text for a path).
        return model.model_validate_json(to_json(values, inf_nan_mode="constants"), strict=True)
    except ValidationError as error:
        # An unknown key first: it is often the reason why another one is missing.
        first = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
        keys = _real(first, values)
        raise InputError(where(keys), _what(first, keys, model) + ("" if keys else context)) from None
    except Exception as error:  # a plugin's own validator may raise anything
        raise InputError(where(()), f"can't be checked: {error_line(error)}") from error


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
