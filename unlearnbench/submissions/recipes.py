"""From a record to the setting that its cell was computed from, and whether this version would compute the same cell.

A record names the suite, experiment, dataset, scenario, method and attack with all their parameters, and the seed. Only
the suite's own seed has no column: it stands in the file's metadata. Records of older versions lack it; for these it is
0, or the seed of a given suite. That the recipe is complete and of this version is not assumed but shown: the key is
the hash of everything that a result depends on, so the recipe that gives the recorded key is the one that the cell was
computed from. Versions of packages are part of the key and may differ from those of this machine: the key is computed
with the recorded ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearnbench.registry.base import Kind
from unlearnbench.registry.registry import Registry
from unlearnbench.settings.naming import choice_id, default_values, scenario_id
from unlearnbench.settings.scenario import Scenario
from unlearnbench.settings.validation import check, within
from unlearnbench.submissions.reading import Submitted
from unlearnbench.suite import plan
from unlearnbench.suite.choices import PluginChoice
from unlearnbench.suite.plan import Cell
from unlearnbench.suite.suite import CellSetting
from unlearnbench.system import yaml_reading
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import one_line
from unlearnbench.system.provenance import git_state
from unlearnbench.system.version import PROTOCOL_VERSION, __version__


class UnverifiableError(Exception):
    """This version, or this machine, cannot compute a recorded cell; the message says why."""


def rebuild(record: Submitted, registry: Registry, data_root: Path, suite_seed: int | None = None) -> Cell:
    """The cell of a record, planned from the record alone, with the versions of packages that it states.

    Args:
        suite_seed: the seed of a given suite, for records that do not state theirs.

    Raises:
        UnverifiableError: the cell cannot be planned, or is not the one that was recorded.
    """
    common = record.common
    if common["protocol_version"] != PROTOCOL_VERSION:
        there = common["protocol_version"]
        raise UnverifiableError(f"measured under protocol {there}; this version measures under {PROTOCOL_VERSION}")
    seed = record.about.get("suite_seed", suite_seed if suite_seed is not None else 0)
    try:
        found = setting(record, registry, seed)
        recorded = json.loads(common["versions"])
        (cell,) = plan.build([found], data_root, recorded=recorded).cells
    except InputError as error:
        raise UnverifiableError(one_line(str(error))) from error
    if cell.error is not None:
        raise UnverifiableError(one_line(cell.error))
    if cell.skip is not None:
        raise UnverifiableError(one_line(f"skipped by this version: {cell.skip}"))
    if cell.key != record.key:
        raise UnverifiableError(_why_other(record, cell, suite_seed is None and not record.about))
    return cell


def setting(record: Submitted, registry: Registry, suite_seed: int) -> CellSetting:
    """The complete setting of a record's cell, every value checked by this version's models.

    Raises:
        InputError: a plugin is missing, or does not accept the parameters.
    """
    common = record.common
    dataset = _choice("dataset", record, registry)
    scenario = check(Scenario, _object(common["scenario"]), within(record.file.name, "scenario"))
    defaults: Mapping[str, Any] = getattr(dataset.info.cls, "defaults", {})
    network = _network(record, scenario, registry)
    return CellSetting(
        suite=common["suite"],
        suite_seed=suite_seed,
        experiment=common["experiment"],
        dataset=dataset,
        scenario=scenario,
        scenario_id=scenario_id(scenario, defaults, default_values(network.info.cls.Params)),
        network=network,
        method=_choice("method", record, registry),
        attack=_choice("attack", record, registry) if common["attack"] is not None else None,
        seed=common["seed"],
    )


def seed_of(suite: Path) -> int:
    """The seed of a suite file. Raises InputError."""
    seed = yaml_reading.read(suite).get("seed", 0)
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise InputError(f"{suite}:seed", "must be a whole number from 0")
    return seed


def _choice(kind: Kind, record: Submitted, registry: Registry) -> PluginChoice:
    where = record.file.name
    info = registry.find(kind, record.common[kind], where)
    params = check(info.cls.Params, _object(record.common[f"{kind}_params"]), within(where, f"{kind}_params"))
    return PluginChoice(info, params, choice_id(info.name, params))


def _network(record: Submitted, scenario: Scenario, registry: Registry) -> PluginChoice:
    where, name = record.file.name, scenario.network.name
    info = registry.find("model", name, where)
    params = check(info.cls.Params, scenario.network.params, within(where, "scenario", "network"))
    return PluginChoice(info, params, choice_id(name, params))


def _object(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text)  # writing.check made sure that it is an object
    return value


def _why_other(record: Submitted, cell: Cell, seed_unknown: bool) -> str:
    """Why a recipe gives another key, as far as the record shows."""
    common, reasons = record.common, []
    if common["data_sha256"] != cell.data_sha256:
        reasons.append(f"its data have hash {common['data_sha256'][:12]}, those here {cell.data_sha256[:12]}")
    chosen = [cell.setting.method, *([cell.setting.attack] if cell.setting.attack else [])]
    for choice, there in zip(chosen, common["plugin_sha256"].split("+"), strict=False):
        if choice.info.sha256 != there:
            name = f"{choice.info.kind} '{choice.info.name}'"
            reasons.append(
                f"its {name} was other code (hash {there[:12]}) than here (version {choice.info.version}, hash"
                f" {choice.info.sha256[:12]})"
            )
    reasons = reasons or ["a stage, a dataset or a plugin has another version, or its key another form"]
    if seed_unknown:
        reasons.append("or its suite's seed, which it does not say, is not 0: give the suite with --suite")
    there = json.loads(common["versions"]).get("unlearnbench", "?")
    versions = f"by unlearnbench {_at(there, common['git_sha'])}, this is {_at(__version__, git_state()[0])}"
    return one_line(f"recorded {versions}: {'; '.join(reasons)}")


def _at(version: str, commit: str | None) -> str:
    return f"{version} at {commit[:12]}" if commit else version
