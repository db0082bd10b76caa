"""What goes into keys: a stage's key is the hash of everything its result depends on, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from unlearnbench.settings.scenario import Scenario, canonical
from unlearnbench.suite.choices import PluginChoice
from unlearnbench.suite.tasks import Stage
from unlearnbench.system import package_versions
from unlearnbench.system.version import PROTOCOL_VERSION

# Raise this whenever results under a precision other than float32 change.
LOWER_PRECISION_VERSION = 2

# Raise a stage's version whenever its results change.
STAGE_VERSIONS: Mapping[Stage, int] = {
    "select": 1, "train": 2, "retrained": 1, "shadow_models": 2, "unlearn": 4, "shadows": 4, "attack": 3, "timing": 1,
}  # fmt: skip


# Packages that a stage computes with, besides those in every key: built-in methods solve equations, attacks fit models.
STAGE_PACKAGES: Mapping[Stage, tuple[str, ...]] = {
    "unlearn": ("scipy",), "shadows": ("scipy",), "timing": ("scipy",), "attack": ("scipy", "scikit-learn"),
}  # fmt: skip


def describe_plugin(choice: PluginChoice, recorded: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What goes into keys about a plugin; `recorded`: see `keyed`."""
    return {"name": choice.info.name, **plugin_version(choice, recorded), "params": canonical(choice.params)}


def plugin_version(choice: PluginChoice, recorded: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What identifies a plugin's code."""
    info = choice.info
    # A file added to the package, or changed since its release, is identified by its content, like a user's own plugin.
    version: dict[str, Any] = {"version": info.version} if info.is_released else {"sha256": info.sha256}
    packages = package_versions.keyed(choice.packages, recorded)
    return {**version, "packages": packages} if packages else version


def keyed(stage: Stage, inputs: Mapping[str, Any], recorded: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Everything that a stage's key is the hash of.

    Args:
        recorded: package versions as given in a record; None: the installed ones.
    """
    names = (*package_versions.IN_EVERY_KEY, *STAGE_PACKAGES.get(stage, ()))
    packages = package_versions.keyed(names, recorded)
    version = STAGE_VERSIONS[stage]
    return {"protocol": PROTOCOL_VERSION, "stage": stage, "version": version, "packages": packages, **inputs}


def fields(stage: Stage, scenario: Scenario) -> dict[str, Any]:
    """The part of a scenario that a stage depends on."""
    values = canonical(scenario)
    if scenario.training.precision != "float32":
        values["training"]["precision_version"] = LOWER_PRECISION_VERSION
    names = ["kind", "beta", "network", "training", "train_size", "validation", "leak", "backdoor"]
    if "duplicates" in values:  # only present where they are not kept
        names.append("duplicates")
    if stage == "select":
        return {name: values[name] for name in [*names, "selection_models"]}
    chosen = ["erased_ratio", "erased_count", "erased", "targets", "negatives"]
    if stage == "train":
        if scenario.backdoor is not None:  # otherwise the erased set makes no difference to training
            values["backdoor"].pop("queries", None)  # an audit asks models and does not train them
            names += ["erased_ratio", "erased_count"]
        elif scenario.erased in ("mislabelled", "group"):  # other labels, other parts
            names += chosen
        return {name: values[name] for name in names}
    if stage == "retrained":
        judging = {name: values["judging"][name] for name in ("retrained", "largest_retraining")}
        return {name: values[name] for name in [*names, *chosen, "test_size"] if name in values} | judging
    # `judging` is applied after measuring. Shadows of the target's original do not depend on the number of targets, and
    # only attacks depend on `attack_images`.
    unseen = ["judging"]
    if stage == "shadows" and scenario.erased == "random":
        unseen.append("targets")
    if stage not in ("attack", "shadows"):
        unseen.append("attack_images")
    return {name: value for name, value in values.items() if name not in unseen}


def digest(inputs: Any) -> str:
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
