"""The stages of the adversary's own models: her originals, and her erasures with the method under attack."""

from __future__ import annotations

import torch
from torch import Tensor

from unlearnbench.adversary.observed_erasures import Erasures, observe_erasures
from unlearnbench.models.stack import Stack
from unlearnbench.splits import retrained_sets
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.shadow_sets import shadow_erasures, training_sets
from unlearnbench.splits.world import World
from unlearnbench.stages.resources import Workplace, seed_of
from unlearnbench.stages.result_checks import check_finite, check_outputs, erase, train_own
from unlearnbench.suite.tasks import ShadowModelsWork, ShadowsWork, StageTask
from unlearnbench.system.store import Artifact
from unlearnbench.training.resuming import of_sets

# --- models ---------------------------------------------------------------------------------------------------------


def shadow_models(task: StageTask[ShadowModelsWork], workplace: Workplace) -> Artifact:
    """The adversary's originals: the weights of all, [M, ...] by name. Of models trained without a target, only the
    outputs on that target's images are needed: see `_answers`."""
    world, work = workplace.world(task), task.work
    if work.trained == "without":
        return Artifact({"logits": _answers(task, workplace, world)}, {})
    sets = training_sets(world, work.draw, work.models)
    seeds, step = _seeds(task, work.trained, sets.replicas), workplace.scenario(task).replicas
    models: dict[str, Tensor] = {}
    for first in range(0, sets.replicas, step):
        last = min(first + step, sets.replicas)
        made = _train(task, workplace, world, sets.take(first, last), seeds[first:last])
        # Written into their places at once: modules, copies and parts of thousands of models are many times their size.
        for name, value in made.tensors.items():
            models.setdefault(name, value.new_empty(sets.replicas, *value.shape[1:], device="cpu"))[first:last] = value
    return Artifact(models, {})


def _train(
    task: StageTask[ShadowModelsWork], workplace: Workplace, world: World, sets: ErasureSets, seeds: list[int]
) -> Stack:
    """One model per seed, by the shared trainer or by a method that trains originals of its own."""
    context = workplace.context(task, world, seeds)
    own = task.work.method is not None
    stack = train_own(workplace.method(task), sets, context) if own else context.train(sets)
    check_finite(stack, f"training shadow models with beta {context.scenario.beta}")
    return stack


def _answers(task: StageTask[ShadowModelsWork], workplace: Workplace, world: World) -> Tensor:
    """Logits f32[T, 2N, n, Y] on each target's images, by models that never saw the target; a few models at a time."""
    made = retrained_sets.group(world, task.work.models, "without")
    images, _ = retrained_sets.shown(world)
    together = torch.cat([own.pixels for own in images])
    seeds, step, parts = _seeds(task, "without", made.sets.replicas), workplace.scenario(task).replicas, []
    for first in range(0, made.sets.replicas, step):
        chunk = made.sets.take(first, first + step)
        with workplace.part([chunk.members, chunk.erased]) as part:
            if part.result is None:
                models = _train(task, workplace, world, chunk, seeds[first : first + step])
                part.result = {"logits": models.outputs(together)[1].float().cpu()}
        parts.append(part.result["logits"])
    of_targets = torch.cat(parts).unflatten(1, (len(images), -1))
    return torch.stack([of_targets[models, target] for target, models in enumerate(made.models)])


# --- erasures -------------------------------------------------------------------------------------------------------


def shadows(task: StageTask[ShadowsWork], workplace: Workplace) -> Artifact:
    """The adversary's own erasures with the method under attack: the outputs of the models before and after."""
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
        # A chunk's models are dropped after they are queried: a thousand models need not fit into memory.
        for first in range(0, of_model.replicas, scenario.replicas):
            chunk = of_model.take(first, first + scenario.replicas)
            seeds = [seed_of(task, "shadow", at + index) for index in range(chunk.replicas)]
            origin = [] if method.own_original else trained[k : k + 1]
            with workplace.part(of_sets(before, chunk)) as part:
                if part.result is None:
                    after = erase(method, before, chunk, workplace.context(task, world, seeds, origin))
                    part.result = observe_erasures(before, after, chunk, world, f"shadow {at}", keep).tensors
            parts.append(Erasures.of_tensors(part.result))
            if draw == "in_and_out":  # of each model as many as InAndOut shows
                parts[-1] = parts[-1].with_probes_of(1 if first == 0 else 0)
            check_outputs(parts[-1].candidates_after_logits, f"unlearning with {method.name}")
            at += chunk.replicas
    tensors = Erasures.concatenate(parts, shared=draw == "same").tensors
    return Artifact({**tensors, "validation": drawn.validation, "model": drawn.model}, {})


def _beside_retrained(task: StageTask[ShadowsWork], workplace: Workplace, world: World) -> Artifact:
    """Logits on each target's images, by N originals that were trained on it and unlearned it, and by 2N models that
    never saw it."""
    count, step, method = task.work.models, workplace.scenario(task).replicas, workplace.method(task)
    made, originals = retrained_sets.group(world, count, "originals"), _originals(task, workplace, world)
    trained, (images, part) = _seeds(task, "originals", made.sets.replicas), retrained_sets.shown(world)
    unlearned = []
    for target, own in enumerate(images):
        answers = []
        for first in range(0, count, step):
            chunk = retrained_sets.erasures(world, made, target, first, first + step)
            models = made.models[target, first : first + step]
            seeds = [seed_of(task, "shadow", target * count + first + index) for index in range(chunk.replicas)]
            origin = [] if method.own_original else [trained[model] for model in models.tolist()]
            before = _taken(originals, models.to(workplace.device))
            with workplace.part(of_sets(before, chunk)) as answer:
                if answer.result is None:
                    after = erase(method, before, chunk, workplace.context(task, world, seeds, origin))
                    answer.result = {"logits": after.outputs(own.pixels)[1].float().cpu()}
            answers.append(answer.result["logits"])
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
    """Seeds for training shadow models."""
    return [seed_of(task, "shadow model", task.work.draw, trained, k) for k in range(count)]
