"""Plugins with the parameters that a suite gives them: its grids expanded, every value checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from unlearnbench.registry.plugin_info import PluginInfo
from unlearnbench.registry.registry import Registry
from unlearnbench.settings.grids import expand, expand_rest
from unlearnbench.settings.naming import choice_id, of_dataset
from unlearnbench.settings.scenario import PluginParams, canonical
from unlearnbench.settings.validation import Keys, check_every, within
from unlearnbench.system.errors import InputError, Mistakes

REFERENCES = ("original", "retrain")  # leaks are reported relative to these


@dataclass(frozen=True)
class PluginChoice:
    """A plugin with its parameters; `id` shows those that differ from the defaults, e.g. ``crfu[beta_u=1]``."""

    info: PluginInfo
    params: PluginParams
    id: str

    @property
    def packages(self) -> tuple[str, ...]:
        """The installed packages whose versions are part of its keys, in addition to those in every key."""
        return (*self.info.packages, *self.params.keyed_packages)

    @property
    def is_reference(self) -> bool:
        """Whether it only serves for comparison: shown unranked, never tuned."""
        return self.info.name in REFERENCES or bool(getattr(self.info.cls, "reference", False))


def choices_of(info: PluginInfo, values: Mapping[str, Any], place: str) -> list[PluginChoice]:
    choices, mistakes = [], Mistakes()
    combinations, partial = combinations_of(info.cls.Params, values, place, mistakes)
    for combination in combinations:
        with mistakes.noted(but_at=partial):
            params = check_every(info.cls.Params, combination, within(place))
            choices.append(PluginChoice(info, params, choice_id(info.name, params)))
    mistakes.settle()
    return choices


def combinations_of(
    model: type[BaseModel], values: Mapping[str, Any], place: str, mistakes: Mistakes
) -> tuple[Iterable[dict[str, Any]], str | None]:
    """The combinations of a grid, and None. Where the grid has a mistake: what can be looked at all the same, and the
    place of errors that may only follow from it."""
    try:
        return expand(model, values, place), None
    except InputError as error:
        mistakes.add(error)
    return expand_rest(model, values, place), place


def networks_of(
    values: Any, defaults: Mapping[str, Any], where: Callable[[Keys], str], registry: Registry
) -> list[tuple[dict[str, Any], PluginChoice]]:
    """The alternatives in a scenario's `network`, all parameters written out, and the plugin of each.

    Args:
        values: as written: a mapping of single values and of alternatives, or a list of such mappings.
        defaults: of the dataset.
        where: makes the place shown in an error from a key path in the scenario.

    Raises:
        InputError: with all mistakes.
    """
    found, mistakes = list[tuple[dict[str, Any], PluginChoice]](), Mistakes()
    if isinstance(values, list):
        for each in values:
            with mistakes.noted():
                found += networks_of(each, defaults, where, registry)
        mistakes.settle()
        if not values:
            raise InputError(where(("network",)), "an empty list of alternatives")
        return found
    if not isinstance(values, Mapping):
        raise InputError(where(("network",)), "must be a mapping with the network's name and its parameters")
    names = values.get("name", defaults.get("network", {}).get("name", "mlp"))
    given = {key: value for key, value in values.items() if key != "name"}
    for name in names if isinstance(names, list) else [names]:
        with mistakes.noted():
            found += _of_one_network(name, given, defaults, where, registry)
    mistakes.settle()
    return found


def _of_one_network(
    name: Any, given: Mapping[str, Any], defaults: Mapping[str, Any], where: Callable[[Keys], str], registry: Registry
) -> list[tuple[dict[str, Any], PluginChoice]]:
    if not isinstance(name, str):
        raise InputError(where(("network", "name")), "must be text, the name of a plugin of kind model")
    info = registry.find("model", name, where(("network", "name")))
    values = {**{key: value for key, value in of_dataset(defaults, name).items() if key != "name"}, **given}
    found, mistakes = list[tuple[dict[str, Any], PluginChoice]](), Mistakes()
    combinations, partial = combinations_of(info.cls.Params, values, where(("network",)), mistakes)
    for combination in combinations:
        with mistakes.noted(but_at=partial):
            params = check_every(info.cls.Params, combination, lambda keys: where(("network", *keys)))
            found.append(({"name": name, **canonical(params)}, PluginChoice(info, params, choice_id(name, params))))
    mistakes.settle()
    return found
