"""The stages: train -> unlearn -> shadows -> attack. Each is a function of its task, whose result is stored under the
task's key; nothing else passes from one to the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from unlearnbench.context import Context
from unlearnbench.erasures import Erasures, concatenate, observe_erasures
from unlearnbench.evaluation import evaluate, original_accuracy, trajectory_point
from unlearnbench.metrics.catalog import METRICS
from unlearnbench.plan import Task
from unlearnbench.plugin import Access, Attack, Evidence, Method
from unlearnbench.scenario import World, challenge, shadow_sets
from unlearnbench.scoring import Truth, as_json, score
from unlearnbench.seeding import derive, repetition_seed
from unlearnbench.sets import ErasureSets
from unlearnbench.settings import Scenario
from unlearnbench.stack import Stack
from unlearnbench.store import Artifact
from unlearnbench.view import AttackView
from unlearnbench.workplace import Workplace

PICTURES = 32  # reconstructions kept for galleries


class PluginError(Exception):
    """A plugin broke its contract; the cell fails with this text."""


def run_stage(task: Task, workplace: Workplace) -> Artifact:
    """Carry out one task; what it needs is in the workplace's store."""
    began, started = datetime.now(UTC), time.perf_counter()
    if workplace.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(workplace.device)
    artifact = _STAGES[task.stage](task, workplace)
    seconds = time.perf_counter() - started
    values = {**artifact.values, "seconds": seconds, "peak_bytes": _peak(workplace.device),
              "provenance": workplace.provenance(task, began)}  # fmt: skip
    return Artifact(artifact.tensors, values)


# --- train -----------------------------------------------------------------------------------------------------------


def _train(task: Task, workplace: Workplace) -> Artifact:
    """The original model of one seed."""
    world, scenario = workplace.world(task), workplace.scenario(task)
    context = _context(task, workplace, world, [_seed(task, "train")])
    nothing = torch.empty(1, 0, dtype=torch.int64, device=workplace.device)
    sets = ErasureSets(world.pool, world.targets.members, nothing)
    method = workplace.method(task) if "method" in task.work else None
    own = method.train(world.pool.take(world.targets.members), context) if method else None
    stack = Stack.of([own]) if own is not None else context.train(sets)
    _check_finite(stack, f"training with beta {scenario.beta}")
    return Artifact(stack.tensors, {"steps": int(context.steps[0]), "samples": int(context.samples[0])})


# --- unlearn ---------------------------------------------------------------------------------------------------------


def _unlearn(task: Task, workplace: Workplace) -> Artifact:
    """Erase every target's images; keep the first model, all outputs that attacks may ask for, and the utility."""
    world, scenario, method = workplace.world(task), workplace.scenario(task), workplace.method(task)
    before = _original(task, workplace, world)
    seeds = [_seed(task, "target", target) for target in range(world.targets.replicas)]
    context = _context(task, workplace, world, seeds)
    trajectory: list[list[Any]] = []
    if scenario.trajectory is not None:
        _follow(context, before, world, scenario, trajectory)
    started = time.perf_counter()
    after = erase(method, before, world.targets, context)
    seconds = time.perf_counter() - started
    measures = {name: [m.value, m.n] for name, m in evaluate(before, after, world, scenario).items()}
    if method.own_original:  # no other row shows how good it was
        own = original_accuracy(before, world, scenario)
        measures["original_accuracy"] = [own.value, own.n]
    # A method with an `unlearn` of its own is not counted by the harness: null, not 0.
    counted = method.reference or bool(context.steps.any())
    for name, counts in (("gradient_steps", context.steps), ("samples_processed", context.samples)):
        measures[name] = [float(counts.double().mean()) if counted else None, len(seeds)]
    for name, recorded in context.recorded.items():
        if name not in METRICS or not bool(torch.isfinite(recorded).all()):
            raise PluginError(f"method {method.name} recorded '{name}', no finite value of a known metric")
        measures[name] = [float(recorded.mean()), len(seeds)]
    tensors = {f"model.{name}": value[:1] for name, value in after.tensors.items()}
    if scenario.kind == "leak":
        tensors |= _observed(before, after, world.targets, world, "target").tensors
    values = {"measures": measures, "sizes": dict(world.sizes), "unlearn_seconds": seconds / len(seeds),
              "trajectory": trajectory}  # fmt: skip
    return Artifact(tensors, values)


