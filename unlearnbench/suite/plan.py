"""Settings -> cells and the stage tasks they share. Pure and fast: reads no images and does not import torch."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unlearnbench.settings import naming
from unlearnbench.settings.scenario import canonical
from unlearnbench.suite import keys
from unlearnbench.suite.class_names import numbered
from unlearnbench.suite.fitting_sizes import sized
from unlearnbench.suite.plugin_answers import Inquiry, PluginFaultError
from unlearnbench.suite.stage_tasks import StageTasks
from unlearnbench.suite.suite import CellSetting
from unlearnbench.suite.tasks import Stage, Task


@dataclass(frozen=True)
class Cell:
    """One row of the cross-product: a contender in a setting for one seed, with the stages that produce it.

    Attributes:
        stages: the key of each stage.
        reference, own_original: what the method declares; None if it was not asked.
        ranks_by: the metrics by which the attack declares it is ranked.
        classes: the names of the dataset's classes; empty if they have no names.
        skip: why a plugin can't take part, in its own words.
        error, trace: what a plugin raised when it was asked about the cell; such a cell has failed before it starts.
    """

    key: str
    setting: CellSetting
    data_sha256: str
    stages: Mapping[str, str]
    shadows: int | None = None
    tier: str | None = None
    observation: str | None = None
    reference: bool | None = None
    own_original: bool | None = None
    ranks_by: tuple[str, ...] | None = None
    classes: tuple[str, ...] = ()
    skip: str | None = None
    error: str | None = None
    trace: str | None = None

    @property
    def experiment(self) -> str:
        return self.setting.experiment

    @property
    def dataset_id(self) -> str:
        return self.setting.dataset.id

    @property
    def dataset_shown(self) -> str:
        """The dataset's name in leaderboards, which only know records."""
        return naming.dataset_id(self.setting.dataset.info.name, canonical(self.setting.dataset.params))

    @property
    def scenario_id(self) -> str:
        return self.setting.scenario_id

    @property
    def method_id(self) -> str:
        return self.setting.method.id

    @property
    def attack_id(self) -> str | None:
        return self.setting.attack.id if self.setting.attack else None

    @property
    def seed(self) -> int:
        return self.setting.seed

    @property
    def last(self) -> str:
        """The key of the stage that yields the cell's result."""
        return self.stages[self.last_stage]

    @property
    def last_stage(self) -> Stage:
        """The stage that yields the cell's result."""
        return "attack" if self.setting.attack else "timing" if self.setting.timing else "unlearn"


@dataclass(frozen=True)
class Plan:
    """All cells and the stage tasks they share; every task comes before those that need it.

    Attributes:
        data_files: SHA-256 of every file that the datasets are read from, by absolute path.
        data_folders: the contents of the folders around them, so that added or removed files are noticed.
    """

    suite: str
    cells: list[Cell]
    tasks: list[Task]
    data_files: Mapping[str, str] = field(default_factory=dict)
    data_folders: Mapping[str, list[str]] = field(default_factory=dict)


def build(
    settings: Sequence[CellSetting], data_root: Path, device: str = "cpu", recorded: Mapping[str, str] | None = None
) -> Plan:
    """Plan the cells of a suite.

    Args:
        device: where times are measured. Its hardware goes into the keys of timing tasks only.
        recorded: the package versions that cells were recorded with; None: the installed ones.

    Raises:
        InputError: a dataset's files are missing, or it has too few images, or no class of a given name. Raised before
            any work starts.
    """
    inquiry = Inquiry(data_root)
    stage_tasks = StageTasks(inquiry, device, recorded)
    # What plugins print while they are asked must not end up among the results on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        settings = sized(numbered(settings, data_root), inquiry)
        cells = [_cell(setting, inquiry, stage_tasks) for setting in settings]
        inquiry.close()
    suite = settings[0].suite if settings else ""
    return Plan(suite, cells, list(stage_tasks.tasks.values()), inquiry.data_files, inquiry.data_folders)


def _cell(setting: CellSetting, inquiry: Inquiry, stage_tasks: StageTasks) -> Cell:
    """A cell, after its tasks are planned; a failed cell if a plugin could not be asked."""
    try:
        return _planned(setting, inquiry, stage_tasks)
    except PluginFaultError as fault:
        # A key of its own, so that no result is mistaken for this cell's once the plugin is fixed.
        identity = [setting.suite, setting.experiment, setting.dataset.id, setting.scenario_id, setting.method.id]
        attack = setting.attack.id if setting.attack else None
        key = keys.digest({"cell": [*identity, attack, setting.seed], "error": str(fault)})
        return Cell(key, setting, "", {}, error=str(fault), trace=fault.trace)


def _planned(setting: CellSetting, inquiry: Inquiry, stage_tasks: StageTasks) -> Cell:
    access = inquiry.access(setting.attack) if setting.attack else None
    skip = inquiry.skip((setting.network, setting.method, setting.attack), setting.scenario)
    skip = skip or inquiry.lacks(setting, access)
    inquiry.image_counts(setting.dataset)  # a fault here has left the sizes as they were, and fails the cell
    stages = stage_tasks.stages_of(setting, access, skip)
    # The reason is part of the key; otherwise a skipped cell's record would count as a result once the plugin no longer
    # skips it.
    skipped = {"skip": skip} if skip else {}
    # The whole scenario, not only the part that its stages depend on: records hold it, and rows with equal scenarios
    # are compared.
    said = inquiry.once("said", lambda: keys.digest(canonical(setting.scenario)), setting.scenario)
    identity = {"suite": setting.suite, "experiment": setting.experiment, "scenario": said}
    return Cell(
        key=keys.digest({"cell": stages, **identity, **skipped}),
        setting=setting,
        data_sha256=inquiry.fingerprint(setting.dataset),
        stages=stages,
        shadows=(access.shadows or access.models) or None if access else None,
        tier=access.tier_recorded if access else None,
        observation=access.level if access else None,
        ranks_by=inquiry.ranks_by(setting.attack) if setting.attack else None,
        reference=inquiry.reference(setting.method),
        own_original=inquiry.own_original(setting.method),
        classes=inquiry.class_names(setting.dataset),
        skip=skip,
    )
