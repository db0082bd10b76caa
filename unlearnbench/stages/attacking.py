"""The stage that attacks: what an attack is shown, and the truth that its claims are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from unlearnbench.adversary.observed_erasures import Erasures, with_remaining
from unlearnbench.adversary.oracle import Oracle
from unlearnbench.adversary.weights_shown import weights_shown
from unlearnbench.models.stack import Stack
from unlearnbench.plugin import Access, Evidence
from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.world import Challenge, World, challenge, check_disjoint
from unlearnbench.stages import stolen_settings
from unlearnbench.stages.isolation import attacked
from unlearnbench.stages.resources import Workplace, seed_of
from unlearnbench.stages.result_checks import PluginError
from unlearnbench.stages.scoring import Score, Truth, as_json, compared, score
from unlearnbench.stages.seen_network import network_of
from unlearnbench.stages.unlearning import MODEL
from unlearnbench.suite.tasks import AttackWork, StageTask, Task
from unlearnbench.system.store import Artifact

PICTURES = 32  # reconstructions kept for galleries


def attack_targets(task: StageTask[AttackWork], workplace: Workplace) -> Artifact:
    """Run an attack on what its access allows, and score what it claims."""
    scenario, attack = workplace.scenario(task), workplace.attack(task)
    seed = seed_of(task, "attack")
    seen = seen_by(attack.access, task, workplace)
    closed = (workplace.store.root, workplace.data_root)
    oracle = seen.oracle(attack.access, seed)
    evidence = attacked(attack, oracle, workplace.plugin_dirs, closed)
    truth = truth_for(evidence, seen, scenario, seed)
    scores = scores_of(evidence, truth, oracle)
    steps, _ = workplace.artifact(task.needs["unlearn"]).values["measures"]["gradient_steps"]
    scores |= stolen_settings.errors(scores, scenario, steps)
    tensors: dict[str, Tensor] = {}
    if evidence.images is not None:
        tensors["rebuilt"] = evidence.images[:PICTURES].detach().float().cpu()
        tensors["true"] = truth.images[:PICTURES]
        tensors["mean"] = truth.auxiliary.mean(0)
    if evidence.membership is not None:  # for curves
        among = compared(evidence, truth)
        tensors["membership"], tensors["member"] = among.scores.flatten(), among.members.flatten()
    values: dict[str, Any] = {"scores": as_json(scores)}
    if evidence.membership is not None and evidence.subject == "erased":
        values["membership"] = membership_of(tensors["membership"], tensors["member"])
    return Artifact(tensors, values)


def scores_of(evidence: Evidence, truth: Truth, oracle: Oracle) -> dict[str, Score]:
    """What the evidence scores, and for attacks with a budget what they have used of it."""
    scores = score(evidence, truth)
    if oracle.access.budget:
        scores["queries"] = Score(float(oracle.asked["budget"]), None, None, len(truth.membership))
    return scores


def membership_of(scores: Tensor, erased: Tensor) -> dict[str, list[float]]:
    """The scores f32[n] of the candidates that were erased (bool[n]) and of the others, for pooling over seeds."""
    largest = torch.finfo(torch.float32).max
    finite = scores.clamp(-largest, largest)
    return {"erased": finite[erased].tolist(), "unseen": finite[~erased].tolist()}


@dataclass(frozen=True, eq=False)
class Seen:
    """What an oracle is made from; see Oracle."""

    world: World
    classes: int
    before: Stack
    after: Stack
    targets: Erasures | None
    shadows: Mapping[str, Tensor] | None
    pairs: Challenge | None
    network: Mapping[str, Any] | None = None  # what its architecture is made from (seen_network.py)

    def oracle(self, access: Access, seed: int) -> Oracle:
        """What answers the attack."""
        return Oracle(
            access, self.world, self.classes, seed, self.before, self.after, self.targets, self.shadows, self.pairs,
            self.network,
        )  # fmt: skip


def seen_by(access: Access, task: Task, workplace: Workplace) -> Seen:
    """What an attack with this access may see, from the store."""
    world, scenario = workplace.world(task), workplace.scenario(task)
    before = workplace.original(task, world)
    unlearned = workplace.artifact(task.needs["unlearn"])
    names = [name for name in unlearned.tensors if name.startswith(MODEL)]
    after = before.with_tensors({n.removeprefix(MODEL): unlearned.tensors[n] for n in names}).to(workplace.device)
    targets = seen_erasures(unlearned.tensors, access, before, after, world) if scenario.kind == "leak" else None
    shadows = workplace.artifact(task.needs["shadows"]).tensors if "shadows" in task.needs else None
    if shadows is not None and access.shadows:
        check_held_out(shadows, world)
    pairs = challenge(world, scenario) if access.members else None
    network = network_of(task, workplace.method(task))
    return Seen(world, workplace.data(task).classes, before, after, targets, shadows, pairs, network)


def seen_erasures(tensors: Mapping[str, Tensor], access: Access, before: Stack, after: Stack, world: World) -> Erasures:
    """The targets' erasures, with the changes of their weights and with remaining candidates, as the access declares.

    Args:
        tensors: the erasures, as stored.
        before, after: the targets' models; all T after, where the access needs them.
    """
    erasures = Erasures.of_tensors(tensors)
    if access.level == "parameters":
        # On the CPU on every device, as the attack would compute it from the models.
        first, second = (
            weights_shown(models.to("cpu"), access, world.seed, which).params
            for models, which in ((before, "before"), (after, "after"))
        )
        changes = {name: second[name] - first[name] for name in second}
        erasures = replace(erasures, changes=changes)
    return with_remaining(erasures, before, after, world) if access.remaining else erasures


def check_held_out(shadows: Mapping[str, Tensor], world: World) -> None:
    """Refuse shadows that share an image (tier `disjoint`: or a model) between training, validation and test: an error
    in this package, never a user's.

    Args:
        shadows: erasures, with `validation` and `model`.
    """
    rows, validation, model = shadows["candidate_rows"], shadows["validation"], shadows["model"]
    assert world.targets.holdout is not None
    parts = {
        "the targets": torch.cat([world.targets.erased, world.targets.holdout], 1),
        "training shadows": rows[~validation],
        "validation shadows": rows[validation],
    }
    check_disjoint({name: part.cpu().flatten().unique() for name, part in parts.items()})
    if model.unique().numel() > 1 and bool(torch.isin(model[validation], model[~validation]).any()):
        raise AssertionError("training and validation shadows share a model")


def truth_for(evidence: Evidence, seen: Seen, scenario: Scenario, seed: int) -> Truth:
    """What evidence is compared with."""
    world, targets, remaining = seen.world, seen.targets, None
    if evidence.subject == "challenge":
        pairs = challenge(world, scenario)
        own = world.images("pool") if scenario.kind == "leak" else pairs.known
        images, labels = pairs.hidden.scaled[:, None], pairs.hidden.labels[:, None]
        membership = pairs.hidden_membership[:, None]
    else:
        if targets is None:
            raise PluginError(f"an attack on {evidence.subject} images needs a leak experiment")
        own = world.images("pool")
        rows = targets.erased_rows.to(world.pool.labels.device)
        images, labels = world.pool.pixels[rows].float() / 255, world.pool.labels[rows]
        membership = targets.candidate_erased
        if "unerased" in world.parts:
            found = torch.isin(targets.candidate_rows, world.parts["unerased"].cpu())
            remaining = found if bool(found.any()) else None
        if evidence.subject == "remaining" and remaining is None:
            raise PluginError("evidence on remaining images needs access `remaining`, which shows which they are among")
    return Truth(
        images.cpu(), labels.cpu(), membership.cpu(), own.scaled.cpu(), own.labels.cpu(), seen.classes, seed, remaining
    )
