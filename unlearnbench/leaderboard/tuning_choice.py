"""From records to the best setting of every method, by a rule that was declared before anything was run.

These are pure functions: nothing is read or written here. A setting can be chosen if it was measured with every seed,
forgot on every seed (if the scenario stops at forgetting) and keeps all bounds on its means. Among these the best mean
of the metric wins, then fewer gradient steps, then the method id. If there are none, nothing is chosen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearnbench.metrics.catalog import METRICS, shown_in
from unlearnbench.metrics.intervals import student_t
from unlearnbench.suite.plan import Cell
from unlearnbench.suite.suite import CellSetting
from unlearnbench.suite.tune_section import SettingIdentity, TuneFile, identity_of

ROUNDING = 1e-12  # of means: the mean of three times 0.95 lies below it


@dataclass(frozen=True)
class Estimate:
    """Mean over n seeds with Student's interval, which needs at least 3 seeds."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Trial:
    """One setting of a method in one experiment, dataset and scenario, with everything that was measured for it.

    Attributes:
        cells: one per seed.
        finished: the seeds that have a result.
        estimates: by metric.
        error: the first error, or the reason why the method can't take part.
    """

    cells: tuple[Cell, ...]
    finished: frozenset[int]
    estimates: Mapping[str, Estimate]
    error: str | None

    @property
    def setting(self) -> CellSetting:
        """That of its first cell; the others differ only in the seed."""
        return self.cells[0].setting

    @property
    def gradient_steps(self) -> float:
        """Mean over seeds; infinite if it was not measured."""
        return self.estimates["gradient_steps"].mean if "gradient_steps" in self.estimates else float("inf")


@dataclass(frozen=True)
class Rule:
    """The rule that decides.

    Attributes:
        metric: whose best mean wins.
        bounds: by metric the largest mean allowed, or the smallest if higher is better.
        must_forget: whether a setting must have forgotten on every seed.
        seeds: the number of seeds that a setting must have been measured with.
    """

    metric: str
    bounds: Mapping[str, float]
    must_forget: bool
    seeds: int

    @classmethod
    def of(cls, tune: TuneFile, setting: CellSetting, seeds: int) -> Rule:
        """The rule for the settings of one experiment, dataset and scenario."""
        return cls(tune.metric, tune.subject_to, setting.scenario.stop.rule == "backdoor", seeds)

    @property
    def conditions(self) -> list[str]:
        """The conditions on a setting, in words: ``backdoor_accuracy <= 0.02``."""
        forgets = ["forgot on every seed"] if self.must_forget else []
        return [*forgets, *(f"{name} {_sign(name)} {bound:g}" for name, bound in self.bounds.items())]

    @property
    def shown(self) -> list[str]:
        """The metrics to show, the deciding one first."""
        return list(dict.fromkeys([self.metric, *self.bounds, *(metric.name for metric in shown_in("tuned"))]))

    def incomplete(self, trial: Trial) -> str | None:
        """What a trial lacks of its own seeds and metrics, or None."""
        if len(trial.finished) < len(trial.cells):
            missing = len(trial.cells) - len(trial.finished)
            return f"no result for {missing} of {len(trial.cells)} seeds: {trial.error or 'not run'}"
        for name in (self.metric, *self.bounds, *(["forgot"] if self.must_forget else [])):
            if name not in trial.estimates or trial.estimates[name].n < len(trial.cells):
                return f"{name} was not measured on every seed"
        return None

    def broken(self, trial: Trial) -> list[str]:
        """The conditions that a complete trial does not meet, in words."""
        found = []
        if self.must_forget and trial.estimates["forgot"].mean < 1:
            forgot = trial.estimates["forgot"]
            found.append(f"did not forget on {forgot.n - round(forgot.mean * forgot.n)} of {forgot.n} seeds")
        for name, bound in self.bounds.items():
            if _excess(trial, name, bound) > 0:
                found.append(f"{name} is {trial.estimates[name].mean:.4g}, not {_sign(name)} {bound:g}")
        return found

    def order(self, trial: Trial) -> tuple[Any, ...]:
        """Sorts trials of one method, best first.

        Trials with all seeds come before others. Then come those that meet all conditions, the rest by their distance,
        and incomplete ones last. The distance is the sum of the amounts by which means exceed their bounds, relative to
        the bound (absolute if it is 0), plus the share of seeds that did not forget.
        """
        last = (trial.gradient_steps, trial.setting.method.id)
        if self.incomplete(trial) is not None:
            return (len(trial.cells) < self.seeds, 2, 0.0, 0.0, *last)
        value = trial.estimates[self.metric].mean
        value = round(-value if METRICS[self.metric].better == "higher" else value, 12)  # equal but for rounding
        distance = sum(_excess(trial, name, bound) / (abs(bound) or 1.0) for name, bound in self.bounds.items())
        distance += 1 - trial.estimates["forgot"].mean if self.must_forget else 0.0
        return (len(trial.cells) < self.seeds, int(bool(self.broken(trial))), distance, value, *last)


