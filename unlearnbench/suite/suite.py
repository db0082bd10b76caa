"""The suite file: YAML -> Suite -> one setting per cell.

    name: quickstart
    seed: 0                 # the source of all randomness
    seeds: 3                # repetitions 0, 1, 2
    experiments:
      leak:
        datasets: [digits, {mnist: {scenario: {beta: 0.01}}}]     # a dataset may override the scenario
        scenario: {kind: leak, erased_count: 1, beta: [0, 0.001]}  # a list where one value belongs is a grid
        methods: [vbu, {crfu: {beta_u: [0.1, 1]}}]                 # original and retrain are added
        attacks: [update_leak]
        timing: {}                 # measure the time of an erasure; see Timing
        # tune: {...}       # how `unlearnbench tune` chooses settings; see tune_section.py

Layers of a scenario, later ones override earlier ones: defaults of Scenario, defaults of the dataset, the experiment,
the dataset's entry, ``--set``. Every value is checked when the file is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from unlearnbench.registry.base import KINDS
from unlearnbench.registry.registry import Registry
from unlearnbench.settings.naming import default_values, scenario_id
from unlearnbench.settings.scenario import Scenario, Strict
from unlearnbench.settings.validation import Keys, check, key_path
from unlearnbench.suite.choices import PluginChoice
from unlearnbench.suite.experiments import Experiment, ExperimentFile, resolve
from unlearnbench.suite.selection import Filter, Selection, parse_overrides
from unlearnbench.system import yaml_reading
from unlearnbench.system.errors import InputError, suggest
from unlearnbench.system.printing import one_line

LARGEST_SUITE = 1_000_000  # cells
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


def _folder_name(name: str) -> str:
    if not name or len(name) > 80 or not set(name) <= NAME_CHARACTERS:
        raise ValueError("names are lower-case letters, digits, _ and -, at most 80")
    return name


FolderName = Annotated[str, AfterValidator(_folder_name)]


class SuiteFile(Strict):
    """A suite file as written."""

    name: FolderName
    description: str = ""
    seed: int = Field(default=0, ge=0, lt=2**63)
    seeds: int = Field(default=3, ge=1, le=1_000)
    experiments: dict[FolderName, ExperimentFile] = Field(min_length=1)


@dataclass(frozen=True)
class CellSetting:
    """Everything that defines one cell.

    Attributes:
        attack: None for the cell that only measures utility and for the cell that measures time.
        timing: for the latter, the number of repetitions.
        free_sizes: the parts of a leak experiment whose sizes the suite leaves open: where the dataset is small they
            become smaller (fitting_sizes.py).
    """

    suite: str
    suite_seed: int
    experiment: str
    dataset: PluginChoice
    scenario: Scenario
    scenario_id: str
    network: PluginChoice
    method: PluginChoice
    attack: PluginChoice | None
    seed: int
    timing: int | None = None
    free_sizes: frozenset[str] = frozenset()

    def named(self, scenario: Scenario) -> str:
        """What another scenario, of the same dataset and network, is called."""
        defaults = getattr(self.dataset.info.cls, "defaults", {})
        return scenario_id(scenario, defaults, default_values(self.network.info.cls.Params))


@dataclass(frozen=True)
class Suite:
    """A suite file, checked: every value is valid."""

    path: str
    file: SuiteFile
    registry: Registry

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def description(self) -> str:
        return self.file.description

    @property
    def seed(self) -> int:
        return self.file.seed

    @property
    def seeds(self) -> int:
        return self.file.seeds

    def settings(self, selection: Selection | None = None, screening: bool = True) -> list[CellSetting]:
        """One setting per cell: (experiment, dataset, scenario, seed, method) without an attack, with each, and timed.

        Where methods are selected, the experiment's references (original, retrain) stay. Experiments that have no
        selected method, attack, dataset or network are left out.

        Args:
            screening: for experiments tuned in two rounds, return the seeds of the first round only.

        Raises:
            InputError: an unknown name or parameter, a filter that matches nothing, or an invalid override.
        """
        selection = selection or Selection()
        layer, seeds = parse_overrides(selection.overrides)
        if seeds is not None and selection.seeds is not None:
            raise InputError("--set seeds", "the number of seeds is also given by --seeds")
        filters = {kind: selection.filters(kind, self.registry) for kind in KINDS}
        experiments = [
            resolve(
                name, self.file.experiments[name], f"{self.path}:experiments.{name}", self.registry, layer, self.seed
            )
            for name in self._names(selection.experiments)
        ]
        for kind, some in filters.items():
            self._check_matches(some, [choice for each in experiments for choice in each.choices(kind)])
        chosen = [picked for each in experiments if (picked := each.pick(filters)) is not None]
        if not chosen:
            raise InputError(self.path, "no experiment has all of what -e, -m, -a, -d and -n select")
        repetitions = selection.seeds or seeds or self.seeds
        if repetitions * sum(each.size for each in chosen) > LARGEST_SUITE:
            raise InputError(self.path, f"more than {LARGEST_SUITE:,} cells")
        return [setting for each in chosen for setting in self._cells(each, _seeds(each, repetitions, screening))]

    def _cells(self, each: Experiment, repetitions: int) -> Iterator[CellSetting]:
        # Seeds in the outer loop: contenders of one repetition share their original and are compared with each other.
        for pair, seed, method in product(each.dataset_scenarios, range(repetitions), each.methods):
            setting = CellSetting(
                suite=self.name,
                suite_seed=self.seed,
                experiment=each.name,
                dataset=pair.dataset,
                scenario=pair.scenario,
                scenario_id=pair.scenario_id,
                network=pair.network,
                method=method,
                attack=None,
                seed=seed,
                free_sizes=pair.free_sizes,
            )
            yield setting
            yield from (replace(setting, attack=attack) for attack in each.attacks)
            if each.timing is not None and (times := each.timing.times(seed, method.is_reference)):
                yield replace(setting, timing=times)

    def _names(self, selected: tuple[str, ...]) -> list[str]:
        for name in selected:
            if name not in self.file.experiments:
                tail = suggest(name, self.file.experiments)
                raise InputError(f"-e {name}", f"no experiment '{name}' in suite '{self.name}'{tail}")
        return [name for name in self.file.experiments if not selected or name in selected]

    def _check_matches(self, filters: list[Filter], choices: list[PluginChoice]) -> None:
        for one in filters:
            if not any(one.matches(choice.info.name, choice.params) for choice in choices):
                there = ", ".join(dict.fromkeys(choice.id for choice in choices)) or "none"
                raise InputError(one.where, one_line(f"nothing like it in suite '{self.name}', which has: {there}"))


def _seeds(each: Experiment, repetitions: int, screening: bool) -> int:
    if screening and each.tune is not None and each.tune.screening_seeds is not None:
        return min(each.tune.screening_seeds, repetitions)
    return repetitions


def load_suite(path: Path, registry: Registry) -> Suite:
    """Read and check a suite file.

    Raises:
        InputError: with the file, the key path and the nearest valid name; InputErrors if more than one thing is wrong.
    """
    return suite_of(yaml_reading.read(path), registry, str(path))


def suite_of(values: Mapping[str, Any], registry: Registry, path: str) -> Suite:
    """A suite from what its file holds; `path` names it in errors, which are as those of `load_suite`."""
    try:
        file = check(SuiteFile, values, place_in(path))
        for name, experiment in file.experiments.items():
            check_seeds(f"{path}:experiments.{name}", experiment, file.seeds)
        suite = Suite(path, file, registry)
        suite.settings()
    except InputError:
        from unlearnbench.suite.mistakes import every_mistake

        every_mistake(values, path, registry).settle()
        raise  # about the suite as a whole
    return suite


def place_in(path: str) -> Callable[[Keys], str]:
    """What `check` takes as its `where` for a suite file."""
    return lambda keys: f"{path}:{key_path(*keys)}" if keys else path


def check_seeds(place: str, experiment: ExperimentFile, seeds: int) -> None:
    """Raise InputError if tuning an experiment screens with as many seeds as the suite has."""
    if experiment.tune is not None and (experiment.tune.screening_seeds or 0) >= seeds:
        where = f"{place}.tune.screening_seeds"
        raise InputError(where, f"must be fewer than the suite's seeds, of which there are {seeds}")
