"""The stages of the adversary's own models: her originals, and her erasures with the method under attack."""

from __future__ import annotations

import torch
from torch import Tensor

from unlearnbench.contract import PluginError, check_finite, erase
from unlearnbench.draws import shadow_erasures, training_sets
from unlearnbench.erasures import concatenate, observe_erasures
from unlearnbench.plan import Task
from unlearnbench.scenario import World
from unlearnbench.seeding import stream
from unlearnbench.sets import ErasureSets
from unlearnbench.stack import Stack
from unlearnbench.store import Artifact
from unlearnbench.view import PARTS
from unlearnbench.workplace import Workplace, seed_of

SHOWN = 200  # images of each part that retrained models are compared on, at most


def shadow_models(task: Task, workplace: Workplace) -> Artifact:
    """Originals of the adversary's: the weights of all, [M, ...] by name."""
    world, draw, trained, count = workplace.world(task), *(task.work[name] for name in ("draw", "trained", "models"))
    sets = training_sets(world, draw, count, trained)
    context = workplace.context(task, world, _seeds(task, trained))
    method = workplace.method(task) if "method" in task.work else None
    if method is None:
        stack = context.train(sets)
    else:  # one that trains an original of its own
        models = []
        for k in range(count):
            model = method.train(world.pool.take(sets.remaining(k)), context.single(k))
            if model is None:
                raise PluginError(f"method {method.name} trains an original of its own, but this time returned none")
            models.append(model)
        stack = Stack.of(models)
    check_finite(stack, f"training shadow models with beta {context.scenario.beta}")
    return Artifact(stack.tensors, {})


def shadows(task: Task, workplace: Workplace) -> Artifact:
    """Erasures of the adversary's own with the method under attack, and what the models answer before and after."""
    world, draw = workplace.world(task), task.work["draw"]
    scenario, models = workplace.scenario(task), task.work["models"]
    if draw == "retrained":
        return _beside_retrained(task, workplace, world)
    assert scenario.erased_count is not None
    drawn = shadow_erasures(world, draw, task.work["shadows"], models, scenario.erased_count)
    originals = workplace.original(task, world) if draw == "same" else _originals(task, workplace, world)
    method, keep, parts, at = workplace.method(task), "keep" in task.work, [], 0
    trained = [seed_of(task, "train")] if draw == "same" else _seeds(task, "originals")
    for k, of_model in enumerate(drawn.sets):
        before = originals.slice(k, k + 1)
        # A chunk's models are dropped once they have answered: a thousand of them need not fit into memory.
        for first in range(0, of_model.replicas, scenario.replicas):
            chunk = of_model.take(first, first + scenario.replicas)
            seeds = [seed_of(task, "shadow", at + index) for index in range(chunk.replicas)]
            context = workplace.context(task, world, seeds, [] if method.own_original else trained[k : k + 1])
            after = erase(method, before, chunk, context)
            parts.append(observe_erasures(before, after, chunk, world, f"shadow {at}", keep))
            at += chunk.replicas
    tensors = concatenate(parts, shared=draw == "same").tensors
    return Artifact({**tensors, "validation": drawn.validation, "model": drawn.model}, {})


def _beside_retrained(task: Task, workplace: Workplace, world: World) -> Artifact:
    """Originals of many seeds that forgot the first target, and models that never saw it, on images of three parts."""
    models = task.work["models"]
    (sets,) = shadow_erasures(world, "retrained", 0, models, world.targets.erased.shape[1]).sets
    originals, method = _originals(task, workplace, world), workplace.method(task)
    seeds, trained = [seed_of(task, "shadow", k) for k in range(models)], _seeds(task, "originals")
    context = workplace.context(task, world, seeds, [] if method.own_original else trained)
    unlearned = erase(method, originals, sets, context)
    retrained = workplace.shadow_models(task, world, "shadow_models without")
    images, labels, part = _shown(world, sets)
    tensors = {"labels": labels.cpu(), "part": part}
    for name, stack in (("unlearned", unlearned), ("retrained", retrained)):
        mean, logits = stack.outputs(images)
        tensors |= {f"{name}_mean": mean.float().cpu(), f"{name}_logits": logits.float().cpu()}
    return Artifact(tensors, {})


def _shown(world: World, sets: ErasureSets) -> tuple[Tensor, Tensor, Tensor]:
    """Images u8[n, C, H, W], labels i64[n] and parts i64[n] (numbers of PARTS)."""
    unseen = world.test if world.targets.holdout is None else world.images("spare")
    sources = [world.pool.take(sets.erased[0]), world.pool.take(sets.remaining(0)), unseen]
    chosen = []
    for name, images in zip(PARTS, sources, strict=True):
        order = stream(world.seed, "shown", name).permutation(len(images))[:SHOWN]
        chosen.append(images.take(torch.from_numpy(order).to(images.labels.device)))
    part = torch.cat([torch.full((len(images),), number) for number, images in enumerate(chosen)])
    return torch.cat([c.pixels for c in chosen]), torch.cat([c.labels for c in chosen]), part


def _originals(task: Task, workplace: Workplace, world: World) -> Stack:
    return workplace.shadow_models(task, world, "shadow_models originals")


def _seeds(task: Task, trained: str) -> list[int]:
    """Of shadow models' training."""
    draw, models = task.work["draw"], task.work["models"]
    return [seed_of(task, "shadow model", draw, trained, k) for k in range(models)]
