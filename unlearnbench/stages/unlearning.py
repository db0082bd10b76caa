"""The stage that unlearns the targets' images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unlearnbench.adversary.observed_erasures import Erasures, observe_erasures
from unlearnbench.metrics.catalog import given_by
from unlearnbench.models.stack import Stack
from unlearnbench.plugin import Method
from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.world import World, join
from unlearnbench.stages.evaluation import evaluate, original_accuracy, trajectory_point
from unlearnbench.stages.memory import Retrained
from unlearnbench.stages.resources import Workplace, filled, places, seed_of
from unlearnbench.stages.result_checks import PluginError, check_finite, check_outputs, erase_each
from unlearnbench.stages.retraining import of_artifact
from unlearnbench.suite.tasks import StageTask, UnlearnWork
from unlearnbench.system.store import Artifact
from unlearnbench.training.context import Context
from unlearnbench.training.replica_run import Watch

MODEL = "model."  # before the names of the models' tensors in an artifact


def unlearn(job: tuple[StageTask[UnlearnWork], ...], workplace: Workplace) -> list[Artifact | Exception]:
    """Erase every target's images; keep the first model or all, outputs that attacks ask for, and utility metrics.

    A job is the single target of each seed in a group, or all targets of one seed, which share their original.
    """
    task, worlds = job[0], [workplace.world(task) for task in job]
    scenario, method = workplace.scenario(task), workplace.method(task)
    originals = [workplace.original(task, world) for task, world in zip(job, worlds, strict=True)]
    if task.together:
        before, sets = Stack.concatenate(filled(job, originals)), join(filled(job, worlds))
        seeds = filled(job, [seed_of(task, "target", 0) for task in job])
        own = [slice(place, place + 1) for place in places(job)]
    else:
        before, sets = originals[0], worlds[0].targets
        seeds = [seed_of(task, "target", target) for target in range(sets.replicas)]
        own = [slice(0, sets.replicas)]
    trained = [seed_of(task, "train") for task in job]
    origin = filled(job, trained) if task.together else trained
    followed = list(zip(places(job), worlds, strict=True))
    watch = _follow(scenario, followed)
    context = workplace.context(task, worlds[0], seeds, [] if method.own_original else origin, watch)
    if watch is not None:
        context.watched += watch(0, 0, 0, before) or []
    after = erase_each(method, before, sets, context)
    trajectories = [[point for place, *point in context.watched if place == of] for of, _ in followed]
    results: list[Artifact | Exception] = []
    needed = [each.needs.get("retrained") for each in job]
    retrained = [None if key is None else of_artifact(workplace.artifact(key)) for key in needed]
    parts = zip(own, worlds, originals, trajectories, retrained, strict=True)
    for part, world, original, trajectory, beside in parts:
        models = after.slice(part.start, part.stop)
        try:
            check_finite(models, f"unlearning with {method.name}")
            seen: dict[str, Tensor] = {}
            if scenario.kind == "leak":
                seen = _observed(original, models, world.targets, world).tensors
                check_outputs(seen["probe_after_logits"], f"unlearning with {method.name}")
                check_outputs(seen["candidates_after_logits"], f"unlearning with {method.name}")
            measures = _measures(method, original, models, world, context, part, beside)
        except PluginError as error:
            results.append(error)
            continue
        kept = models if task.work.keep else models.slice(0, 1)
        tensors = {f"{MODEL}{name}": value for name, value in kept.tensors.items()}
        tensors |= seen
        values = {"measures": measures, "sizes": dict(world.sizes), "trajectory": trajectory}
        results.append(Artifact(tensors, values))
    return results


def _measures(
    method: Method, before: Stack, after: Stack, world: World, context: Context, own: slice, retrained: Retrained | None
) -> dict[str, list[Any]]:
    """Value and number of samples of each metric of one seed's models, which are the replicas `own`."""
    scenario, count = context.scenario, after.replicas
    measures: dict[str, list[Any]] = {
        name: [m.value, m.n] for name, m in evaluate(before, after, world, scenario, retrained).items()
    }
    if method.own_original:  # no other row shows how good this original was
        original = original_accuracy(before, world, scenario)
        measures["original_accuracy"] = [original.value, original.n]
    # The harness does not count the steps of a method with its own `unlearn`: null, not 0.
    counted = method.reference or bool(context.steps.any())
    for name, counts in (("gradient_steps", context.steps), ("samples_processed", context.samples)):
        measures[name] = [float(counts[own].double().mean()) if counted else None, count]
    for name, recorded in context.recorded.items():
        if name not in given_by("method") or not bool(torch.isfinite(recorded[own]).all()):
            raise PluginError(
                f"method {method.name} recorded '{name}', not a finite value of "
                f"{' or '.join(sorted(given_by('method')))}"
            )
        measures[name] = [float(recorded[own].mean()), count]
    return measures


def _follow(scenario: Scenario, followed: list[tuple[int, World]]) -> Watch | None:
    """A watch that evaluates every few epochs of unlearning (Figures 5 to 7), if the scenario asks for it; step 0 is
    the original.

    Args:
        followed: replicas, each with its world; a point begins with the replica's number.
    """
    if scenario.trajectory is None:
        return None
    every = scenario.trajectory.every_epochs

    def watch(first: int, epoch: int, step: int, models: Stack) -> list[Any]:
        points = []
        shown = range(first, first + models.replicas)
        for place, world in followed if epoch % every == 0 else ():
            if place in shown:
                model = models.slice(place - first, place - first + 1)
                for name, measure in trajectory_point(model, world, scenario).items():
                    points.append([place, step, name, measure.value, measure.n])
        return points

    return watch


def _observed(before: Stack, after: Stack, sets: ErasureSets, world: World, chunk: int = 64) -> Erasures:
    """Outputs of the targets' models, a few at a time."""
    parts = []
    for first in range(0, sets.replicas, chunk):
        last = min(first + chunk, sets.replicas)
        models, some = after.slice(first, last), sets.take(first, last)
        parts.append(observe_erasures(before, models, some, world, f"target {first}"))
    return Erasures.concatenate(parts)
