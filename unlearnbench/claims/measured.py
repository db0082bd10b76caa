"""From records to the per-seed values that a selection names, or the reason why there are none."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from unlearnbench.claims.model import Course, ValueSelection
from unlearnbench.claims.values import Code, Values, versions
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.records.reading import read_folder
from unlearnbench.records.schema import RecordError
from unlearnbench.settings.naming import BATCHING
from unlearnbench.system.errors import InputError

_KEYS = ("experiment", "dataset", "dataset_params", "scenario", "method", "method_params", "attack", "attack_params")
_RUN = ("suite", "seed", "metric", "step", "value", "status", "error", "device", "git_sha", "git_dirty", "versions",
        "started_at", "cell_key", "method_id", "attack_id", "protocol_version", "plugin_sha256")  # fmt: skip


class Number(NamedTuple):
    """One recorded value, with the device and the code that it was measured with."""

    value: float
    device: str
    plugin_sha256: str


@dataclass
class Contender:
    """A method with its parameters in one setting, attacked or not, and everything that was measured for it."""

    row: Mapping[str, Any]
    dataset_params: Mapping[str, Any]
    scenario: Mapping[str, Any]
    params: Mapping[str, Any]
    attack_params: Mapping[str, Any]
    values: dict[tuple[str, int | None], dict[int, Number]] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)  # by seed, for cells without a result
    disputed: set[tuple[str, int | None, int]] = field(default_factory=set)  # metric, step and seed

    @property
    def name(self) -> str:
        return str(self.row["attack_id"] or self.row["method_id"])

    @property
    def differences(self) -> int:
        """How many parameters of method and attack differ from their defaults; their names list these."""
        names = str(self.row["method_id"]), str(self.row["attack_id"])
        return sum(name.count(",") + 1 for name in names if name.endswith("]"))

    def codes(self, metric: str, numbers: Iterable[Number]) -> frozenset[Code]:
        """The versions of the method and of the attack behind some numbers."""
        plugins = f"method {self.row['method']}", f"attack {self.row['attack']}"
        hashes = {number.plugin_sha256 for number in numbers}
        return frozenset(
            Code(plugin, sha, metric) for both in hashes for plugin, sha in zip(plugins, both.split("+"), strict=False)
        )

    def other_than(self, selection: ValueSelection) -> str:
        """The method's parameters that differ from their defaults, without the selected ones."""
        name = str(self.row["method_id"])
        given = name[name.index("[") + 1 : -1].split(",") if name.endswith("]") else []
        return ", ".join(pair for pair in given if pair.split("=")[0] not in selection.params)


