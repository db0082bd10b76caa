"""The format of claims files: a small closed set of checks on selected per-seed values.

A selection is written in layers, each overriding the one before: the claim's `of`, one entry of the check's `each`, the
term itself, and for the paper's own protocol the check's `paper`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from unlearnbench.metrics.catalog import describe
from unlearnbench.settings.scenario import Strict
from unlearnbench.settings.validation import Keys, check, key_path
from unlearnbench.system import yaml_reading

Plain = float | int | str | bool | None
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
FILE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.yaml$"


def _known(metric: str) -> str:
    try:
        return describe(metric).name
    except KeyError as error:
        raise ValueError(error.args[0]) from None


MetricName = Annotated[str, AfterValidator(_known)]


class Course(Strict):
    """One number from a trajectory, the course of a metric over the epochs of unlearning."""

    statistic: Literal["at", "mean", "min", "max"] = Field("at", description="`at`: the value at epoch `to`")
    first: int = Field(0, ge=0, description="epoch from which points count")
    to: int | None = Field(None, ge=0, description="last epoch that counts; null: the last of the trajectory")


class ValueSelection(Strict):
    """Which per-seed values; what is left out comes from the layers below, or does not matter."""

    experiment: str | dict[str, str] | None = Field(None, description="its name, or one per dataset")
    method: str | None = None
    params: dict[str, Plain] = Field({}, description="values that the method's parameters must have, by dotted key")
    attack: str | None = Field(None, description="an attack's name; null: measured without an adversary")
    attack_params: dict[str, Plain] = Field({}, description="values that the attack's parameters must have")
    scenario: dict[str, Plain] = Field({}, description="values that the scenario must have, by dotted key")
    dataset_params: dict[str, Plain] = Field({}, description="values that the dataset's parameters must have")
    metric: MetricName | None = None
    course: Course | None = Field(None, description="of a trajectory; null: the final value")

    def over(self, base: ValueSelection) -> ValueSelection:
        """This layer over `base`: values that it sets replace those of `base`, mappings key by key.

        Parameters belong to their method or attack: a layer that names another one drops those of `base`.
        """
        values = base.model_dump(exclude_unset=True)
        for owner, owned in (("method", "params"), ("attack", "attack_params")):
            if owner in self.model_fields_set and values.get(owner) not in (None, getattr(self, owner)):
                values.pop(owned, None)
        for name in self.model_fields_set:
            value = getattr(self, name)
            below = values.get(name)
            mapped = isinstance(value, dict) and name != "experiment" and isinstance(below, Mapping)
            values[name] = {**below, **value} if mapped and below is not None else value
        return ValueSelection.model_validate(values)

    def experiment_on(self, dataset: str) -> str | None:
        """The experiment's name on a dataset; None if there is no experiment on it."""
        return self.experiment.get(dataset) if isinstance(self.experiment, dict) else self.experiment


class Paper(Strict):
    """How the paper measured it: a last layer of every selection, and whether the conditions count."""

    of: ValueSelection = ValueSelection()
    methods: dict[str, dict[str, Plain]] = Field({}, description="method -> its parameters in the paper")
    reported: ValueSelection = Field(
        ValueSelection(), description="a layer over these: where its tables hold it, if elsewhere"
    )
    conditions: bool = Field(True, description="false: the conditions do not count")


class Condition(Strict):
    """What must be true for each side in every seed; otherwise the comparison is not the claimed one."""

    metric: MetricName
    at_most: float


class _Check(Strict):
    each: list[ValueSelection] = Field(
        [ValueSelection()], min_length=1, description="the check must hold with each of these"
    )
    paper: Paper | None = Field(None, description="how the paper measured it; null: in the same way")
    given: list[Condition] = Field([], description="for every side; for an attacked side without the attack")


