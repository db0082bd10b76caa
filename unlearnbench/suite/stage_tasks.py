"""Plans the stage tasks of settings, with their keys.

A stage is a pure function of its inputs, stored under the hash of those inputs: the protocol version, the versions of
torch and other computing packages, the plugin and its version (for plugins from outside: the hash of their code),
resolved parameters, the data's fingerprint, the seed, and the key of the stage before. Never the engine, the number of
workers or the order of anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from unlearnbench.settings.scenario import canonical
from unlearnbench.suite import keys
from unlearnbench.suite.choices import PluginChoice
from unlearnbench.suite.plugin_answers import Inquiry
from unlearnbench.suite.suite import CellSetting
from unlearnbench.suite.tasks import (
    AttackWork,
    Common,
    NamedDataset,
    NamedPlugin,
    ShadowModelsWork,
    ShadowsWork,
    Stage,
    Task,
    TimingWork,
    TrainWork,
    UnlearnWork,
    Work,
)  # fmt: skip
from unlearnbench.system.devices import describe

if TYPE_CHECKING:
    from unlearnbench.settings.access import Access
    from unlearnbench.settings.scenario import Draw
    from unlearnbench.splits.retrained_sets import Trained


class StageTasks:
    """The tasks that settings share; every task comes before those that need it.

    Args:
        inquiry: what plugins declare.
        device: where times are measured.
        recorded: the package versions that cells were recorded with; None: the installed ones.
    """

    def __init__(self, inquiry: Inquiry, device: str, recorded: Mapping[str, str] | None) -> None:
        self.inquiry, self.device, self.recorded = inquiry, device, recorded
        self.tasks: dict[str, Task] = {}

    def stages_of(self, setting: CellSetting, access: Access | None, skip: str | None) -> dict[str, str]:
        """The keys of a cell's stages. Plans their tasks unless the cell is skipped."""
        method, attack = self._described(setting.method), setting.attack and self._described(setting.attack)
        keep = access is not None and access.keeps
        stages = {**self._selected(setting, setting.seed, skip), "train": self._grouped("train", setting, skip)}
        if setting.timing is None:
            stages |= self._retrained(setting, setting.seed, skip)
            stages["unlearn"] = self._grouped("unlearn", setting, skip, keep)
        base, common = self._base(setting, setting.seed), self._common(setting, setting.seed)
        named = self._named(setting.method)
        if setting.attack is not None:
            assert access is not None
            if not skip:
                stages |= self._shadows(access, stages, setting, {**base, "method": method})
            inputs = {**base, "scenario": self._fields("attack", setting), "attack": attack, **stages}
            work = AttackWork(**common, method=named, attack=self._named(setting.attack))
            stages["attack"] = self._task("attack", inputs, stages, work, skip)
        if setting.timing is not None:
            timed = TimingWork(**common, method=named, repeats=setting.timing, hardware=describe(self.device))
            times = {"repeats": timed.repeats, "hardware": timed.hardware}
            inputs = {**base, "scenario": self._fields("timing", setting), "method": method, **times, **stages}
            stages["timing"] = self._task("timing", inputs, stages, timed, skip)
        return stages

    # --- the adversary's own ------------------------------------------------------------------------------------------

    def _shadows(
        self, access: Access, before: Mapping[str, str], setting: CellSetting, inputs: dict[str, Any]
    ) -> dict[str, str]:
        """The keys of the stages behind the adversary's own erasures, by name; empty if the adversary makes none."""
        draw = access.draw
        if draw is None:
            return {}
        stages: dict[str, str] = {}
        selected = {name: key for name, key in before.items() if name == "select"}
        needs = {**selected, "train": before["train"]}
        if draw != "same":
            trainings: tuple[Trained, ...] = ("originals", "without") if draw == "retrained" else ("originals",)
            stages = {
                f"shadow_models {trained}": self._shadow_models(draw, access.models, trained, setting, inputs, selected)
                for trained in trainings
            }
            needs = {**selected, **stages}
        work = ShadowsWork(
            **self._common(setting, setting.seed),
            method=self._named(setting.method),
            draw=draw,
            models=access.models,
            shadows=access.shadows,
            keep=access.level == "parameters",
        )
        drawn = {"draw": draw, "models": work.models, "shadows": work.shadows}
        kept = {"keep": "parameters"} if work.keep else {}
        inputs = {**inputs, "scenario": self._fields("shadows", setting), **drawn, **kept, **needs}
        return {**stages, "shadows": self._task("shadows", inputs, needs, work, None)}

    def _shadow_models(
        self, draw: Draw, models: int, trained: Trained, setting: CellSetting, inputs: dict[str, Any],
        selected: Mapping[str, str],
    ) -> str:  # fmt: skip
        own_original, scenario = self.inquiry.own_original(setting.method), setting.scenario
        # Candidates depend on the targets, and so does what the first target erases.
        of_candidates = ("targets", "erased_count", "erased_ratio", "erased", "negatives")
        names = () if draw == "disjoint" else of_candidates
        of_targets = {name: getattr(scenario, name) for name in names}
        inputs = {
            **inputs,
            "draw": draw,
            "models": models,
            "trained": trained,
            **of_targets,
            **selected,
            "replicas": scenario.replicas,
        }
        inputs["scenario"] = self._fields("attack" if own_original else "train", setting)
        if not own_original:  # shared by all methods
            del inputs["method"]
        method = self._named(setting.method) if own_original else None
        common = self._common(setting, setting.seed)
        work = ShadowModelsWork(**common, method=method, draw=draw, models=models, trained=trained)
        return self._task("shadow_models", inputs, selected, work, None)

    # --- what no attack sees ------------------------------------------------------------------------------------------

    def _selected(self, setting: CellSetting, seed: int, skip: str | None) -> dict[str, str]:
        """The stage that finds memorised images, for scenarios that erase these."""
        if setting.scenario.erased != "memorised":
            return {}
        inputs = {**self._base(setting, seed), "scenario": self._fields("select", setting)}
        inputs["replicas"] = setting.scenario.replicas
        return {"select": self._task("select", inputs, {}, Work(**self._common(setting, seed)), skip)}

    def _retrained(self, setting: CellSetting, seed: int, skip: str | None) -> dict[str, str]:
        """The stage of retrained models, the reference for forgetting; of the method's architecture if it has one."""
        if setting.scenario.backdoor is not None:  # judged by the trigger's label instead
            return {}
        selected = self._selected(setting, seed, skip)
        inputs = {**self._base(setting, seed), **selected, "replicas": setting.scenario.replicas}
        method = self._named(setting.method) if self.inquiry.own_original(setting.method) else None
        if method is not None:
            inputs |= {"scenario": self._fields("attack", setting), "method": self._described(setting.method)}
            inputs["judging"] = canonical(setting.scenario.judging)
        else:
            inputs["scenario"] = self._fields("retrained", setting)
        work = TrainWork(**self._common(setting, seed), method=method)
        return {"retrained": self._task("retrained", inputs, selected, work, skip)}

    # --- stages that the seeds of a group share -----------------------------------------------------------------------

    def _grouped(
        self, stage: Literal["train", "unlearn"], setting: CellSetting, skip: str | None, keep: bool = False
    ) -> str:
        """The key of a setting's stage; its group's tasks are planned once. `keep`: keep the weights of all models."""
        size = setting.scenario.seeds_together if self._is_grouped(stage, setting) else 1
        first = setting.seed - setting.seed % size
        question = f"{stage} {first} {bool(skip)} {keep}"
        group: dict[int, str] = self.inquiry.once(
            question,
            lambda: self._plan_group(stage, setting, range(first, first + size), skip, keep),
            setting.dataset, setting.scenario, setting.network, setting.method,
        )  # fmt: skip
        return group[setting.seed]

    def _is_grouped(self, stage: Stage, setting: CellSetting) -> bool:
        if stage == "train":
            return not self.inquiry.own_original(setting.method)
        # The targets of a leak experiment already fill a group.
        return setting.scenario.kind == "utility" and self.inquiry.many_at_once(setting.method)

    def _plan_group(
        self, stage: Literal["train", "unlearn"], setting: CellSetting, seeds: range, skip: str | None, keep: bool
    ) -> dict[int, str]:
        method, named = self._described(setting.method), self._named(setting.method)
        own_original = self.inquiry.own_original(setting.method)
        group: dict[int, str] = {}
        planned = []
        for seed in seeds:
            base, common = self._base(setting, seed), self._common(setting, seed)
            if keep:
                base = {**base, "keep": "models"}
            if len(seeds) > 1:
                base |= {"together": list(seeds), "replicas": min(len(seeds), setting.scenario.replicas)}
            if stage == "unlearn":
                needs = {
                    **self._selected(setting, seed, skip),
                    "train": self._grouped("train", replace(setting, seed=seed), skip),
                    **self._retrained(setting, seed, skip),
                }
                inputs = {**base, "scenario": self._fields("unlearn", setting), "method": method, **needs}
                work: Work = UnlearnWork(**common, method=named, keep=keep)
            elif own_original:  # its context holds the whole scenario
                needs, inputs = {}, {**base, "scenario": self._fields("attack", setting), "method": method}
                work = TrainWork(**common, method=named)
            else:
                needs, inputs = {}, {**base, "scenario": self._fields("train", setting)}
                work = TrainWork(**common)
            group[seed] = keys.digest(keys.keyed(stage, inputs, self.recorded))
            planned.append(Task(stage, group[seed], needs, work))
        together = tuple(group.values()) if len(seeds) > 1 else ()
        for task in planned:
            if not skip:
                self.tasks.setdefault(task.key, replace(task, together=together))
        return group

    # --- what goes into keys ------------------------------------------------------------------------------------------

    def _base(self, setting: CellSetting, seed: int) -> dict[str, Any]:
        base = {"data": self.inquiry.fingerprint(setting.dataset), "suite_seed": setting.suite_seed,
                "dataset": setting.dataset.id, "seed": seed}  # fmt: skip
        version = self.inquiry.once(
            "version", lambda: keys.plugin_version(setting.dataset, self.recorded), setting.dataset
        )
        base |= {f"dataset_{name}": value for name, value in version.items()}
        network = self.inquiry.once(
            "version", lambda: keys.plugin_version(setting.network, self.recorded), setting.network
        )
        # Its name and parameters are in the scenario. Version 1 is not written, so that keys of before networks were
        # plugins stand.
        return base if network == {"version": 1} else base | {f"network_{name}": v for name, v in network.items()}

    def _fields(self, stage: Stage, setting: CellSetting) -> str:
        """The digest of the part of a scenario that a stage depends on; thousands of cells share a scenario."""
        scenario = setting.scenario
        return cast(
            "str", self.inquiry.once(f"fields {stage}", lambda: keys.digest(keys.fields(stage, scenario)), scenario)
        )

    def _common(self, setting: CellSetting, seed: int) -> Common:
        scenario = self.inquiry.once("scenario", lambda: canonical(setting.scenario), setting.scenario)
        dataset = self.inquiry.once("dataset", lambda: NamedDataset.of(setting.dataset), setting.dataset)
        return {"dataset": dataset, "scenario": scenario, "suite_seed": setting.suite_seed, "seed": seed}

    def _named(self, choice: PluginChoice) -> NamedPlugin:
        return cast("NamedPlugin", self.inquiry.once("named", lambda: NamedPlugin.of(choice), choice))

    def _task(
        self, stage: Stage, inputs: Mapping[str, Any], needs: Mapping[str, str], work: Work, skip: str | None
    ) -> str:
        key = keys.digest(keys.keyed(stage, inputs, self.recorded))
        if not skip and key not in self.tasks:
            self.tasks[key] = Task(stage, key, dict(needs), work)
        return key

    def _described(self, choice: PluginChoice) -> dict[str, Any]:
        described: dict[str, Any] = self.inquiry.once(
            "described", lambda: keys.describe_plugin(choice, self.recorded), choice
        )
        return described
