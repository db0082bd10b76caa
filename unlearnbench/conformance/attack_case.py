"""An attack under examination, and what it is shown: three erasures on digits by a method that leaks."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from functools import cached_property
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from unlearnbench.adversary import evidence
from unlearnbench.adversary.evidence import EvidenceError
from unlearnbench.conformance import pipeline
from unlearnbench.conformance.case import Case, Odd
from unlearnbench.conformance.channel import AskSubject, Message, NamedTensors
from unlearnbench.plugin import Access, Attack, Evidence, Measured
from unlearnbench.registry.plugin_info import PluginInfo
from unlearnbench.stages.attacking import Seen, seen_by, truth_for
from unlearnbench.stages.resources import seed_of
from unlearnbench.stages.scoring import Truth
from unlearnbench.suite.tasks import Task
from unlearnbench.system.errors import AccessError

# The evidence of an attack, what is wrong with it, or a value of another type.
AttackResult = Evidence | EvidenceError | Odd


class AttackCase(Case):
    """The attack, against one cell."""

    kind = "attack"

    def declared(self) -> Access | Odd:
        """The access that the attack declares, asked for again on each call."""
        answer, _ = self.ask("access")
        return Odd.of(answer) or TypeAdapter(Access).validate_python(answer["access"])

    @cached_property
    def access(self) -> Access:
        found = self.declared()
        if isinstance(found, Odd):
            raise TypeError(f"access is {found.type}")
        return found

    @cached_property
    def task(self) -> Task:
        """The task that attacks; what it needs has been computed and is in the store."""
        assert self.scenario is not None
        declared = self.access

        class Stand(Attack):
            """Replaces the attack where only its access matters."""

            name = "attack_under_examination"
            access = declared

            def run(self, view: Any) -> Evidence:
                raise NotImplementedError

        attacked = self.setup.registry.methods[pipeline.ATTACKED]
        info = PluginInfo(Stand.name, "attack", Stand, "", builtin=False, sha256="", version=1)
        tasks = pipeline.tasks(self.setup, self.scenario, pipeline.choice(attacked), pipeline.choice(info))
        pipeline.prepare(tasks[:-1], pipeline.workplace(self.setup))
        return tasks[-1]

    @property
    def seed(self) -> int:
        return seed_of(self.task, "attack")

    @cached_property
    def seen(self) -> Seen:
        """Everything about the cell, including the truth; it stays in this process."""
        return seen_by(self.access, self.task, pipeline.workplace(self.setup))

    def attack(
        self, seen: Seen, seed: int | None = None, restore: bool = False, asked: AskSubject | None = None
    ) -> AttackResult:
        """Run the attack on what it may see of a cell; `seed` and `restore`: see `run`."""
        oracle = seen.oracle(self.access, self.seed)

        def respond(message: Message, given: NamedTensors) -> tuple[Message, NamedTensors]:
            try:
                return {}, oracle.answer(str(message["view"]), given)
            except AccessError as error:
                return {"refused": str(error)}, {}

        question = {
            "ask": "attack", "access": asdict(self.access), "shape": list(oracle.shape), "classes": oracle.classes,
            "view_seed": oracle.seed, "seed": seed, "restore": restore, "network": oracle.network,
        }  # fmt: skip
        answer, tensors = self.noted(*(asked or self.subject)(question, {}, respond))
        if (odd := Odd.of(answer)) is not None:
            return odd
        try:
            return evidence.unpacked(answer["evidence"], tensors)
        except EvidenceError as error:
            return error

    def truth(self, evidence: Evidence, seen: Seen) -> Truth:
        assert self.scenario is not None
        return truth_for(evidence, seen, self.scenario, self.seed)

    @cached_property
    def first_claim(self) -> AttackResult:
        """The claim of the first run."""
        return self.attack(self.seen)

    @cached_property
    def first(self) -> NamedTensors:
        return numbers_of(self.first_claim)

    def run(self, seed: int | None = None, restore: bool = False) -> NamedTensors:
        return numbers_of(self.attack(self.seen, seed, restore))

    def run_there(self) -> NamedTensors:
        """What the attack claims in another process."""
        return numbers_of(self.attack(self.seen, asked=self.other))


def numbers_of(evidence: Any) -> NamedTensors:
    """All numbers in evidence by name; none if it is something else, which another rule is about."""
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
    """The same cell as if unlearning had done nothing: outputs after equal outputs before."""
    targets = seen.targets
    if targets is not None:
        plain = {f.name: getattr(targets, f.name) for f in fields(targets) if f.name != "changes"}
        changes = {name: torch.zeros_like(value) for name, value in targets.changes.items()}
        targets = replace(targets, **_undone(plain), changes=changes)
    shadows = None if seen.shadows is None else _undone(dict(seen.shadows))
    after = seen.before.apply(torch.clone).expand(seen.after.replicas)
    return replace(seen, after=after, targets=targets, shadows=shadows)


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