def erase(method: Method, before: Stack, sets: ErasureSets, context: Context) -> Stack:
    """The method's erasures, with its contract checked: K models, the original untouched, everything finite."""
    untouched = before.apply(torch.clone)
    written = _writes(sets)
    after = method.unlearn_many(before, sets, context)
    if _writes(sets) != written:
        raise PluginError(f"method {method.name} wrote into the images it was given")
    if not isinstance(after, Stack) or after.replicas != sets.replicas:
        raise PluginError(f"method {method.name} returned {_described(after)} for {sets.replicas} erasures")
    for name, value in before.tensors.items():
        if not torch.equal(value, untouched.tensors[name]):
            raise PluginError(f"method {method.name} changed the original model's {name}")
    _check_finite(after, f"unlearning with {method.name}")
    return after


def _follow(context: Context, before: Stack, world: World, scenario: Scenario, points: list[list[Any]]) -> None:
    """Evaluate every few epochs of unlearning (Figures 5 to 7); step 0 is the original."""
    assert scenario.trajectory is not None
    every = scenario.trajectory.every_epochs

    def watch(epoch: int, step: int, model: Stack) -> None:
        if epoch % every == 0:
            for name, measure in trajectory_point(model, world, scenario).items():
                points.append([step, name, measure.value, measure.n])

    watch(0, 0, before)
    context.watch = watch


# --- shadows ---------------------------------------------------------------------------------------------------------


def _shadows(task: Task, workplace: Workplace) -> Artifact:
    """Erasures of the adversary's own images with the method under attack, from the same original (tier `same`)."""
    world, scenario, method = workplace.world(task), workplace.scenario(task), workplace.method(task)
    before = _original(task, workplace, world)
    assert scenario.erased_count is not None
    sets, validation = shadow_sets(world, task.work["shadows"], scenario.erased_count)
    parts: list[Erasures] = []
    # A chunk's models are dropped once they have answered: a thousand of them need not fit into memory.
    for first in range(0, sets.replicas, scenario.replicas):
        chunk = sets.take(first, first + scenario.replicas)
        seeds = [_seed(task, "shadow", first + index) for index in range(chunk.replicas)]
        after = erase(method, before, chunk, _context(task, workplace, world, seeds))
        parts.append(observe_erasures(before, after, chunk, world, f"shadow {first}"))
    return Artifact({**concatenate(parts).tensors, "validation": validation}, {})


def _observed(before: Stack, after: Stack, sets: ErasureSets, world: World, purpose: str, chunk: int = 64) -> Erasures:
    """Outputs of many models, a few at a time."""
    parts = []
    for first in range(0, sets.replicas, chunk):
        last = min(first + chunk, sets.replicas)
        parts.append(
            observe_erasures(before, after.slice(first, last), sets.take(first, last), world, f"{purpose} {first}")
        )
    return concatenate(parts)


# --- attack ----------------------------------------------------------------------------------------------------------


def _attack(task: Task, workplace: Workplace) -> Artifact:
    """Run an attack on what its access allows, and score what it claims."""
    world, scenario, attack = workplace.world(task), workplace.scenario(task), workplace.attack(task)
    seed = _seed(task, "attack")
    view, targets = _view(task, workplace, world, attack, seed)
    evidence = attack.run(view)
    if not isinstance(evidence, Evidence):
        raise PluginError(f"attack {attack.name} returned {type(evidence).__name__}, not Evidence")
    truth = _truth(evidence, world, scenario, targets, workplace.data(task).classes, seed)
    scores = score(evidence, truth)
    tensors: dict[str, Tensor] = {}
    if evidence.images is not None:
        tensors["rebuilt"] = evidence.images[:PICTURES].detach().float().cpu()
        tensors["true"] = truth.images[:PICTURES]
    return Artifact(tensors, {"scores": as_json(scores)})


