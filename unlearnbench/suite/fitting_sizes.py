"""Sizes: before anything is keyed, the parts of a leak experiment that a suite leaves open are made to fit the dataset,
and sizes that can't fit are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from unlearnbench.settings.scenario import LeakSizes, Scenario
from unlearnbench.settings.sizes import NO_GROUPS, fitted, refuse_utility
from unlearnbench.suite.plugin_answers import Inquiry, PluginFaultError
from unlearnbench.suite.suite import CellSetting
from unlearnbench.system.errors import InputError


def sized(settings: Sequence[CellSetting], inquiry: Inquiry) -> list[CellSetting]:
    """The settings with sizes that fit their datasets, as if their author had written these sizes.

    A dataset that can't say how many images it has without decoding them is taken to have enough.

    Raises:
        InputError: the sizes that a suite gives leave too few images, or groups are erased of a dataset without any.
    """
    found = list[CellSetting]()
    for setting in settings:
        try:
            counts = inquiry.image_counts(setting.dataset)
            if setting.scenario.erased == "group" and not inquiry.has_groups(setting.dataset):
                raise InputError(_place(setting, "scenario.erased"), NO_GROUPS)
        except PluginFaultError:  # planning asks again, fails this dataset's cells and says why
            counts = None
        if counts is None:
            found.append(setting)
            continue
        # Settings share their scenarios and must go on sharing them: planning asks about each scenario once.
        make = partial(_fitted, setting, counts)
        scenario, name = inquiry.once(f"sized {setting.dataset.id}", make, setting.scenario)
        found.append(replace(setting, scenario=scenario, scenario_id=name))
    return found


def _fitted(setting: CellSetting, counts: tuple[int, int]) -> tuple[Scenario, str]:
    scenario = setting.scenario
    try:
        sizes = _sizes(setting, counts)
    except InputError as error:
        raise InputError(_place(setting, error.where), error.what) from None
    if sizes == scenario.leak:
        return scenario, setting.scenario_id
    made = scenario.model_copy(update={"leak": sizes})
    return made, setting.named(made)


def _place(setting: CellSetting, where: str) -> str:
    return f"{setting.suite}:experiments.{setting.experiment}.{where} (dataset {setting.dataset.id})"


def _sizes(setting: CellSetting, counts: tuple[int, int]) -> LeakSizes | None:
    if setting.scenario.kind == "leak":
        return fitted(setting.scenario, setting.free_sizes, counts[0])
    refuse_utility(setting.scenario, *counts)
    return None
