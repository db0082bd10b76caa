"""What keys are made of: a stage's key is the hash of everything that its result depends on, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from unlearnbench import PROTOCOL_VERSION
from unlearnbench.experiments import Choice
from unlearnbench.registry import released_plugins
from unlearnbench.settings import Scenario, canonical

Stage = Literal["train", "shadow_models", "unlearn", "shadows", "attack", "timing"]

# Raise whenever results under another precision than float32 change.
LOWER_PRECISION_VERSION = 2

# Raise one whenever the stage's results change.
STAGE_VERSIONS: Mapping[Stage, int] = {
    "train": 2, "shadow_models": 2, "unlearn": 3, "shadows": 4, "attack": 3, "timing": 1,
}  # fmt: skip


def describe_plugin(choice: Choice) -> dict[str, Any]:
    """What of a plugin goes into keys."""
    info = choice.info
    # A file that was added to the package or changed since its release is known by its content alone.
    released = info.builtin and info.sha256 in released_plugins()
    version: dict[str, Any] = {"version": info.version} if released else {"sha256": info.sha256}
    return {"name": info.name, **version, "params": canonical(choice.params)}


def dataset_work(choice: Choice) -> dict[str, Any]:
    return {**named(choice), "id": choice.id}


def named(choice: Choice) -> dict[str, Any]:
    return {"name": choice.info.name, "params": canonical(choice.params)}


def keyed(stage: Stage, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"protocol": PROTOCOL_VERSION, "stage": stage, "version": STAGE_VERSIONS[stage], **inputs}


def fields(stage: Stage, scenario: Scenario) -> dict[str, Any]:
    """What of a scenario a stage depends on."""
    values = canonical(scenario)
    if scenario.training.precision != "float32":
        values["training"]["precision_version"] = LOWER_PRECISION_VERSION
    if stage == "train":
        names = ["kind", "beta", "network", "training", "train_size", "validation", "leak", "backdoor"]
        # Without a backdoor the erased set makes no difference to training.
        names += ["erased_ratio", "erased_count"] if scenario.backdoor is not None else []
        return {name: values[name] for name in names}
    # Shadows do not depend on how many targets there are, and nothing but attacks on these images.
    unseen = {"attack": (), "shadows": ("targets",)}.get(stage, ("attack_images",))
    return {name: value for name, value in values.items() if name not in unseen}


def digest(inputs: Any) -> str:
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
