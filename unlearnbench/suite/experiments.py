"""One experiment of a suite: its grids expanded, every value checked, every contender named."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from unlearnbench.registry.base import Kind
from unlearnbench.registry.plugin_info import PluginInfo
from unlearnbench.registry.registry import Registry
from unlearnbench.settings.grids import LARGEST_GRID, LARGEST_SEARCH, Grid, grid, merge
from unlearnbench.settings.naming import choice_id, default_values, scenario_id
from unlearnbench.settings.scenario import LeakSizes, Scenario, Strict, Timing
from unlearnbench.settings.sizes import usual_known
from unlearnbench.settings.validation import Keys, check_every, key_path, within
from unlearnbench.suite.choices import REFERENCES, PluginChoice, choices_of, combinations_of, networks_of
from unlearnbench.suite.selection import Filter
from unlearnbench.suite.tune_section import TuneFile, check_rule, order
from unlearnbench.system.errors import InputError, Mistakes
from unlearnbench.system.printing import one_line

Layer = tuple[Mapping[str, Any], Callable[[Keys], str]]  # values, and a function that locates a key in them


class DatasetFile(Strict):
    """The entry of a dataset in a suite file."""

    params: dict[str, Any] = Field(default={})
    scenario: dict[str, Any] = Field(default={})


class ExperimentFile(Strict):
    """An experiment as written in a suite file, before grids are expanded."""

    description: str = ""
    references: bool = Field(default=True, description="whether original and retrain are added where not listed")
    datasets: list[Any] = Field(min_length=1)
    scenario: dict[str, Any]
    methods: list[Any] = Field(default=[])
    attacks: list[Any] | None = None
    timing: Timing | None = None
    tune: TuneFile | None = None


@dataclass(frozen=True)
class DatasetScenario:
    """A dataset in one of an experiment's scenarios, with the scenario's network."""

    dataset: PluginChoice
    scenario: Scenario
    scenario_id: str
    network: PluginChoice
    free_sizes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Experiment:
    """The pairs of an experiment: every dataset in every scenario with every method, and with every attack and none."""

    name: str
    dataset_scenarios: list[DatasetScenario]
    methods: list[PluginChoice]
    attacks: list[PluginChoice]
    timing: Timing | None = None
    tune: TuneFile | None = None

    @property
    def size(self) -> int:
        """The number of cells of one repetition, at most."""
        return len(self.dataset_scenarios) * len(self.methods) * (1 + len(self.attacks) + (self.timing is not None))

    def choices(self, kind: Kind) -> list[PluginChoice]:
        """The distinct contenders of one kind."""
        datasets = list({each.dataset.id: each.dataset for each in self.dataset_scenarios}.values())
        networks = list({each.network.id: each.network for each in self.dataset_scenarios}.values())
        return {"method": self.methods, "attack": self.attacks, "dataset": datasets, "model": networks}[kind]

    def pick(self, filters: Mapping[Kind, list[Filter]]) -> Experiment | None:
        """The part that passes the filters, or None if a filter leaves nothing. References are kept."""

        def kept(kind: Kind, choice: PluginChoice) -> bool:
            some = filters[kind]
            return not some or any(one.matches(choice.info.name, choice.params) for one in some)

        dataset_scenarios = [
            each for each in self.dataset_scenarios if kept("dataset", each.dataset) and kept("model", each.network)
        ]
        attacks = [choice for choice in self.attacks if kept("attack", choice)]
        if not (dataset_scenarios and any(kept("method", choice) for choice in self.methods)):
            return None
        if filters["attack"] and not attacks:
            return None
        methods = [choice for choice in self.methods if kept("method", choice) or choice.info.name in REFERENCES]
        return replace(self, dataset_scenarios=dataset_scenarios, methods=methods, attacks=attacks)


def resolve(
    name: str,
    file: ExperimentFile,
    place: str,
    registry: Registry,
    layer: Mapping[str, Any],
    seed: int,
    missing: Collection[str] = (),
) -> Experiment:
    """Expand and check an experiment.

    Args:
        place: the experiment's key path, for errors.
        layer: scenario values that override all others (``--set``).
        seed: the suite's seed, used to draw the settings to tune.
        missing: keys of the experiment with no usable value, `datasets` or `scenario`: what needs them is not checked.

    Raises:
        InputError: with the key path of the error and the nearest valid name; InputErrors if there are several.
    """
    mistakes = Mistakes()
    dataset_scenarios: list[DatasetScenario] = []
    layers: list[Layer] = [(file.scenario, within(place, "scenario"))]
    if "datasets" in missing:
        with mistakes.noted():
            list(_scenarios(None, layers, registry))
    for i, entry in enumerate(() if missing else file.datasets):
        with mistakes.noted():
            dataset_scenarios += _dataset_scenarios(entry, f"{place}.datasets[{i}]", registry, layers, layer)
    with mistakes.noted():
        _refuse_twice(
            (f"{each.dataset.id} with scenario {each.scenario_id}" for each in dataset_scenarios), f"{place}.datasets"
        )
    methods: list[PluginChoice] = []
    if file.tune is not None:
        with mistakes.noted():
            check_rule(file.tune, (each.scenario for each in dataset_scenarios), bool(file.attacks), place)
    with mistakes.noted():
        if file.tune is None:
            methods += _contenders("method", file.methods, f"{place}.methods", registry)
        else:
            methods += _tried(file.methods, f"{place}.methods", registry, file.tune, seed)
        if file.references:
            listed = {choice.info.name for choice in methods}
            added = [reference for reference in REFERENCES if reference not in listed]
            methods = [
                *(choice for name in added for choice in choices_of(registry.find("method", name, place), {}, place)),
                *methods,
            ]
        if not methods:
            raise InputError(f"{place}.methods", "no methods")
    attacks: list[PluginChoice] = []
    with mistakes.noted():
        attacks += _contenders("attack", file.attacks or [], f"{place}.attacks", registry)
    mistakes.settle()
    return Experiment(name, dataset_scenarios, methods, attacks, file.timing, file.tune)


def _contenders(kind: Kind, entries: list[Any], place: str, registry: Registry) -> list[PluginChoice]:
    choices, mistakes = list[PluginChoice](), Mistakes()
    for i, entry in enumerate(entries):
        with mistakes.noted():
            name, params = _entry(entry, f"{place}[{i}]")
            choices += choices_of(registry.find(kind, name, f"{place}[{i}]"), params, f"{place}[{i}].{name}")
    with mistakes.noted():
        _refuse_twice((choice.id for choice in choices), place)
    mistakes.settle()
    return choices


def _tried(entries: list[Any], place: str, registry: Registry, tune: TuneFile, seed: int) -> list[PluginChoice]:
    """The settings to try: for each method, the distinct settings of all its entries, or a draw from them."""
    methods: dict[str, list[tuple[Grid, str]]] = {}
    mistakes = Mistakes()
    for i, entry in enumerate(entries):
        with mistakes.noted():
            name, params = _entry(entry, f"{place}[{i}]")
            info, where = registry.find("method", name, f"{place}[{i}]"), f"{place}[{i}].{name}"
            largest = LARGEST_GRID if tune.samples is None else LARGEST_SEARCH
            methods.setdefault(name, []).append((grid(info.cls.Params, params, where, largest), where))
    choices = []
    for name, grids in methods.items():
        with mistakes.noted():
            choices += _drawn(registry.find("method", name, place), grids, tune.samples, seed)
    mistakes.settle()
    if all(choice.is_reference for choice in choices):
        raise InputError(place, "no method that 'tune' could choose a setting of")
    return choices


def _drawn(info: PluginInfo, grids: list[tuple[Grid, str]], samples: int | None, seed: int) -> list[PluginChoice]:
    """At most `samples` distinct settings of one method (None: all), in the order of its grids."""
    mistakes = Mistakes()
    for each, where in grids:  # values are checked even if they are not drawn
        for combination in each.alternatives():
            with mistakes.noted():
                check_every(info.cls.Params, combination, within(where))
    mistakes.settle()
    numbered = [(each, where, number) for each, where in grids for number in range(each.size)]
    found: dict[str, tuple[int, PluginChoice]] = {}
    for position in order(len(numbered), info.name, seed):
        each, where, number = numbered[position]
        params = check_every(info.cls.Params, each.combination(number), within(where))
        choice = PluginChoice(info, params, choice_id(info.name, params))
        found.setdefault(choice.id, (position, choice))
        if len(found) == samples and not choice.is_reference:
            break
    return [choice for _, choice in sorted(found.values(), key=lambda pair: pair[0])]


def _entry(entry: Any, where: str) -> tuple[str, dict[str, Any]]:
    """A list entry's name and body: ``crfu`` or ``crfu: {beta_u: 1}``."""
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, body),) = entry.items()
        if body is None or isinstance(body, dict):
            return name, body or {}
    hint = " (indent the parameters under the name)" if isinstance(entry, dict) and len(entry) > 1 else ""
    raise InputError(where, f"must be a name, or one name with a mapping of its parameters{hint}")


