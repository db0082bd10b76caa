"""Merges layers of settings and expands grids: a list where the field takes one value is a list of alternatives."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_origin

from pydantic import BaseModel

from unlearnbench.settings.validation import key_path, members, submodel
from unlearnbench.system.errors import InputError, Mistakes

LARGEST_GRID = 1_000  # combinations of one scenario or one plugin's parameters
LARGEST_SEARCH = 100_000  # of a grid that only some combinations are drawn from


def merge(base: Any, over: Any) -> Any:
    """`over` laid over `base`: mappings key by key, everything else replaces; the keys of `over` come first.

    A grid of mappings (a list) is laid over a mapping alternative by alternative, and a mapping over a grid likewise.
    """
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        merged = {key: merge(base[key], value) if key in base else value for key, value in over.items()}
        return {**merged, **{key: value for key, value in base.items() if key not in over}}
    if _is_grid(base) and isinstance(over, Mapping):
        return [merge(item, over) for item in base]
    if isinstance(base, Mapping) and isinstance(over, list):
        return [merge(base, item) if isinstance(item, Mapping) else item for item in over]
    return over


def _is_grid(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


@dataclass(frozen=True)
class Grid:
    """A grid whose combinations are numbered and made one at a time; the first key varies slowest.

    Attributes:
        axes: for each key the pairs of it and one of its alternatives.
    """

    axes: list[list[tuple[str, Any]]]

    @property
    def size(self) -> int:
        """The number of combinations."""
        return math.prod(map(len, self.axes))

    def combination(self, number: int) -> dict[str, Any]:
        """The combination of a number from 0 to `size` - 1."""
        chosen = []
        for axis in reversed(self.axes):
            number, position = divmod(number, len(axis))
            chosen.append(axis[position])
        return dict(reversed(chosen))

    def alternatives(self) -> Iterator[dict[str, Any]]:
        """Combinations in which every alternative occurs: one key varies, the others have their first."""
        first = self.combination(0)
        yield first
        for axis in self.axes:
            yield from ({**first, key: option} for key, option in axis[1:])


def grid(model: type[BaseModel], values: Mapping[str, Any], where: str, largest: int = LARGEST_GRID) -> Grid:
    """The grid of the alternatives in `values`, at any depth.

    Args:
        model: shows which fields take a list themselves; those are not gridded.
        where: the place of `values`, for errors.
        largest: the most combinations.

    Raises:
        InputError: an empty list of alternatives, or too many combinations.
    """
    axes, mistakes = list[list[tuple[str, Any]]](), Mistakes()
    for key, value in values.items():
        with mistakes.noted():
            axes.append([(key, option) for option in _options(model, key, value, where)])
    mistakes.settle()
    found = Grid(axes)
    _limit(found.size, where, largest)
    return found


def expand(model: type[BaseModel], values: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Every combination of a grid of at most LARGEST_GRID; arguments and errors as in `grid`."""
    found = grid(model, values, where)
    return [found.combination(number) for number in range(found.size)]


def expand_rest(model: type[BaseModel], values: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """Combinations in which every value occurs that can be looked at, where `expand` finds a mistake in the grid."""
    sound = {}
    for key, value in values.items():
        with suppress(InputError):
            expand(model, {key: value}, where)
            sound[key] = value
    yield from grid(model, sound, where, sys.maxsize).alternatives()


def _options(model: type[BaseModel], key: str, value: Any, where: str) -> list[Any]:
    field = model.model_fields.get(key)
    if field is None:
        return [value]  # unknown: validation says so
    place = f"{where}.{key_path(key)}"
    inner = submodel(field.annotation)
    if isinstance(value, Mapping):
        return list(expand(inner, value, place)) if inner else [value]
    if not isinstance(value, list) or _takes_list(field.annotation):
        return [value]
    if not value:
        raise InputError(place, "an empty list of alternatives")
    options: list[Any] = []
    for item in value:
        options += _options(model, key, item, where)
        _limit(len(options), place)
    return options


def _limit(count: int, where: str, largest: int = LARGEST_GRID) -> None:
    if count > largest:
        raise InputError(where, f"a grid of over {largest:,} combinations")


def _takes_list(annotation: Any) -> bool:
    for member in members(annotation):
        origin = get_origin(member) or member
        if origin is Any or (isinstance(origin, type) and issubclass(origin, list | tuple | set | frozenset)):
            return True
        # Sequence, Collection, Iterable and the like from collections.abc; text is a Sequence, but not a list.
        if getattr(origin, "__module__", "") == "collections.abc" and issubclass(list, origin):
            return True
    return False
