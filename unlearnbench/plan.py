"""Settings -> cells and stage tasks, with their keys. Pure and fast: reads no images, imports no torch.

A stage is a pure function of its inputs, stored under the hash of those inputs: the protocol version, the plugin and
its version (outside plugins: their file's hash), resolved parameters, the data's fingerprint, the seed, and the key of
the stage before. Never the engine, the number of workers or the order of anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from unlearnbench import PROTOCOL_VERSION
from unlearnbench.experiments import Choice
from unlearnbench.inquiry import Inquiry, PluginFaultError
from unlearnbench.registry import released_plugins
from unlearnbench.settings import Scenario, canonical
from unlearnbench.suite import Setting

Stage = Literal["train", "unlearn", "shadows", "attack"]

# Raise one whenever the stage's results change.
STAGE_VERSIONS: Mapping[Stage, int] = {"train": 1, "unlearn": 2, "shadows": 1, "attack": 1}


@dataclass(frozen=True)
class Task:
    """One stage's work: plain JSON values, so that any worker on any machine can do it.

    Attributes:
        needs: keys of the stages before, by stage.
        work: dataset, scenario, method, attack, suite_seed, seed, shadows.
    """

    stage: Stage
    key: str
    needs: Mapping[str, str]
    work: Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One row of the cross-product: a contender in a setting for one seed, with the stages it is made of.

    Attributes:
        stages: the key of each stage.
        skip: why a plugin can't take part, in its own words.
        error, trace: what a plugin raised when it was asked about the cell; such a cell has failed before it began.
    """

    key: str
    setting: Setting
    data_sha256: str
    stages: Mapping[str, str]
    shadows: int | None = None
    observation: str | None = None
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
        """The key of the stage whose result the cell records."""
        return self.stages["attack" if self.setting.attack else "unlearn"]


@dataclass(frozen=True)
class Plan:
    """All cells, and the stage tasks they share, each before those that need it.

    Attributes:
        data_files: SHA-256 of every file that the datasets are read from, by absolute path.
        data_folders: what lies in the folders around them, for noticing files that come or go.
    """

    suite: str
    cells: list[Cell]
    tasks: list[Task]
    data_files: Mapping[str, str] = field(default_factory=dict)
    data_folders: Mapping[str, list[str]] = field(default_factory=dict)


def build(settings: Sequence[Setting], data_root: Path) -> Plan:
    """Plan the cells of a suite.

    Raises:
        InputError: where a dataset's files are missing, before any work starts.
    """
    planner = _Planner(data_root)
    # What plugins print when they are asked must not end up among the results on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        cells = [planner.cell(setting) for setting in settings]
    suite = settings[0].suite if settings else ""
    return Plan(suite, cells, list(planner.tasks.values()), planner.inquiry.data_files, planner.inquiry.data_folders)


