"""Which settings `unlearnbench tune` tries: the section `tune`, its requirements, and the draw of settings.

tune:
  metric: accuracy                        # the best mean over seeds wins
  subject_to: {backdoor_accuracy: 0.02}   # upper bound on the mean (lower bound if higher is better)
  samples: 100                            # settings drawn from each method's grids; default: all of them
  screening_seeds: 1                      # all settings run with this many seeds, and ...
  finalists: 8                            # ... the best of each method, this many, run with all seeds
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from unlearnbench.metrics.catalog import METRICS, Metric
from unlearnbench.settings.scenario import Scenario, Strict
from unlearnbench.system.errors import InputError, Mistakes, suggest
from unlearnbench.system.printing import one_line

if TYPE_CHECKING:
    from unlearnbench.suite.selection import Selection
    from unlearnbench.suite.suite import CellSetting, Suite

SettingIdentity = tuple[str, str, str, str]
"""Identifies a setting of a method: experiment, dataset id, scenario id, method id."""


class TuneFile(Strict):
    """The section `tune` of an experiment, as written."""

    metric: str = Field(description="the metric to optimise: the best mean over seeds wins")
    subject_to: dict[str, float] = Field(
        default={}, description="bounds on means over seeds: upper bounds, or lower bounds where higher is better"
    )
    samples: int | None = Field(None, ge=1, le=10_000, description="settings drawn for each method; null: all")
    screening_seeds: int | None = Field(None, ge=1, description="seeds for the first round, in which all settings run")
    finalists: int | None = Field(None, ge=1, description="settings of each method that run with all seeds")

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.screening_seeds is None) != (self.finalists is None):
            raise ValueError("give screening_seeds and finalists together, or neither")
        return self

    @property
    def is_partial(self) -> bool:
        """Whether some settings do not run, or not with all seeds."""
        return self.samples is not None or self.screening_seeds is not None


def check_rule(tune: TuneFile, scenarios: Iterable[Scenario], attacked: bool, place: str) -> None:
    """Refuse what can't be tuned without looking at test images.

    Args:
        scenarios: the experiment's.
        attacked: whether it has attacks.
        place: the experiment's key path.

    Raises:
        InputError: with the key path of the error.
    """
    mistakes = Mistakes()
    if attacked:
        what = "an experiment with 'tune' has no attacks; attack what was chosen instead"
        mistakes.add(InputError(f"{place}.attacks", what))
    named = {f"{place}.tune.metric": tune.metric} | {f"{place}.tune.subject_to.{m}": m for m in tune.subject_to}
    metrics = list[tuple[str, Metric]]()
    for where, name in named.items():
        with mistakes.noted():
            metrics.append((one_line(where), _metric(name, one_line(where))))
    for scenario in scenarios:
        if scenario.kind != "utility":
            what = "an experiment with 'tune' must be of kind 'utility'"
            mistakes.add(InputError(f"{place}.scenario.kind", what))
            continue
        if scenario.validation is None:
            what = "'validation' is missing: say how many training images 'tune' measures on instead of the test images"
            mistakes.add(InputError(f"{place}.scenario", what))
        for where, metric in metrics:
            if scenario.backdoor is None and metric.needs_backdoor:
                mistakes.add(InputError(where, f"'{metric.name}' needs a scenario with a backdoor"))
    mistakes.settle()


def _metric(name: str, where: str) -> Metric:
    usable = [metric.name for metric in METRICS.values() if _why_not(metric) is None]
    if name not in METRICS:
        raise InputError(where, f"unknown metric '{one_line(name, 60)}'{suggest(name, usable)}")
    if (why := _why_not(METRICS[name])) is not None:
        raise InputError(where, f"'{name}' {why}; valid: {', '.join(usable)}")
    return METRICS[name]


def _why_not(metric: Metric) -> str | None:
    if metric.better == "none":
        return "has no direction: neither higher nor lower is better"
    if metric.good == "privacy":
        return "is measured by attacks, which an experiment with 'tune' does not have"
    return "depends on the machine" if metric.is_time else None


# --- which settings ---------------------------------------------------------------------------------------------------


def order(count: int, name: str, seed: int) -> Iterator[int]:
    """The numbers 0..count-1 in the random order in which a method's settings are drawn.

    The order depends only on the method's name and the suite's seed, so a method's settings do not depend on the rest
    of the suite, and the first ones stay when more are drawn.
    """
    from unlearnbench.system.seeding import stream

    return map(int, stream(seed, "tune", name).permutation(count))


def tuned_only(suite: Suite, selection: Selection) -> Selection:
    """The selection restricted to experiments with a section `tune`; raises InputError if none is left."""
    tuned = [name for name, file in suite.file.experiments.items() if file.tune is not None]
    if not tuned:
        raise InputError(suite.path, "no experiment has a section 'tune'; 'unlearnbench run' runs this suite")
    for name in selection.experiments:
        if name in suite.file.experiments and name not in tuned:
            raise InputError(f"-e {name}", f"has no section 'tune'; experiments that have one: {', '.join(tuned)}")
    return selection if selection.experiments else replace(selection, experiments=tuple(tuned))


def refuse_partial(suite: Suite, settings: Iterable[CellSetting]) -> None:
    """Raise InputError if `run` was asked for an experiment that `tune` runs only in part."""
    for name in dict.fromkeys(setting.experiment for setting in settings):
        tune = suite.file.experiments[name].tune
        if tune is not None and tune.is_partial:
            where = f"{suite.path}:experiments.{name}"
            raise InputError(where, "this experiment is for 'unlearnbench tune': it runs only a part of its grid")


def identity_of(setting: CellSetting) -> SettingIdentity:
    """Experiment, dataset id, scenario id and method id."""
    return setting.experiment, setting.dataset.id, setting.scenario_id, setting.method.id


def second_round(
    every: Iterable[CellSetting], first: Iterable[CellSetting], finalists: Collection[SettingIdentity]
) -> list[CellSetting]:
    """The settings of finalists and references that the first round left out."""
    done = {(identity_of(setting), setting.seed) for setting in first}
    kept = (s for s in every if s.method.is_reference or identity_of(s) in finalists)
    return [setting for setting in kept if (identity_of(setting), setting.seed) not in done]


def rules(suite: Suite, names: Iterable[str]) -> Mapping[str, TuneFile]:
    """The sections `tune` of these experiments."""
    found = {name: suite.file.experiments[name].tune for name in names}
    return {name: tune for name, tune in found.items() if tune is not None}
