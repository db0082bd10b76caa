"""Readable, stable names of contenders and scenarios: what differs from the defaults, in alphabetical order.

A name depends only on the settings and the defaults, never on the rest of the suite: a growing grid keeps its earlier
names, so rows of an earlier run still match.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from unlearnbench.settings.scenario import BOTTLENECKS, Scenario
from unlearnbench.settings.validation import submodel
from unlearnbench.system.yaml_values import is_text

BATCHING = ("replicas", "seeds_together")
"""Fields of a scenario that say how many models are computed at a time: they do not make contenders different."""

LARGEST_NAMES = 2**20  # bytes of a dataset's class names as JSON, which every record holds
PLAIN = re.compile(r"(?!\.{3}$)[A-Za-z_./]([A-Za-z0-9_./:+-]*[A-Za-z0-9_./+-])?")  # no end of a document, no key
_DATASET_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "cifar10": {"source": "auto", "path": "cifar10-jpeg"},
    "images": {"path": "images", "size": None, "mode": "RGB", "background": "white", "test_fraction": 0.2},
}
"""Defaults of the built-in datasets with parameters: records are named without importing what computed them."""

NOT_TEXT = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")  # other values in some versions of YAML
_LINE_ENDS = {number: f"\\u{number:04x}" for number in (0x85, 0x2028, 0x2029)}  # on which versions of YAML disagree


def choice_id(name: str, params: BaseModel) -> str:
    """``crfu`` with default parameters, else e.g. ``crfu[beta_u=1,lr=0.01]``."""
    differing = differences(params, {})
    return f"{name}[{','.join(differing)}]" if differing else name


def dataset_id(name: str, params: Mapping[str, Any]) -> str:
    """The same for a dataset from its entry in a record, e.g. ``digits`` or ``images[path=a]``.

    Args:
        params: all its parameters, as JSON values. Defaults are left out; those of a dataset from outside the package
            are not known, so all its parameters that are not null are shown.
    """
    defaults = _DATASET_DEFAULTS.get(name, {})
    shown = [f"{key}={short(value)}" for key, value in sorted(params.items()) if value != defaults.get(key)]
    return f"{name}[{','.join(shown)}]" if shown else name


def scenario_id(scenario: Scenario, dataset_defaults: Mapping[str, Any], network_defaults: Mapping[str, Any]) -> str:
    """What differs from the defaults of Scenario and dataset, e.g. ``backdoor,erased_ratio=0.06,stop.rule=backdoor``.

    Args:
        network_defaults: the default parameters of the scenario's network, where the dataset has no others.

    A part that is absent by default and present with its own defaults is named without a value (``backdoor``). Of the
    kinds only ``leak`` is shown; without it the scenario is `utility`.
    """
    leak = scenario.kind == "leak"
    # The sizes of a leak experiment's parts are its defaults, not a difference. Nor is the number of seeds computed
    # together one.
    network = {**network_defaults, **of_dataset(dataset_defaults, scenario.network.name)}
    baseline = {**dataset_defaults, "kind": scenario.kind, "leak": dataset_defaults.get("leak", {}) if leak else None,
                "seeds_together": scenario.seeds_together, "network": network}  # fmt: skip
    parts = [*(["leak"] if leak else []), *differences(scenario, baseline)]
    return ",".join(parts) or "default"


def of_dataset(dataset_defaults: Mapping[str, Any], network: str) -> dict[str, Any]:
    """The part of a dataset's defaults that concerns a network: its parameters if it is the dataset's own, and the
    dataset's network by name. The bottleneck networks share their parameters."""
    own = dataset_defaults.get("network", {})
    name = own.get("name", "mlp")
    return {"name": name, **own} if network == name or {network, name} <= {*BOTTLENECKS} else {"name": name}


def default_values(model: type[BaseModel]) -> dict[str, Any]:
    """The default of each field that has one, as JSON values."""
    fields = {name: field for name, field in model.model_fields.items() if not field.is_required()}
    return {
        name: to_jsonable_python(field.get_default(call_default_factory=True, validated_data={}))
        for name, field in fields.items()
    }


def differences(value: BaseModel, baseline: Mapping[str, Any], prefix: str = "") -> list[str]:
    """``key=value`` for each field that differs from `baseline`, else from the model's default."""
    parts: list[str] = []
    fields = type(value).model_fields
    for key in sorted({*fields, *(value.model_extra or {})}):
        actual, path, default = getattr(value, key), f"{prefix}{key}", baseline.get(key, PydanticUndefined)
        if key in fields and key not in baseline:
            default = fields[key].get_default(call_default_factory=True)
        if isinstance(actual, BaseModel) and key in fields and submodel(fields[key].annotation) is not None:
            if isinstance(default, BaseModel):
                default = default.model_dump(mode="json")
            if default is None or default is PydanticUndefined:
                parts.append(path)
            parts += differences(actual, default if isinstance(default, Mapping) else {}, f"{path}.")
        elif default is PydanticUndefined or to_jsonable_python(actual) != to_jsonable_python(default):
            parts.append(f"{path}={short(to_jsonable_python(actual))}")
    return parts


def short(value: Any) -> str:
    """A JSON value as it is shown in names and typed in filters: 1.0 becomes ``1``, plain text is not quoted."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in NOT_TEXT and is_text(value):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_LINE_ENDS)