def _dataset_scenarios(
    entry: Any, at: str, registry: Registry, layers: list[Layer], overrides: Mapping[str, Any]
) -> Iterator[DatasetScenario]:
    mistakes, info = Mistakes(), None
    name, body = _entry(entry, at)
    with mistakes.noted():
        info = registry.find("dataset", name, at)
    own = DatasetFile()
    with mistakes.noted():
        own = check_every(DatasetFile, body, within(at, name))
    # Highest priority first.
    layers = [
        (overrides, lambda keys: f"--set {key_path(*keys)}"),
        (own.scenario, within(at, name, "scenario")),
        *layers,
    ]
    scenarios, choices = list[_Found](), list[PluginChoice]()
    with mistakes.noted():
        scenarios += _scenarios(info, layers, registry)
    with mistakes.noted():
        choices += choices_of(info, own.params, key_path(at, name, "params")) if info is not None else ()
    mistakes.settle()
    for choice in choices:
        yield from (DatasetScenario(choice, *scenario) for scenario in scenarios)


_Found = tuple[Scenario, str, PluginChoice, frozenset[str]]  # a scenario, its name, its network, and its free sizes


def _scenarios(info: PluginInfo | None, layers: list[Layer], registry: Registry) -> Iterator[_Found]:
    """The scenarios of a dataset; without one only single values are checked, and not the rules between them."""
    defaults: Mapping[str, Any] = getattr(info.cls, "defaults", {}) if info is not None else {}
    values: Mapping[str, Any] = {key: value for key, value in defaults.items() if key not in ("leak", "network")}
    for layer, _ in reversed(layers):
        values = merge(values, layer)
    base = layers[-1][1]

    def where(keys: Keys) -> str:
        return next((place(keys) for layer, place in layers if keys and _has(layer, keys)), base(keys))

    mistakes, networks = Mistakes(), list[tuple[dict[str, Any], PluginChoice]]()
    written = values.get("network", {})
    with mistakes.noted():  # a dataset that is not known may have a network of its own
        if info is not None or (isinstance(written, Mapping) and "name" in written):
            networks += networks_of(written, defaults, where, registry)
    # One value each: a grid of networks is expanded with the parameters of each. If one is wrong, a network that breaks
    # no rule stands in, and the rest is checked.
    if "network" in values or not networks:
        values = {**values, "network": [network for network, _ in networks] or {"name": "linear"}}
    chosen = {json.dumps(network, sort_keys=True): choice for network, choice in networks}
    combinations, partial = combinations_of(Scenario, values, base(()), mistakes)
    partial = base(()) if info is None else partial
    context = "" if info is None else f" (dataset '{info.name}')"
    for combination in combinations:
        # Sizes of the parts of a leak experiment would be an error in a utility experiment.
        given = combination.get("leak", {}) if combination.get("kind") == "leak" else None
        if isinstance(given, Mapping):
            combination["leak"] = usual_known(_usual_sizes(defaults), given, _erased(combination))
        if networks:
            combination.setdefault("network", networks[0][0])
        with mistakes.noted(but_at=partial):
            scenario = check_every(Scenario, combination, where, context)
            free = frozenset(LeakSizes.model_fields if scenario.leak is not None else ()) - set(given or {})
            if networks:
                choice = chosen[json.dumps(combination["network"], sort_keys=True)]
                name = scenario_id(scenario, defaults, default_values(choice.info.cls.Params))
                yield scenario, name, choice, free
    mistakes.settle()


def _usual_sizes(defaults: Mapping[str, Any]) -> Mapping[str, Any]:
    """The sizes of a leak experiment's parts on a large dataset, or those that suit this one."""
    own = defaults.get("leak")
    own = own if isinstance(own, Mapping) else {}
    return {**{name: field.default for name, field in LeakSizes.model_fields.items()}, **own}


def _erased(combination: Mapping[str, Any]) -> int:
    """How many candidates all targets erase, as far as a scenario that is not checked yet says so."""
    counts = [combination.get(name, 1) for name in ("targets", "erased_count")]
    return math.prod(count if type(count) is int and count > 0 else 1 for count in counts)


def _has(layer: Any, keys: Keys) -> bool:
    if isinstance(layer, list):  # a grid: the key may be in any alternative
        return any(_has(item, keys) for item in layer)
    return not keys or (isinstance(layer, Mapping) and keys[0] in layer and _has(layer[str(keys[0])], keys[1:]))


def _refuse_twice(names: Iterable[str], where: str) -> None:
    seen, mistakes = set[str](), Mistakes()
    for name in names:
        if name in seen:
            mistakes.add(InputError(where, f"{one_line(name)} is listed twice"))
        seen.add(name)
    mistakes.settle()