def _view(
    task: Task, workplace: Workplace, world: World, attack: Attack, seed: int
) -> tuple[AttackView, Erasures | None]:
    access: Access = attack.access
    before = _original(task, workplace, world)
    unlearned = workplace.artifact(task.needs["unlearn"])
    names = [name for name in unlearned.tensors if name.startswith("model.")]
    after = before.with_tensors({n.removeprefix("model."): unlearned.tensors[n] for n in names}).to(workplace.device)
    scenario = workplace.scenario(task)
    targets = Erasures.of_tensors(unlearned.tensors) if scenario.kind == "leak" else None
    shadows = None
    if "shadows" in task.needs:
        found = workplace.artifact(task.needs["shadows"])
        shadows = Erasures.of_tensors(found.tensors), found.tensors["validation"]
    pairs = challenge(world, scenario) if access.members else None
    classes = workplace.data(task).classes
    return AttackView(access, world, classes, seed, before, after, targets, shadows, pairs), targets


def _truth(
    evidence: Evidence, world: World, scenario: Scenario, targets: Erasures | None, classes: int, seed: int
) -> Truth:
    if evidence.subject == "challenge":
        pairs = challenge(world, scenario)
        own = world.images("pool") if scenario.kind == "leak" else pairs.known
        images, labels = pairs.hidden.scaled[:, None], pairs.hidden.labels[:, None]
        membership = pairs.hidden_membership[:, None]
    else:
        if targets is None:
            raise PluginError("an attack on erased images needs a leak experiment")
        own = world.images("pool")
        rows = targets.erased_rows.to(world.pool.labels.device)
        images, labels = world.pool.pixels[rows].float() / 255, world.pool.labels[rows]
        membership = targets.candidate_erased
    return Truth(images.cpu(), labels.cpu(), membership.cpu(), own.scaled.cpu(), own.labels.cpu(), classes, seed)


# --- shared ----------------------------------------------------------------------------------------------------------


def _original(task: Task, workplace: Workplace, world: World) -> Stack:
    artifact, context = workplace.artifact(task.needs["train"]), _context(task, workplace, world, [])
    method = workplace.method(task)
    model = method.build(context) if method.own_original else context.build(0)
    return Stack.of([model]).with_tensors(artifact.tensors).to(workplace.device)


def _context(task: Task, workplace: Workplace, world: World, seeds: list[int]) -> Context:
    channels, height, width = world.pool.pixels.shape[1:]
    scenario, classes = workplace.scenario(task), workplace.data(task).classes
    return Context(scenario, seeds, (channels, height, width), classes, workplace.device)


def _seed(task: Task, *names: str | int) -> int:
    """From suite seed, dataset, repetition and stage, never from the method: comparisons are paired."""
    work = task.work
    return derive(repetition_seed(work["suite_seed"], work["dataset"]["id"], work["seed"]), *names)


def _writes(sets: ErasureSets) -> tuple[int, ...]:
    """How often the tensors that erasures share have been written to; torch counts it."""
    shared = (sets.pool.pixels, sets.pool.labels, sets.pool.ids, sets.members, sets.erased)
    return tuple(tensor._version for tensor in shared)


def _check_finite(stack: Stack, what: str) -> None:
    for name, value in stack.tensors.items():
        bad = ~torch.isfinite(value).reshape(len(value), -1).all(1)
        if bool(bad.any()):
            raise PluginError(f"{what} made {name} not finite in {int(bad.sum())} of {len(bad)} models")


def _described(value: Any) -> str:
    return f"{value.replicas} models" if isinstance(value, Stack) else type(value).__name__


def _peak(device: torch.device) -> int | None:
    """Largest memory of this task; null on the CPU, where only that of the process's whole life is known."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None


_STAGES: Mapping[str, Callable[[Task, Workplace], Artifact]] = {
    "train": _train,
    "unlearn": _unlearn,
    "shadows": _shadows,
    "attack": _attack,
}