class MeasuredValues:
    """The records of one results folder, indexed for look-ups.

    Attributes:
        under: for messages about missing records: the protocol of the records that count, if others were left out.
    """

    def __init__(
        self,
        rows: list[dict[str, Any]],
        unavailable: Mapping[str, str],
        parts: Mapping[str, str] | None = None,
        protocol: int | None = None,
    ) -> None:
        self.rows = rows
        self.unavailable = unavailable
        self.parts = parts or {}
        self.under = f" under protocol {protocol}" if protocol is not None else ""
        self._by_experiment: dict[tuple[str, str], list[Contender]] = defaultdict(list)
        contenders: dict[tuple[Any, ...], Contender] = {}
        settings: dict[str | None, dict[str, Any]] = {None: {}}
        for row in self.rows:
            for text in (row["dataset_params"], row["scenario"], row["method_params"], row["attack_params"]):
                if text not in settings:
                    settings[text] = json.loads(text)
            scenario = {name: value for name, value in settings[row["scenario"]].items() if name not in BATCHING}
            key = (json.dumps(scenario, sort_keys=True), *(row[name] for name in _KEYS if name != "scenario"))
            if key not in contenders:
                made = Contender(
                    row,
                    settings[row["dataset_params"]],
                    scenario,
                    settings[row["method_params"]],
                    settings[row["attack_params"]],
                )
                contenders[key] = made
                self._by_experiment[row["experiment"], row["dataset"]].append(made)
            _note(contenders[key], row)

    def values(self, selection: ValueSelection, dataset: str) -> Values:
        """The per-seed values of a selection on a dataset."""
        found = self._find(selection, dataset)
        if isinstance(found, str):
            return Values(reason=found)
        assert selection.metric is not None
        if selection.course is not None:
            by_seed = _courses(found, selection.metric, selection.course)
        else:
            by_seed = found.values.get((selection.metric, None), {})
        if not by_seed:
            problem = next(iter(found.problems.values()), None)
            return Values(reason=problem or f"{selection.metric} was not measured of {found.name}")
        codes = found.codes(selection.metric, by_seed.values())
        if several := versions(codes):
            return Values(reason=f"its seeds come from {several}: not one quantity")
        timed = METRICS[selection.metric].is_time
        devices = frozenset(number.device for number in by_seed.values()) if timed else frozenset()
        part = part_of(found.scenario)
        if part and (other := found.other_than(selection)):
            part = f"{part}, {other}"
        return Values({seed: number.value for seed, number in sorted(by_seed.items())}, devices, part=part, codes=codes)

    def trivial(self, selection: ValueSelection, dataset: str) -> Values:
        """The score of the catalogue's attacker who looks at no output, on the same erasures."""
        metric = METRICS[str(selection.metric)]
        if isinstance(metric.trivial, str):
            return self.values(ValueSelection(metric=metric.trivial).over(selection), dataset)
        if metric.trivial is None:
            return Values(reason=f"{metric.name} has no trivial attacker")
        return Values(dict.fromkeys(self.values(selection, dataset).by_seed, metric.trivial))

    def _find(self, selection: ValueSelection, dataset: str) -> Contender | str:
        experiment = selection.experiment_on(dataset)
        if experiment is None:
            return f"no experiment on {dataset}"
        there = self._by_experiment.get((experiment, dataset), [])
        if not there and experiment in self.parts:
            there = self._by_experiment.get((self.parts[experiment], dataset), [])
        if not there:
            return self.unavailable.get(dataset) or f"no records of {experiment} on {dataset}{self.under}"
        fitting = [each for each in there if _fits(each, selection)]
        wanted = _words(selection)
        if not fitting:
            return f"no records of {wanted} in {experiment} on {dataset}{self.under}"
        if several := _datasets(fitting):  # before any preference, as neither of two datasets is preferred
            return f"{len(several)} datasets fit {dataset} in {experiment}: {' and '.join(several)}"
        with_values = [each for each in fitting if each.values]
        fitting = with_values or fitting
        if selection.metric is not None and len(fitting) > 1:  # times are measured in cells of their own
            measuring = [each for each in fitting if any(name == selection.metric for name, _ in each.values)]
            fitting = measuring or fitting
        # What the selection leaves out is at its default, if there is such a contender.
        fewest = min(each.differences for each in fitting)
        fitting = [each for each in fitting if each.differences == fewest]
        if len(fitting) > 1:
            return f"{len(fitting)} contenders fit {wanted} in {experiment} on {dataset}: the selection is ambiguous"
        return fitting[0]


def part_of(scenario: Mapping[str, Any]) -> str:
    """The part of the data that a scenario uses, in words; empty for all of it."""
    sizes = {"training": scenario.get("train_size"), "test": scenario.get("test_size")}
    used = [f"{size} {name}" for name, size in sizes.items() if size]
    precision = (scenario.get("training") or {}).get("precision", "float32")
    rounded = f", in {precision}" if precision != "float32" else ""
    return f"{' and '.join(used)} images only{rounded}" if used else ""


def read(
    folder: Path, suite: str, unavailable: Mapping[str, str], parts: Mapping[str, str] | None = None
) -> MeasuredValues:
    """The records of a suite in a results folder; with several protocol versions, those of the newest.

    Args:
        folder: the folder of the record files.
        suite: the name of their suite.
        unavailable: datasets that were not run in full, and why.
        parts: experiments -> those that stand in for them, on a part of the data.

    Raises:
        InputError: there is no such folder, a record file is damaged, or records belong to another suite.
    """
    table, bad = read_folder(folder, (*_KEYS, *_RUN))
    if bad:
        more = f" (and {len(bad) - 1} more such files)" if len(bad) > 1 else ""
        raise RecordError(bad[0].where, bad[0].what + more)
    rows = table.to_pylist()
    other = next((row["suite"] for row in rows if row["suite"] != suite), None)
    if other is not None:
        raise InputError(str(folder), f"holds records of suite '{other}', but the claims are about '{suite}'")
    newest = max((row["protocol_version"] for row in rows), default=0)
    counting = [row for row in rows if row["protocol_version"] == newest]
    return MeasuredValues(counting, unavailable, parts, newest if len(counting) < len(rows) else None)


