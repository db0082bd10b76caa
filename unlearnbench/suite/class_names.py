"""Class names: a scenario may name a class (`truck`); keys, computations and records use the class's number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from unlearnbench.settings.scenario import Backdoor, Scenario, canonical
from unlearnbench.suite.plugin_answers import Inquiry, PluginFaultError
from unlearnbench.suite.suite import CellSetting
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import one_line


def numbered(settings: Sequence[CellSetting], data_root: Path) -> list[CellSetting]:
    """The settings with every class name replaced by its number, as if their author had written the numbers.

    Raises:
        InputError: a class that the dataset does not have, or a setting that appears twice: by name and by number.
    """
    inquiry, found = Inquiry(data_root), list[CellSetting]()
    for setting in settings:
        if not _has_names(setting.scenario):
            found.append(setting)
            continue
        try:
            names = inquiry.class_names(setting.dataset)
        except PluginFaultError as fault:
            raise InputError(setting.dataset.id, str(fault)) from fault
        # Settings share their scenarios and must go on sharing them: planning asks about each scenario once.
        made = inquiry.once(f"numbered {setting.dataset.id}", partial(_numbered, setting, names), setting.scenario)
        found.append(replace(setting, scenario=made[0], scenario_id=made[1]))
    if any(map(_has_names, (setting.scenario for setting in settings))):
        _refuse_twice(found)
    return found


def number_of(name: str, names: Sequence[str], where: str) -> int:
    """The number of a class. Raises InputError, which lists the classes, if no class or more than one has the name."""
    places = [number for number, known in enumerate(names) if known == name]
    if len(places) == 1:
        return places[0]
    if not names:
        raise InputError(where, "the dataset does not name its classes; give the class's number")
    what = f"{len(places)} classes are called" if places else "no class is called"
    listed = ", ".join(f"{number}={known}" for number, known in enumerate(names))
    raise InputError(where, one_line(f"{what} '{one_line(name, 60)}'; the classes are {listed}", 1_500))


def _has_names(scenario: Scenario) -> bool:
    backdoor = scenario.backdoor
    return backdoor is not None and (isinstance(backdoor.base, str) or isinstance(backdoor.target, str))


def _numbered(setting: CellSetting, names: Sequence[str]) -> tuple[Scenario, str]:
    backdoor, place = setting.scenario.backdoor, f"{setting.suite}:experiments.{setting.experiment}.scenario.backdoor"
    assert backdoor is not None
    numbers: dict[str, int] = {}
    for key, label in (("base", backdoor.base), ("target", backdoor.target)):
        where = f"{place}.{key} (dataset {setting.dataset.id})"
        numbers[key] = number_of(label, names, where) if isinstance(label, str) else label
    if numbers["base"] == numbers["target"]:
        raise InputError(place, f"base and target are the same class, number {numbers['base']}")
    made = Backdoor.model_validate({**canonical(backdoor), **numbers})
    scenario = setting.scenario.model_copy(update={"backdoor": made})
    return scenario, setting.named(scenario)


def _refuse_twice(settings: Sequence[CellSetting]) -> None:
    seen = set()
    for each in settings:
        attack = each.attack.id if each.attack else None
        identity = (each.experiment, each.dataset.id, each.scenario_id, each.method.id, attack, each.seed, each.timing)
        if identity in seen:
            where = f"{each.suite}:experiments.{each.experiment}"
            raise InputError(
                where, f"scenario {one_line(each.scenario_id)} appears twice: by a class's name and by its number"
            )
        seen.add(identity)
