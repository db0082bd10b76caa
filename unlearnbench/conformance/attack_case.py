"""An attack under examination, and what it is shown: three erasures on digits by a method that leaks."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from unlearnbench.attacking import Seen, seen_by, truth_for
from unlearnbench.conformance import pipeline
from unlearnbench.conformance.case import Case, Outcome
from unlearnbench.conformance.small_problem import SCENARIOS
from unlearnbench.plan import Task
from unlearnbench.plugin import Evidence, Measured
from unlearnbench.scoring import Truth
from unlearnbench.settings import Scenario
from unlearnbench.workplace import Workplace, seed_of

ATTACKED = "vbu"  # the method: it forgets at the price of betraying what


class AttackCase(Case):
    """The attack, against one cell."""

    @cached_property
    def scenario(self) -> Scenario | None:
        """The first of the small scenarios that the attack does not skip."""
        return next((s for s in SCENARIOS if self.watched(self.plugin.skip, s) is None), None)

    @property
    def reason(self) -> str | None:
        return "the attack skips every scenario that there is to check it on" if self.scenario is None else None

    @cached_property
    def workplace(self) -> Workplace:
        return pipeline.workplace(self.place)

    @cached_property
    def task(self) -> Task:
        """The task that attacks; what it needs lies in the store."""
        assert self.scenario is not None
        method = pipeline.choice(self.place.registry.methods[ATTACKED])
        *before, last = pipeline.tasks(self.place, self.scenario, method, pipeline.choice(self.info, self.params))
        pipeline.prepare(before, self.workplace)
        return last

    @property
    def seed(self) -> int:
        return seed_of(self.task, "attack")

    def seen(self) -> Seen:
        """What the attack is shown, read anew."""
        fresh = pipeline.workplace(self.place)  # images in memory of its own
        return seen_by(self.plugin.access, self.task, fresh)

    def evidence(self, seen: Seen) -> Any:
        """What the attack claims; torch's global stream is put back, as the harness does."""
        with torch.random.fork_rng(devices=[]):
            return self.watched(self.plugin.run, seen.oracle(self.plugin.access, self.seed).view())

    def truth(self, evidence: Evidence, seen: Seen) -> Truth:
        assert self.scenario is not None
        return truth_for(evidence, seen, self.scenario, self.seed)

    @cached_property
    def first_seen(self) -> Seen:
        """What the first run was shown, as it left it."""
        return self.seen()

    @cached_property
    def first_evidence(self) -> Any:
        return self.evidence(self.first_seen)

    @cached_property
    def first(self) -> Outcome:
        return numbers_of(self.first_evidence)

    def run(self) -> Outcome:
        return numbers_of(self.evidence(self.seen()))


def numbers_of(evidence: Any) -> Outcome:
    """All numbers of evidence by name; none if it is something else, which is another check's concern."""
    if not isinstance(evidence, Evidence):
        return {}
    found: dict[str, Tensor] = {}
    for name, value in evidence._asdict().items():
        if isinstance(value, Tensor):
            found[name] = value.detach().cpu()
        elif isinstance(value, int | float):
            found[name] = torch.tensor(float(value), dtype=torch.float64)
    metrics = {f"metrics.{name}": torch.tensor(Measured.of(v).value).double() for name, v in evidence.metrics.items()}
    return found | metrics


def nothing_changed(seen: Seen) -> Seen:
    """The same world, had unlearning done nothing: outputs after are outputs before."""
    targets = seen.targets
    if targets is not None:
        plain = {f.name: getattr(targets, f.name) for f in fields(targets) if f.name != "changes"}
        changes = {name: torch.zeros_like(value) for name, value in targets.changes.items()}
        targets = replace(targets, **_undone(plain), changes=changes)
    shadows = None if seen.shadows is None else _undone(dict(seen.shadows))
    return replace(seen, after=seen.before.apply(torch.clone), targets=targets, shadows=shadows)


def _undone(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    pairs = {"_after_": "_before_", "unlearned_": "retrained_"}
    found = dict(tensors)
    for name, value in tensors.items():
        for after, before in pairs.items():
            if after in name:
                found[name] = tensors[name.replace(after, before)].expand_as(value).clone()
        if name.startswith("change."):
            found[name] = torch.zeros_like(value)
    return found