def _note(contender: Contender, row: Mapping[str, Any]) -> None:
    """Add a row. Records that contradict each other do not count: nothing in them shows which one is right."""
    seed, what = row["seed"], (row["metric"], row["step"])
    if row["status"] != "ok":
        contender.problems[seed] = f"{row['status']}: {row['error']}" if row["error"] else str(row["status"])
    elif row["value"] is not None and (*what, seed) not in contender.disputed:
        numbers = contender.values.setdefault(what, {})
        if seed in numbers and numbers[seed].value != row["value"]:
            del numbers[seed]
            contender.disputed.add((*what, seed))
            contender.problems[seed] = f"records of seed {seed} contradict each other; merge the folder and decide"
        else:
            numbers[seed] = Number(row["value"], row["device"], row["plugin_sha256"])


def _fits(contender: Contender, selection: ValueSelection) -> bool:
    row = contender.row
    pairs = (
        (selection.params, contender.params),
        (selection.attack_params, contender.attack_params),
        (selection.scenario, contender.scenario),
        (selection.dataset_params, contender.dataset_params),
    )
    named = (row["method"], row["attack"]) == (selection.method, selection.attack)
    return named and all(_is(_at(actual, key), value) for wanted, actual in pairs for key, value in wanted.items())


def _datasets(contenders: Sequence[Contender]) -> list[str]:
    """The datasets of some contenders, each by the parameters in which they differ; empty if there is only one."""
    every = {str(each.row["dataset_params"]): each.dataset_params for each in contenders}
    if len(every) < 2:
        return []
    names = sorted({name for params in every.values() for name in params})
    differ = [name for name in names if len({repr(params.get(name)) for params in every.values()}) > 1]
    dataset = contenders[0].row["dataset"]
    return [
        f"{dataset}[{','.join(f'{name}={params.get(name)}' for name in differ)}]" for _, params in sorted(every.items())
    ]


def _at(values: Mapping[str, Any], path: str) -> Any:
    found: Any = values
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _is(actual: Any, wanted: Any) -> bool:
    return bool(actual == wanted) and isinstance(actual, bool) == isinstance(wanted, bool)


def _words(selection: ValueSelection) -> str:
    """A selection in words: the method with the selected values, and the attack."""
    asked = {**selection.dataset_params, **selection.params, **selection.scenario}
    shown = ", ".join(f"{key}={'null' if value is None else value}" for key, value in asked.items())
    attack = f" under {selection.attack}" if selection.attack else ""
    return f"{selection.method}{f'[{shown}]' if shown else ''}{attack}"


def _courses(contender: Contender, metric: str, course: Course) -> dict[int, Number]:
    """One number per seed from its trajectory; seeds whose trajectory ends too early have none."""
    every = _at(contender.scenario, "trajectory.every_epochs")
    steps = sorted(step for name, step in contender.values if name == metric and step is not None)
    if not every or not steps:
        return {}
    epochs = {step: number * every for number, step in enumerate(steps)}  # step 0 is the original
    last = course.to if course.to is not None else max(epochs.values())
    first = last if course.statistic == "at" else course.first
    chosen = [step for step, epoch in epochs.items() if first <= epoch <= last]
    if not chosen or epochs[steps[-1]] < last:
        return {}
    points = [contender.values[metric, step] for step in chosen]
    seeds = set.intersection(*(set(point) for point in points))
    return {
        seed: points[0][seed]._replace(value=_reduced([point[seed].value for point in points], course))
        for seed in seeds
    }


def _reduced(values: list[float], course: Course) -> float:
    if course.statistic == "mean":
        return sum(values) / len(values)
    return min(values) if course.statistic == "min" else max(values)  # for `at` there is only one
