"""Settings -> cells and stage tasks, with their keys. Pure and fast: reads no images, imports no torch.

A stage is a pure function of its inputs, stored under the hash of those inputs: the protocol version, the versions of
torch and what else computes, the plugin and its version (outside plugins: the hash of all that they are made of),
resolved parameters, the data's fingerprint, the seed, and the key of the stage before. Never the engine, the number of
workers or the order of anything.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from unlearnbench.settings import naming
from unlearnbench.settings.scenario import canonical
from unlearnbench.suite import keys
from unlearnbench.suite.class_names import numbered
from unlearnbench.suite.experiments import Choice
from unlearnbench.suite.keys import Stage
from unlearnbench.suite.plugin_answers import Inquiry, PluginFaultError
from unlearnbench.suite.suite import Setting
from unlearnbench.system.devices import describe

if TYPE_CHECKING:
    from unlearnbench.settings.access import Access


@dataclass(frozen=True)
class Task:
    """One stage's work: plain JSON values, so that any worker on any machine can do it.

    Attributes:
        needs: keys of the stages before, by stage.
        work: dataset, scenario, method, attack, suite_seed, seed, repeats, hardware; of the adversary's models draw,
            models, trained and shadows; and keep, where weights are kept.
        together: keys of the tasks that are computed with it, one a seed and in their order, its own among them; empty
            if it is computed alone.
    """

    stage: Stage
    key: str
    needs: Mapping[str, str]
    work: Mapping[str, Any]
    together: tuple[str, ...] = ()


Job = tuple[Task, ...]  # what a worker does at a time: a task, or those of a group that can be done


@dataclass(frozen=True)
class Cell:
    """One row of the cross-product: a contender in a setting for one seed, with the stages it is made of.

    Attributes:
        stages: the key of each stage.
        reference, own_original: what the method says of itself; None where it was not asked.
        ranks_by: what the attack says it is ranked by.
        classes: the names of the dataset's classes; none where they have no names.
        skip: why a plugin can't take part, in its own words.
        error, trace: what a plugin raised when it was asked about the cell; such a cell has failed before it began.
    """

    key: str
    setting: Setting
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
        """The dataset as leaderboards name it, who know records only."""
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
        """The key of the stage whose result the cell records."""
        return self.stages[self.last_stage]

    @property
    def last_stage(self) -> Stage:
        """The stage whose result the cell records."""
        return "attack" if self.setting.attack else "timing" if self.setting.timing else "unlearn"


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


def build(
    settings: Sequence[Setting], data_root: Path, device: str = "cpu", recorded: Mapping[str, str] | None = None
) -> Plan:
    """Plan the cells of a suite.

    Args:
        device: where times are measured; what hardware that is goes into the keys of timing tasks, and of no others.
        recorded: the versions of packages that cells had when they were recorded; None: of those installed here.

    Raises:
        InputError: where a dataset's files are missing, or it has no class of a name, before any work starts.
    """
    planner = _Planner(data_root, device, recorded)
    # What plugins print when they are asked must not end up among the results on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        settings = numbered(settings, data_root)
        cells = [planner.cell(setting) for setting in settings]
        planner.inquiry.close()
    suite = settings[0].suite if settings else ""
    return Plan(suite, cells, list(planner.tasks.values()), planner.inquiry.data_files, planner.inquiry.data_folders)


class _Planner:
    def __init__(self, data_root: Path, device: str, recorded: Mapping[str, str] | None) -> None:
        self.inquiry, self.device, self.recorded = Inquiry(data_root), device, recorded
        self.tasks: dict[str, Task] = {}

    def cell(self, setting: Setting) -> Cell:
        try:
            return self._cell(setting)
        except PluginFaultError as fault:
            # A key of its own, so that nothing is taken for this cell's result once the plugin is mended.
            identity = [setting.suite, setting.experiment, setting.dataset.id, setting.scenario_id, setting.method.id]
            attack = setting.attack.id if setting.attack else None
            key = keys.digest({"cell": [*identity, attack, setting.seed], "error": str(fault)})
            return Cell(key, setting, "", {}, error=str(fault), trace=fault.trace)

    def _cell(self, setting: Setting) -> Cell:
        ask = self.inquiry
        access = ask.access(setting.attack) if setting.attack else None
        skip = ask.skip((setting.method, setting.attack), setting.scenario)
        method, attack = self._described(setting.method), setting.attack and self._described(setting.attack)
        keep = access is not None and access.level == "parameters"
        stages = {**self._selected(setting, setting.seed, skip), "train": self._grouped("train", setting, skip)}
        if setting.timing is None:
            stages |= self._retrained(setting, setting.seed, skip)
            stages["unlearn"] = self._grouped("unlearn", setting, skip, keep)
        base, work = self._base(setting, setting.seed), self._work(setting, setting.seed)
        named = self._named(setting)
        if setting.attack is not None:
            assert access is not None
            if not skip:
                stages |= self._shadows(access, stages, setting, {**base, "method": method}, {**work, **named})
            needs = dict(stages)
            attacking = {"attack": keys.named(setting.attack)}
            inputs = {**base, "scenario": self._fields("attack", setting), "attack": attack, **needs}
            stages["attack"] = self._task("attack", inputs, needs, {**work, **named, **attacking}, skip)
        if setting.timing is not None:
            times = {"repeats": setting.timing, "hardware": describe(self.device)}
            inputs = {**base, "scenario": self._fields("timing", setting), "method": method, **times, **stages}
            stages["timing"] = self._task("timing", inputs, dict(stages), {**work, **named, **times}, skip)
        # With the reason, or a skipped cell's record would be taken for a result once the plugin skips no more.
        skipped = {"skip": skip} if skip else {}
        # All of the scenario, and not only what its stages depend on: a record says it, and rows that agree on it are
        # compared.
        said = self.inquiry.once("said", lambda: keys.digest(canonical(setting.scenario)), setting.scenario)
        identity = {"suite": setting.suite, "experiment": setting.experiment, "scenario": said}
        key = keys.digest({"cell": stages, **identity, **skipped})
        observation = access.level if access else None
        data = ask.fingerprint(setting.dataset)
        shadows, tier = ((access.shadows or access.models) or None, access.draw) if access else (None, None)
        ranks_by = ask.ranks_by(setting.attack) if setting.attack else None
        reference, own_original = ask.reference(setting.method), ask.own_original(setting.method)
        classes = ask.class_names(setting.dataset)
        return Cell(
            key, setting, data, stages, shadows, tier, observation, reference, own_original, ranks_by, classes, skip
        )

    def _shadows(
        self, access: Access, before: Mapping[str, str], setting: Setting, inputs: dict[str, Any], work: dict[str, Any]
    ) -> dict[str, str]:
        """The keys of the stages that the adversary's own erasures need, by name; none if she makes none."""
        draw = access.draw
        if draw is None:
            return {}
        stages: dict[str, str] = {}
        drawn: dict[str, Any] = {"draw": draw, "models": access.models}
        selected = {name: key for name, key in before.items() if name == "select"}
        needs = {**selected, "train": before["train"]}
        if draw != "same":
            trainings = ["originals"] + (["without"] if draw == "retrained" else [])
            names = [f"shadow_models {trained}" for trained in trainings]
            stages = {
                name: self._shadow_models({**drawn, "trained": trained}, setting, inputs, work, selected)
                for name, trained in zip(names, trainings, strict=True)
            }
            needs = {**selected, **stages}
        drawn |= {"shadows": access.shadows} | ({"keep": "parameters"} if access.level == "parameters" else {})
        inputs = {**inputs, "scenario": self._fields("shadows", setting), **drawn, **needs}
        return {**stages, "shadows": self._task("shadows", inputs, needs, {**work, **drawn}, None)}

    def _shadow_models(
        self, drawn: dict[str, Any], setting: Setting, inputs: dict[str, Any], work: dict[str, Any],
        selected: Mapping[str, str],
    ) -> str:  # fmt: skip
        own_original, scenario = self.inquiry.own_original(setting.method), setting.scenario
        # Candidates depend on the targets, and so does what the first of them erases.
        of_candidates = ("targets", "erased_count", "erased_ratio", "erased", "negatives")
        names = () if drawn["draw"] == "disjoint" else of_candidates
        of_targets = {name: getattr(scenario, name) for name in names}
        inputs = {**inputs, **drawn, **of_targets, **selected, "replicas": scenario.replicas}
        inputs["scenario"] = self._fields("attack" if own_original else "train", setting)
        if not own_original:  # any method's
            del inputs["method"]
            work = {name: value for name, value in work.items() if name != "method"}
        return self._task("shadow_models", inputs, selected, {**work, **drawn}, None)

    # --- what no attack sees ----------------------------------------------------------------------------------------

    def _selected(self, setting: Setting, seed: int, skip: str | None) -> dict[str, str]:
        """The stage that says which images are memorised, where these are erased."""
        if setting.scenario.erased != "memorised":
            return {}
        inputs = {**self._base(setting, seed), "scenario": self._fields("select", setting)}
        inputs["replicas"] = setting.scenario.replicas
        return {"select": self._task("select", inputs, {}, self._work(setting, seed), skip)}

    def _retrained(self, setting: Setting, seed: int, skip: str | None) -> dict[str, str]:
        """The stage of the models that forgetting is judged beside: of the method's own architecture if it has one."""
        if setting.scenario.backdoor is not None:  # judged by the label that the trigger stands for
            return {}
        selected = self._selected(setting, seed, skip)
        inputs = {**self._base(setting, seed), **selected, "replicas": setting.scenario.replicas}
        work = self._work(setting, seed)
        if self.inquiry.own_original(setting.method):
            inputs |= {"scenario": self._fields("attack", setting), "method": self._described(setting.method)}
            inputs["judging"] = canonical(setting.scenario.judging)
            work |= self._named(setting)
        else:
            inputs["scenario"] = self._fields("retrained", setting)
        return {"retrained": self._task("retrained", inputs, selected, work, skip)}

    # --- stages that the seeds of a group go through together -------------------------------------------------------

    def _grouped(
        self, stage: Literal["train", "unlearn"], setting: Setting, skip: str | None, keep: bool = False
    ) -> str:
        """The key of a setting's stage; its group's tasks are planned once. `keep`: with all models' weights."""
        size = setting.scenario.seeds_together if self._in_company(stage, setting) else 1
        first = setting.seed - setting.seed % size
        question = f"{stage} {first} {bool(skip)} {keep}"
        group: dict[int, str] = self.inquiry.once(
            question,
            lambda: self._plan_group(stage, setting, range(first, first + size), skip, keep),
            setting.dataset, setting.scenario, setting.method,
        )  # fmt: skip
        return group[setting.seed]

    def _in_company(self, stage: Stage, setting: Setting) -> bool:
        if stage == "train":
            return not self.inquiry.own_original(setting.method)
        # The targets of a leak experiment are company enough.
        return setting.scenario.kind == "utility" and self.inquiry.many_at_once(setting.method)

    def _plan_group(
        self, stage: Literal["train", "unlearn"], setting: Setting, seeds: range, skip: str | None, keep: bool
    ) -> dict[int, str]:
        method = self._described(setting.method)
        own_original = self.inquiry.own_original(setting.method)
        group: dict[int, str] = {}
        planned = []
        for seed in seeds:
            base, work = self._base(setting, seed), self._work(setting, seed)
            if keep:
                base, work = {**base, "keep": "parameters"}, {**work, "keep": "parameters"}
            if len(seeds) > 1:
                base |= {"together": list(seeds), "replicas": min(len(seeds), setting.scenario.replicas)}
            if stage == "unlearn":
                needs = {
                    **self._selected(setting, seed, skip),
                    "train": self._grouped("train", replace(setting, seed=seed), skip),
                    **self._retrained(setting, seed, skip),
                }
                inputs = {**base, "scenario": self._fields("unlearn", setting), "method": method, **needs}
                work |= self._named(setting)
            elif own_original:  # its context shows it all of the scenario
                needs, inputs = {}, {**base, "scenario": self._fields("attack", setting), "method": method}
                work |= self._named(setting)
            else:
                needs, inputs = {}, {**base, "scenario": self._fields("train", setting)}
            group[seed] = keys.digest(keys.keyed(stage, inputs, self.recorded))
            planned.append(Task(stage, group[seed], needs, work))
        together = tuple(group.values()) if len(seeds) > 1 else ()
        for task in planned:
            if not skip:
                self.tasks.setdefault(task.key, replace(task, together=together))
        return group

    # --- what keys are made of --------------------------------------------------------------------------------------

    def _base(self, setting: Setting, seed: int) -> dict[str, Any]:
        base = {"data": self.inquiry.fingerprint(setting.dataset), "suite_seed": setting.suite_seed,
                "dataset": setting.dataset.id, "seed": seed}  # fmt: skip
        version = self.inquiry.once(
            "version", lambda: keys.plugin_version(setting.dataset, self.recorded), setting.dataset
        )
        return base | {f"dataset_{name}": value for name, value in version.items()}

    def _fields(self, stage: Stage, setting: Setting) -> str:
        """The digest of what of a scenario a stage depends on: thousands of cells share a scenario."""
        scenario = setting.scenario
        return cast(
            "str", self.inquiry.once(f"fields {stage}", lambda: keys.digest(keys.fields(stage, scenario)), scenario)
        )

    def _work(self, setting: Setting, seed: int) -> dict[str, Any]:
        scenario = self.inquiry.once("scenario", lambda: canonical(setting.scenario), setting.scenario)
        dataset = self.inquiry.once("dataset", lambda: keys.dataset_work(setting.dataset), setting.dataset)
        return {"dataset": dataset, "scenario": scenario, "suite_seed": setting.suite_seed, "seed": seed}

    def _named(self, setting: Setting) -> dict[str, Any]:
        return {"method": self.inquiry.once("named", lambda: keys.named(setting.method), setting.method)}

    def _task(self, stage: Stage, inputs: Mapping[str, Any], needs: Mapping[str, str], work: Mapping[str, Any],
              skip: str | None) -> str:  # fmt: skip
        key = keys.digest(keys.keyed(stage, inputs, self.recorded))
        if not skip and key not in self.tasks:
            self.tasks[key] = Task(stage, key, dict(needs), dict(work))
        return key

    def _described(self, choice: Choice) -> dict[str, Any]:
        described: dict[str, Any] = self.inquiry.once(
            "described", lambda: keys.describe_plugin(choice, self.recorded), choice
        )
        return described