class _Bounded(_Check):
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _some_bound(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("needs at_least or at_most")
        return self


class Monotone(_Check):
    """Rises or falls over values of a parameter: first to last beyond its interval, and no step the other way."""

    kind: Literal["monotone"]
    of: ValueSelection = ValueSelection()
    over: str = Field(pattern=r"^(scenario|params|attack_params)\..+", description="the parameter, e.g. scenario.beta")
    values: list[Plain] = Field(min_length=2)
    direction: Literal["rises", "falls"]
    adjacent: bool = Field(True, description="false: only first to last counts")


class Difference(_Bounded):
    """first - second, seed by seed: the whole interval within the bounds."""

    kind: Literal["difference"]
    first: ValueSelection
    second: ValueSelection


class Ratio(_Bounded):
    """first / second, seed by seed, on a logarithmic scale: the whole interval within the bounds."""

    kind: Literal["ratio"]
    first: ValueSelection
    second: ValueSelection


class Value(_Bounded):
    """One quantity: the whole interval within the bounds."""

    kind: Literal["value"]
    of: ValueSelection = ValueSelection()


class Ordering(_Check):
    """Every `greater` is above every `less`: the interval of the paired difference excludes 0."""

    kind: Literal["ordering"]
    greater: list[ValueSelection] = Field(min_length=1)
    less: list[ValueSelection] = Field(min_length=1)


class Trivial(_Check):
    """An attack that does worse than the attacker who looks at no output (the catalogue's): the interval excludes 0."""

    kind: Literal["trivial"]
    of: ValueSelection = ValueSelection()


Check = Annotated[Monotone | Difference | Ratio | Value | Ordering | Trivial, Field(discriminator="kind")]


class Claim(Strict):
    """A statement of the paper: its words, and the checks, all of which must hold on each of the datasets."""

    id: Identifier
    words: str = Field(min_length=1, description="the paper's own")
    place: str = Field(min_length=1, description="where the paper says them")
    tested: str = Field("", description="what is tested, and the choices where the words leave some open")
    paper_protocol: str = Field("", description="how the paper measured it, where that differs")
    comment: str = Field("", description="what is known about a miss")
    datasets: list[Identifier] = Field([], description="those on which it must hold")
    of: ValueSelection = ValueSelection()
    checks: list[Check] = Field([])
    untestable: str | None = Field(None, description="why nothing measured can decide it")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.untestable is not None:
            if self.checks or self.datasets:
                raise ValueError("what is not testable has no checks and no datasets")
            return self
        if not self.checks or not self.datasets:
            raise ValueError("needs datasets and checks, or the reason why it is 'untestable'")
        for selection in selections(self):
            missing = [name for name in ("experiment", "method", "metric") if getattr(selection, name) is None]
            if missing:
                raise ValueError(f"a selection names no {missing[0]}")
        return self


class Claims(Strict):
    """A claims file."""

    suite: str
    reported: str | None = Field(None, pattern=FILE_NAME, description="a file of reported numbers in the same folder")
    unavailable: dict[str, str] = Field({}, description="datasets without records, and why")
    parts: dict[Identifier, Identifier] = Field(
        {}, description="experiment -> the one that stands in on a part of the data, where it was not run itself"
    )
    claims: list[Claim] = Field(min_length=1)
    targets: list[Claim] = Field([], description="numbers this project set itself to reach")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [claim.id for claim in (*self.claims, *self.targets)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two claims have the id '{twice}'")
        return self


def load(path: Path) -> Claims:
    """Read and check a claims file.

    Raises:
        InputError: a key is wrong, which the message names.
    """
    return check(Claims, yaml_reading.read(path), place_in(path))


def place_in(path: Path) -> Callable[[Keys], str]:
    """For `validation.check`: how a message names the place of a key in a file."""

    def place(keys: Keys) -> str:
        return f"{path}:{key_path(*keys)}" if keys else str(path)

    return place


def resolved(claim: Claim, test: Check, each: ValueSelection, papers: bool = False) -> list[ValueSelection]:
    """The quantities of a check, complete: its terms over `each` and the claim's layer, below the paper's if asked.

    They are in the order of `terms`.
    """
    under = each.over(claim.of)
    whole = [term.over(under) for term in terms(test)]
    if not papers or test.paper is None:
        return whole
    whole = [test.paper.of.over(term) for term in whole]
    return [ValueSelection(params=test.paper.methods.get(str(term.method), {})).over(term) for term in whole]


def in_tables(claim: Claim, test: Check, each: ValueSelection) -> list[list[ValueSelection]]:
    """The quantities of a check as a paper's tables may hold them: as the paper measured them, otherwise as asked."""
    ways = [resolved(claim, test, each)]
    if test.paper is not None:
        ways.insert(0, [test.paper.reported.over(term) for term in resolved(claim, test, each, papers=True)])
    return ways


def selections(claim: Claim, papers: bool = False) -> Iterator[ValueSelection]:
    """Everything that a claim selects, under the project's protocol or the paper's."""
    for test in claim.checks:
        for each in test.each:
            yield from resolved(claim, test, each, papers)


def terms(test: Check) -> list[ValueSelection]:
    """The quantities of a check as they are written there."""
    if isinstance(test, Monotone):
        section, key = test.over.split(".", 1)
        return [ValueSelection.model_validate({section: {key: value}}).over(test.of) for value in test.values]
    if isinstance(test, Difference | Ratio):
        return [test.first, test.second]
    if isinstance(test, Ordering):
        return [*test.greater, *test.less]
    return [test.of]
