"""Everything that is wrong with a suite file: each part is checked as far as the others' mistakes allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlearnbench.registry.registry import Registry
from unlearnbench.settings.validation import check, check_every, within
from unlearnbench.suite.experiments import ExperimentFile, resolve
from unlearnbench.suite.suite import SuiteFile, check_seeds, place_in
from unlearnbench.system.errors import InputError, Mistakes

_PLACEHOLDERS: Mapping[str, Any] = {"datasets": ["?"], "scenario": {}}  # of the keys that an experiment must have
_TUNE: Mapping[str, Any] = {"metric": "accuracy", "samples": 1}


def every_mistake(values: Mapping[str, Any], path: str, registry: Registry) -> Mistakes:
    """The mistakes of a suite file.

    Args:
        values: the file as YAML.
    """
    mistakes, place = Mistakes(), place_in(path)
    with mistakes.noted():
        check_every(SuiteFile, values, place)
    for name, body in _mappings(values.get("experiments")).items():
        at = place(("experiments", name))
        if not isinstance(body, Mapping):
            continue
        sound = _sound(body)
        if body.get("tune") is not None and "tune" not in sound:  # it would allow what is a mistake without it
            sound["tune"] = _TUNE
        missing = [key for key in _PLACEHOLDERS if key not in sound]
        experiment = check(ExperimentFile, {**_PLACEHOLDERS, **sound}, within(at))
        with mistakes.noted():
            resolve(name, experiment, at, registry, {}, _number(values.get("seed"), 0), missing)
        if seeds := _number(values.get("seeds"), SuiteFile.model_fields["seeds"].default):
            with mistakes.noted():
                check_seeds(at, experiment, seeds)
    return mistakes


def _sound(body: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of an experiment whose values may be looked into."""
    found = {}
    for key, value in body.items():
        try:
            check(ExperimentFile, {**_PLACEHOLDERS, key: value}, within(""))
        except InputError:
            continue
        found[key] = value
    return found


def _mappings(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any, otherwise: int) -> int:
    return value if type(value) is int and 0 <= value < 2**63 else otherwise
