"""A method under examination, and the three erasures it is examined on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from unlearnbench.conformance import small_problem
from unlearnbench.conformance.case import Case, Odd
from unlearnbench.conformance.channel import Message, NamedTensors
from unlearnbench.conformance.small_problem import SEEDS, TRAINED_WITH
from unlearnbench.models.stack import Stack
from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.erasure_sets import ErasureSets


@dataclass(frozen=True, eq=False)
class Given:
    """What one run of a method is handed."""

    scenario: Scenario
    seeds: Sequence[int]
    origin: Sequence[int]
    dtype: torch.dtype
    before: Stack
    sets: ErasureSets

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """All that a method could write into."""
        found = {f"pool.{name}": getattr(self.sets.pool, name) for name in ("pixels", "labels", "ids")}
        found |= {f"sets.{name}": getattr(self.sets, name) for name in ("members", "erased", "holdout")}
        found |= {f"p.{name}": value for name, value in self.before.params.items()}
        found |= {f"b.{name}": value for name, value in self.before.buffers.items()}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Unlearned:
    """The result of a run: what the method returned, and its inputs as it left them."""

    result: Stack | Odd
    left: NamedTensors
    steps: list[int]


class MethodCase(Case):
    """A method, which unlearns three erasures on digits at a time."""

    kind = "method"

    @cached_property
    def facts(self) -> Message:
        """The method's `own_original` and `many_at_once`."""
        return self.ask("facts")[0]

    @cached_property
    def before(self) -> Stack:
        """The originals. They stay in this process; the method gets copies."""
        assert self.scenario is not None
        if not self.facts["own_original"]:
            return small_problem.shared_originals(self.scenario)
        _, tensors = self.ask("originals", scenario=self.scenario.model_dump(mode="json"))
        return _stack(tensors, "")

    def given(
        self, seeds: Sequence[int] = SEEDS, replica: int | None = None, dtype: torch.dtype = torch.float32,
        scenario: Scenario | None = None,
    ) -> Given:  # fmt: skip
        """Inputs for a run: all three erasures, or one of them alone."""
        scenario = scenario or self.scenario
        assert scenario is not None
        before, sets = self.before.to("cpu", dtype), small_problem.sets_of(scenario)
        origin = [TRAINED_WITH + number for number in range(before.replicas)]
        if replica is not None:
            origin = origin if before.replicas == 1 else origin[replica : replica + 1]
            before, sets, seeds = before.take(replica, replica + 1), sets.take(replica, replica + 1), [seeds[replica]]
        return Given(scenario, seeds, [] if self.facts["own_original"] else origin, dtype, before, sets)

    def unlearn(
        self, given: Given, steps: int | None = None, seed: int | None = None, restore: bool = False
    ) -> Unlearned:
        """Run the method, shortened to `steps` steps if given. The other arguments: see `run`."""
        answer, tensors = self.ask(
            "unlearn", given.tensors, scenario=given.scenario.model_dump(mode="json"), seeds=list(given.seeds),
            origin=list(given.origin), dtype=str(given.dtype).removeprefix("torch."), steps=steps, seed=seed,
            restore=restore,
        )  # fmt: skip
        left = {name.removeprefix("left."): value for name, value in tensors.items() if name.startswith("left.")}
        return Unlearned(Odd.of(answer) or _stack(tensors, "new."), left, [int(count) for count in answer["steps"]])

    @cached_property
    def first_given(self) -> Given:
        """The inputs of the first run."""
        return self.given()

    @cached_property
    def first_unlearned(self) -> Unlearned:
        """The result of the first run."""
        return self.unlearn(self.first_given)

    @cached_property
    def first(self) -> NamedTensors:
        return _outcome(self.first_unlearned.result)

    def run(self, seed: int | None = None, restore: bool = False) -> NamedTensors:
        return _outcome(self.unlearn(self.given(), seed=seed, restore=restore).result)


def _outcome(result: Stack | Odd) -> NamedTensors:
    """The models' tensors; none if the method returned something else, which another rule is about."""
    return result.tensors if isinstance(result, Stack) else {}


def _stack(tensors: NamedTensors, prefix: str) -> Stack:
    """Models of any architecture, to be compared and never queried."""
    parts: dict[str, dict[str, torch.Tensor]] = {f"{prefix}p.": {}, f"{prefix}b.": {}}
    for name, value in tensors.items():
        for start, part in parts.items():
            if name.startswith(start):
                part[name.removeprefix(start)] = value
    return Stack(nn.Identity(), *parts.values())
