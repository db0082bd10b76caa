"""What the command line selects from a suite (-e, -m, -a, -d, -n, --seeds) and changes in it (--set)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from unlearnbench.registry.base import Kind
from unlearnbench.registry.registry import Registry
from unlearnbench.settings.grids import merge
from unlearnbench.settings.scenario import Scenario, canonical
from unlearnbench.settings.validation import check_key
from unlearnbench.system import yaml_reading
from unlearnbench.system.errors import InputError, suggest

OPTIONS: dict[Kind, str] = {"method": "-m", "attack": "-a", "dataset": "-d", "model": "-n"}
FILTER = re.compile(r"(?P<name>[^\[\]]+)(\[(?P<params>.*)\])?", re.DOTALL)
# Commas between parameters, not those inside brackets, braces or quotes.
_QUOTED = r""""(?:[^"\\]|\\.)*"|'[^']*'"""
PARAMETER = re.compile(
    rf"""(?:{_QUOTED}|\[(?:{_QUOTED}|[^\[\]"'])*\]|\{{(?:{_QUOTED}|[^{{}}"'])*\}}|[^,\[\]{{}}"'])+""", re.DOTALL
)


@dataclass(frozen=True)
class Selection:
    """A selection of a suite's parts. An empty field selects everything.

    Attributes:
        experiments: names.
        methods, attacks, datasets, networks: names, or ``name[param=value,...]``, where all given parameters must
            match.
        seeds: repetitions 0..seeds-1 instead of the number in the suite.
        overrides: ``key=value``; the key is a dotted path into the scenario of every selected experiment, or ``seeds``.
    """

    experiments: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    seeds: int | None = None
    overrides: tuple[str, ...] = ()

    def filters(self, kind: Kind, registry: Registry) -> list[Filter]:
        """The filters on one kind of plugin; raises InputError for unknown names and parameters."""
        texts: dict[Kind, tuple[str, ...]] = {
            "method": self.methods, "attack": self.attacks, "dataset": self.datasets, "model": self.networks
        }  # fmt: skip
        return [parse_filter(kind, text, registry) for text in texts[kind]]


@dataclass(frozen=True)
class Filter:
    """One ``name[param=value,...]``."""

    where: str
    name: str
    params: tuple[tuple[str, Any], ...]

    def matches(self, name: str, params: BaseModel) -> bool:
        """Whether a contender has this name and all these parameter values."""
        values = canonical(params)
        return name == self.name and all(_equal(_look_up(values, key), value) for key, value in self.params)


def parse_filter(kind: Kind, text: str, registry: Registry) -> Filter:
    """Read ``name[param=value,...]``; values are YAML. Raises InputError."""
    where = f"{OPTIONS[kind]} {text}"
    match = FILTER.fullmatch(text.strip())
    if match is None:
        raise InputError(where, "write a name, or name[param=value,...]")
    info = registry.find(kind, match["name"].strip(), where)
    pieces = PARAMETER.findall(match["params"]) if match["params"] else []
    if ",".join(pieces) != (match["params"] or ""):
        raise InputError(where, "write parameters as [param=value,...]")
    params = []
    for piece in pieces:
        key, value = _assignment(piece, where)
        check_key(info.cls.Params, key.split("."), where)
        params.append((key, value))
    return Filter(where, info.name, tuple(params))


def parse_overrides(texts: Sequence[str]) -> tuple[dict[str, Any], int | None]:
    """The layer of scenario values given by ``--set key=value``, and the number of seeds if given."""
    layer: dict[str, Any] = {}
    seeds: int | None = None
    given: set[str] = set()
    for text in texts:
        where = f"--set {text}"
        key, value = _assignment(text, where)
        if key in given:
            raise InputError(where, f"'{key}' is set twice")
        given.add(key)
        if key == "seeds":
            if type(value) is not int or value < 1:
                raise InputError(where, "seeds must be a whole number from 1")
            seeds = value
            continue
        head, *rest = key.split(".")
        if head not in Scenario.model_fields:
            raise InputError(where, f"unknown key '{head}'{suggest(head, [*Scenario.model_fields, 'seeds'])}")
        check_key(Scenario, [head, *rest], where)
        for part in reversed(rest):
            value = {part: value}
        layer = merge(layer, {head: value})
    return layer, seeds


def _assignment(text: str, where: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(where, "write key=value")
    return key.strip(), yaml_reading.parse(value, where)


def _look_up(values: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(values, dict) or part not in values:
            return None
        values = values[part]
    return values


def _equal(left: Any, right: Any) -> bool:
    # In Python True equals 1; to somebody who reads a filter it does not.
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)
