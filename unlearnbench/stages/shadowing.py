"""The stages of the adversary's own models: her originals, and her erasures with the method under attack."""

from __future__ import annotations

import torch
from torch import Tensor

from unlearnbench.adversary.observed_erasures import concatenate, observe_erasures
from unlearnbench.models.stack import Stack
from unlearnbench.splits import retrained_sets as retrained_draw
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.shadow_sets import shadow_erasures, training_sets
from unlearnbench.splits.world import World
from unlearnbench.stages.resources import Workplace, seed_of
from unlearnbench.stages.result_checks import PluginError, check_finite, check_outputs, erase
from unlearnbench.suite.tasks import ShadowModelsWork, ShadowsWork, StageTask
from unlearnbench.system.process_state.guard import guarded
from unlearnbench.system.store import Artifact

# --- models ---------------------------------------------------------------------------------------------------------


def shadow_models(task: StageTask[ShadowModelsWork], workplace: Workplace) -> Artifact:
    """Originals of the adversary's: the weights of all, [M, ...] by name. Of models without a target, what they answer
    on that target's images is all that is ever asked: see `_answers`."""
    world, work = workplace.world(task), task.work
    if work.trained == "without":
        return Artifact({"logits": _answers(task, workplace, world)}, {})
    sets = training_sets(world, work.draw, work.models)
    return Artifact(_train(task, workplace, world, sets, _seeds(task, work.trained, sets.replicas)).tensors, {})


def _train(
    task: StageTask[ShadowModelsWork], workplace: Workplace, world: World, sets: ErasureSets, seeds: list[int]
) -> Stack:
    """One model a seed, by the shared trainer or by a method that trains an original of its own."""
    context = workplace.context(task, world, seeds)
    method = workplace.method(task) if task.work.method is not None else None
    if method is None:
        stack = context.train(sets)
    else:
        models = []
        for k in range(sets.replicas):
            with guarded(f"method {method.name}"):
                model = method.train(world.pool.take(sets.remaining(k)), context.single(k))
            if model is None:
                raise PluginError(f"method {method.name} trains an original of its own, but this time returned none")
            models.append(model)
        stack = Stack.of(models)
    check_finite(stack, f"training shadow models with beta {context.scenario.beta}")
    return stack


def _answers(task: StageTask[ShadowModelsWork], workplace: Workplace, world: World) -> Tensor:
    """Logits f32[T, 2N, n, Y] on each target's images of the models that never saw it; a few models at a time."""
    made = retrained_draw.group(world, task.work.models, "without")
    images, _ = retrained_draw.shown(world)
    together = torch.cat([own.pixels for own in images])
    seeds, step, parts = _seeds(task, "without", made.sets.replicas), workplace.scenario(task).replicas, []
    for first in range(0, made.sets.replicas, step):
        chunk = made.sets.take(first, first + step)
        models = _train(task, workplace, world, chunk, seeds[first : first + step])
        parts.append(models.outputs(together)[1].float().cpu())
    of_targets = torch.cat(parts).unflatten(1, (len(images), -1))
    return torch.stack([of_targets[models, target] for target, models in enumerate(made.models)])


# --- erasures -------------------------------------------------------------------------------------------------------


def shadows(task: StageTask[ShadowsWork], workplace: Workplace) -> Artifact:
    """Erasures of the adversary's own with the method under attack, and what the models answer before and after."""
    world, draw = workplace.world(task), task.work.draw
    scenario, models = workplace.scenario(task), task.work.models
    if draw == "retrained":
        return _beside_retrained(task, workplace, world)
    assert scenario.erased_count is not None
    drawn = shadow_erasures(world, draw, task.work.shadows, models, scenario.erased_count)
    originals = workplace.original(task, world) if draw == "same" else _originals(task, workplace, world)
    method, keep, parts, at = workplace.method(task), task.work.keep, [], 0
    trained = [seed_of(task, "train")] if draw == "same" else _seeds(task, "originals", models)
    for k, of_model in enumerate(drawn.sets):
        before = originals.slice(k, k + 1)
        # A chunk's models are dropped once they have answered: a thousand of them need not fit into memory.
        for first in range(0, of_model.replicas, scenario.replicas):
            chunk = of_model.take(first, first + scenario.replicas)
            seeds = [seed_of(task, "shadow", at + index) for index in range(chunk.replicas)]
            context = workplace.context(task, world, seeds, [] if method.own_original else trained[k : k + 1])
            after = erase(method, before, chunk, context)
            parts.append(observe_erasures(before, after, chunk, world, f"shadow {at}", keep))
            check_outputs(parts[-1].candidates_after_logits, f"unlearning with {method.name}")
            at += chunk.replicas
    tensors = concatenate(parts, shared=draw == "same").tensors
    return Artifact({**tensors, "validation": drawn.validation, "model": drawn.model}, {})


def _beside_retrained(task: StageTask[ShadowsWork], workplace: Workplace, world: World) -> Artifact:
    """Each target forgotten by N originals that held it, beside 2N models that never saw it: logits on its images."""
    count, step, method = task.work.models, workplace.scenario(task).replicas, workplace.method(task)
    made, originals = retrained_draw.group(world, count, "originals"), _originals(task, workplace, world)
    trained, (images, part) = _seeds(task, "originals", made.sets.replicas), retrained_draw.shown(world)
    unlearned = []
    for target, own in enumerate(images):
        answers = []
        for first in range(0, count, step):
            chunk = retrained_draw.erasures(world, made, target, first, first + step)
            models = made.models[target, first : first + step]
            seeds = [seed_of(task, "shadow", target * count + first + index) for index in range(chunk.replicas)]
            origin = [] if method.own_original else [trained[model] for model in models.tolist()]
            before = _taken(originals, models.to(workplace.device))
            after = erase(method, before, chunk, workplace.context(task, world, seeds, origin))
            answers.append(after.outputs(own.pixels)[1].float().cpu())
        unlearned.append(torch.cat(answers))
    retrained = workplace.artifact(task.needs["shadow_models without"]).tensors["logits"]
    tensors = {"unlearned_logits": torch.stack(unlearned), "retrained_logits": retrained[:, :count].contiguous(),
               "null_logits": retrained[:, count:].contiguous(), "part": part,
               "labels": torch.stack([own.labels for own in images]).cpu()}  # fmt: skip
    return Artifact(tensors, {})


def _taken(stack: Stack, models: Tensor) -> Stack:
    return stack.apply(lambda value: value[models])


def _originals(task: StageTask[ShadowsWork], workplace: Workplace, world: World) -> Stack:
    return workplace.shadow_models(task, world, "shadow_models originals")


def _seeds(task: StageTask[ShadowModelsWork | ShadowsWork], trained: str, count: int) -> list[int]:
    """Of shadow models' training."""
    return [seed_of(task, "shadow model", task.work.draw, trained, k) for k in range(count)]