class _Planner:
    def __init__(self, data_root: Path) -> None:
        self.inquiry = Inquiry(data_root)
        self.tasks: dict[str, Task] = {}

    def cell(self, setting: Setting) -> Cell:
        try:
            return self._cell(setting)
        except PluginFaultError as fault:
            # A key of its own, so that nothing is taken for this cell's result once the plugin is mended.
            identity = [setting.suite, setting.experiment, setting.dataset.id, setting.scenario_id, setting.method.id]
            attack = setting.attack.id if setting.attack else None
            key = _hash({"cell": [*identity, attack, setting.seed], "error": str(fault)})
            return Cell(key, setting, "", {}, error=str(fault), trace=fault.trace)

    def _cell(self, setting: Setting) -> Cell:
        ask = self.inquiry
        access = ask.access(setting.attack) if setting.attack else None
        skip = ask.skip((setting.method, setting.attack), setting.scenario)
        data = ask.fingerprint(setting.dataset)
        method, attack = self._described(setting.method), setting.attack and self._described(setting.attack)
        scenario = ask.once("scenario", lambda: canonical(setting.scenario), setting.scenario)
        base = {"data": data, "suite_seed": setting.suite_seed, "dataset": setting.dataset.id, "seed": setting.seed}
        if not (setting.dataset.info.builtin and setting.dataset.info.sha256 in released_plugins()):
            base["dataset_sha256"] = setting.dataset.info.sha256
        work = {
            "dataset": {"name": setting.dataset.info.name, "params": canonical(setting.dataset.params),
                        "id": setting.dataset.id},
            "scenario": scenario, "suite_seed": setting.suite_seed, "seed": setting.seed,
        }  # fmt: skip
        named = {"method": {"name": setting.method.info.name, "params": canonical(setting.method.params)}}
        stages: dict[str, str] = {}
        own_training = ask.own_original(setting.method)
        training = {**base, "scenario": _training_fields(setting.scenario, scenario)}
        if own_training:
            training |= {"method": method, "scenario": scenario}  # its context shows it all of the scenario
        stages["train"] = self._task("train", training, {}, {**work, **(named if own_training else {})}, skip)
        unlearning = {"scenario": _unlearning_fields(scenario), "method": method}
        needs = {"train": stages["train"]}
        stages["unlearn"] = self._task("unlearn", {**base, **unlearning, **needs}, needs, {**work, **named}, skip)
        if setting.attack is not None:
            needs = {**needs, "unlearn": stages["unlearn"]}
            assert access is not None
            if access.shadows and not skip:
                count = {"shadows": access.shadows}
                shadow = {"train": stages["train"]}
                # Shadows do not depend on how many targets there are.
                fields = {k: v for k, v in scenario.items() if k != "targets"}
                inputs = {**base, "scenario": fields, "method": method, **count, **shadow}
                stages["shadows"] = self._task("shadows", inputs, shadow, {**work, **named, **count}, skip)
                needs["shadows"] = stages["shadows"]
            attacking = {"attack": {"name": setting.attack.info.name, "params": canonical(setting.attack.params)}}
            inputs = {**base, "scenario": scenario, "attack": attack, **needs}
            stages["attack"] = self._task("attack", inputs, needs, {**work, **named, **attacking}, skip)
        # With the reason, or a skipped cell's record would be taken for a result once the plugin skips no more.
        skipped = {"skip": skip} if skip else {}
        key = _hash({"cell": stages, "suite": setting.suite, "experiment": setting.experiment, **skipped})
        observation = access.level if access else None
        return Cell(key, setting, data, stages, (access.shadows or None) if access else None, observation, skip)

    def _task(self, stage: Stage, inputs: Mapping[str, Any], needs: Mapping[str, str], work: Mapping[str, Any],
              skip: str | None) -> str:  # fmt: skip
        key = _hash({"protocol": PROTOCOL_VERSION, "stage": stage, "version": STAGE_VERSIONS[stage], **inputs})
        if not skip and key not in self.tasks:
            self.tasks[key] = Task(stage, key, dict(needs), dict(work))
        return key

    def _described(self, choice: Choice) -> dict[str, Any]:
        described: dict[str, Any] = self.inquiry.once("described", lambda: describe_plugin(choice), choice)
        return described


def describe_plugin(choice: Choice) -> dict[str, Any]:
    """What of a plugin goes into keys."""
    info = choice.info
    # A file that was added to the package or changed since its release is known by its content alone.
    released = info.builtin and info.sha256 in released_plugins()
    version: dict[str, Any] = {"version": info.version} if released else {"sha256": info.sha256}
    return {"name": info.name, **version, "params": canonical(choice.params)}


def _training_fields(scenario: Scenario, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What training depends on. Without a backdoor the erased set makes no difference to it."""
    names = ["kind", "beta", "network", "training", "train_size", "validation", "leak", "backdoor"]
    if scenario.backdoor is not None:
        names += ["erased_ratio", "erased_count"]
    return {name: fields[name] for name in names}


def _unlearning_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "attack_images"}


def _hash(inputs: Any) -> str:
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
