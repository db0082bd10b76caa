"""A method under examination, and the three erasures it is examined on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from unlearnbench.conformance import small_problem
from unlearnbench.conformance.case import Case, Outcome
from unlearnbench.conformance.small_problem import SCENARIOS, SEEDS, TRAINED_WITH
from unlearnbench.context import Context
from unlearnbench.plugin import Images
from unlearnbench.sets import ErasureSets
from unlearnbench.settings import Scenario
from unlearnbench.stack import Stack


@dataclass(frozen=True, eq=False)
class Given:
    """What one run of a method is handed; copies, so that writing into them harms no other run."""

    before: Stack
    sets: ErasureSets
    context: Context


class MethodCase(Case):
    """Three erasures on digits, forgotten at a time."""

    @cached_property
    def scenario(self) -> Scenario | None:
        """The first of the small scenarios that the method does not skip."""
        return next((s for s in SCENARIOS if self.watched(self.plugin.skip, s) is None), None)

    @property
    def reason(self) -> str | None:
        return "the method skips every scenario that there is to check it on" if self.scenario is None else None

    @cached_property
    def before(self) -> Stack:
        """The originals; never handed out."""
        assert self.scenario is not None
        return self.watched(small_problem.originals, self.plugin, self.scenario)  # type: ignore[no-any-return]

    def given(
        self, seeds: Sequence[int] = SEEDS, replica: int | None = None, dtype: torch.dtype = torch.float32,
        scenario: Scenario | None = None,
    ) -> Given:  # fmt: skip
        """Inputs for a run: all three erasures, or one of them alone."""
        scenario = scenario or self.scenario
        assert scenario is not None
        before, sets = self.before.to("cpu", dtype).apply(torch.clone), _copy(small_problem.sets_of(scenario))
        origin = [TRAINED_WITH + number for number in range(before.replicas)]
        if replica is not None:
            origin = origin if before.replicas == 1 else origin[replica : replica + 1]
            before, sets, seeds = before.take(replica, replica + 1), sets.take(replica, replica + 1), [seeds[replica]]
        origin = [] if self.plugin.own_original else origin
        return Given(before, sets, small_problem.context(scenario, seeds, origin, dtype))

    def unlearn(self, given: Given, method: Any = None) -> Any:
        """What the method returns, whatever it is."""
        chosen = method or self.plugin
        return self.watched(chosen.unlearn_many, given.before, given.sets, given.context)

    @cached_property
    def first_given(self) -> Given:
        """The inputs of the first run, as it left them."""
        return self.given()

    @cached_property
    def first_result(self) -> Any:
        """What the first run returned."""
        return self.unlearn(self.first_given)

    @cached_property
    def first(self) -> Outcome:
        return _outcome(self.first_result)

    def run(self) -> Outcome:
        return _outcome(self.unlearn(self.given()))


def _outcome(result: Any) -> Outcome:
    """The models' tensors; none if it returned something else, which is another check's concern."""
    return result.tensors if isinstance(result, Stack) else {}


def _copy(sets: ErasureSets) -> ErasureSets:
    pool = Images(*(getattr(sets.pool, name).clone() for name in ("pixels", "labels", "ids")))
    holdout = None if sets.holdout is None else sets.holdout.clone()
    return replace(sets, pool=pool, members=sets.members.clone(), erased=sets.erased.clone(), holdout=holdout)
