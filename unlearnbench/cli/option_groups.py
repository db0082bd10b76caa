"""Groups of options shared by verbs: a dataclass declares them once, and a verb takes it as one parameter."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints


def grouped(verb: Callable[..., int], without: Collection[str] = ()) -> Callable[..., int]:
    """A verb as Typer reads it: each parameter that is a dataclass is replaced by one option per field.

    Args:
        without: fields that are not options of this verb; they keep their defaults.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[Any, list[str]]] = {}
    for parameter in inspect.signature(verb, eval_str=True).parameters.values():
        group = parameter.annotation
        if not is_dataclass(group):
            parameters.append(parameter)
            continue
        types = get_type_hints(group, include_extras=True)
        options = [field for field in fields(group) if field.name not in without]
        groups[parameter.name] = group, [option.name for option in options]
        parameters += [
            inspect.Parameter(option.name, parameter.kind, default=option.default, annotation=types[option.name])
            for option in options
        ]

    @wraps(verb)
    def ungrouped(**given: Any) -> int:
        for name, (group, options) in groups.items():
            given[name] = group(**{option: given.pop(option) for option in options})
        return verb(**given)

    ungrouped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return ungrouped