@dataclass(frozen=True)
class Pick:
    """What was chosen for one method in one experiment, dataset and scenario.

    Attributes:
        trials: all settings, best first.
        chosen: the best setting, or None if none qualifies.
        closest: if none qualifies, the complete setting that misses the conditions by the least.
        reason: why nothing was chosen.
        met: the number of settings that met all conditions with the seeds that they were run with.
        finalists: the number of settings that were run with all seeds.
    """

    rule: Rule
    trials: tuple[Trial, ...]
    chosen: Trial | None
    closest: Trial | None
    reason: str | None
    met: int
    finalists: int

    @property
    def first(self) -> CellSetting:
        """The best setting, for names that all of them share."""
        return self.trials[0].setting

    @property
    def is_reference(self) -> bool:
        return self.first.method.is_reference

    @property
    def incomplete(self) -> int:
        """The number of settings without results for all of their own seeds."""
        return sum(self.rule.incomplete(trial) is not None for trial in self.trials)

    def state(self, trial: Trial) -> tuple[str, str | None]:
        """What became of a trial, and why."""
        if (why := self.rule.incomplete(trial)) is not None:
            return "incomplete", why
        if self.is_reference:
            return "reference", None
        broken = "; ".join(self.rule.broken(trial)) or None
        if len(trial.cells) < self.rule.seeds:
            return "screened_out", broken
        return "chosen" if trial is self.chosen else "not_met" if broken else "met", broken


def trials(cells: Iterable[Cell], rows: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """Group cells by setting, in their order, with what was measured for them.

    Args:
        rows: final values of records, with cell_key, metric, value, status and error.
    """
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["cell_key"]].append(row)
    settings: dict[SettingIdentity, list[Cell]] = defaultdict(list)
    for cell in cells:
        settings[identity_of(cell.setting)].append(cell)
    return [_trial(group, found) for group in settings.values()]


def picks(found: Sequence[Trial], rules: Mapping[str, TuneFile], seeds: int) -> list[Pick]:
    """Choose a setting of every method in every experiment, dataset and scenario.

    Args:
        rules: the sections `tune` by experiment.
        seeds: the number of seeds that a setting must have been measured with.
    """
    groups = _by_method(found)
    return [_pick(group, Rule.of(rules[group[0].setting.experiment], group[0].setting, seeds)) for group in groups]


def finalists(found: Sequence[Trial], rules: Mapping[str, TuneFile]) -> set[SettingIdentity]:
    """The settings that run with all seeds after the first round: the best complete ones of each method."""
    kept: set[SettingIdentity] = set()
    for group in _by_method(found):
        tune = rules[group[0].setting.experiment]
        pick = _pick(group, Rule.of(tune, group[0].setting, len(group[0].cells)))
        complete = [trial for trial in pick.trials if pick.rule.incomplete(trial) is None]
        kept.update(identity_of(trial.setting) for trial in complete[: tune.finalists])
    return kept


def _by_method(found: Sequence[Trial]) -> list[list[Trial]]:
    """The trials of each method in each experiment, dataset and scenario."""
    groups: dict[SettingIdentity, list[Trial]] = defaultdict(list)
    for trial in found:
        experiment, dataset, scenario, _ = identity_of(trial.setting)
        groups[experiment, dataset, scenario, trial.setting.method.info.name].append(trial)
    return list(groups.values())


def _trial(cells: Sequence[Cell], found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Trial:
    values: dict[str, list[float]] = defaultdict(list)
    finished, error = set(), None
    for cell in cells:
        for row in found.get(cell.key, ()):
            if row["status"] == "ok":
                finished.add(cell.seed)
            if row["value"] is not None:
                values[row["metric"]].append(row["value"])
            error = error or row["error"]
    estimates = {name: Estimate(*student_t(some), len(some)) for name, some in values.items()}
    return Trial(tuple(cells), frozenset(finished), estimates, error)


def _pick(group: Sequence[Trial], rule: Rule) -> Pick:
    ordered = tuple(sorted(group, key=rule.order))
    complete = [trial for trial in ordered if rule.incomplete(trial) is None]
    final = [trial for trial in complete if len(trial.cells) >= rule.seeds]
    chosen, closest, reason = None, None, None
    if final and not rule.broken(final[0]):
        chosen = final[0]
    elif final:
        closest, reason = final[0], f"no setting meets {' and '.join(rule.conditions)}"
    else:
        why = next((text for trial in ordered if (text := rule.incomplete(trial)) is not None), "the run ended early")
        reason = f"no setting has results for all {rule.seeds} seeds ({why})"
    met = sum(not rule.broken(trial) for trial in complete)
    return Pick(rule, ordered, chosen, closest, reason, met, sum(len(t.cells) >= rule.seeds for t in ordered))


def _excess(trial: Trial, name: str, bound: float) -> float:
    """The amount by which a mean exceeds its bound; 0 if it keeps the bound."""
    mean = trial.estimates[name].mean
    excess = bound - mean if METRICS[name].better == "higher" else mean - bound
    return excess if excess > ROUNDING else 0.0


def _sign(name: str) -> str:
    return ">=" if METRICS[name].better == "higher" else "<="
