"""The stages that train models to decide what is erased, and whether it was forgotten. No attack sees these models."""

from __future__ import annotations

import torch
from torch import Tensor

from unlearnbench.models.stack import Stack
from unlearnbench.settings.scenario import Erased
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.world import World, leak_parts
from unlearnbench.stages.evaluation import accuracies
from unlearnbench.stages.memory import Retrained, margins, standings
from unlearnbench.stages.resources import Workplace, seed_of
from unlearnbench.stages.result_checks import check_finite, train_own
from unlearnbench.suite.tasks import StageTask, Task, TrainWork
from unlearnbench.system.seeding import stream
from unlearnbench.system.store import Artifact

TOO_COSTLY = "too costly"


# --- selection ------------------------------------------------------------------------------------------------------


def select(task: Task, workplace: Workplace) -> Artifact:
    """The scores by which images are chosen: the highest are erased.

    `memorised`: how much models owe each image to having learned it (Feldman, 2020, Eq. 1; Feldman and Zhang, 2020,
    section 3): mem(i) = P[right about i | i was learned] - P[right about i | it was not].
    `hardest`: how wrong models are that did not learn it: minus their mean margin.

    Both are estimated with models that are trained on random choices of the target's, the adversary's and the spare
    images, as many as the target is trained on. Neither originals nor retrained models nor an attack's models are among
    them: an original that had taken part in the choice would seem to remember more than it does.
    """
    scenario = workplace.scenario(task)
    assert scenario.leak is not None
    world = workplace.world(task)
    parts = leak_parts(scenario, world.shared, world.seed, world.pool.labels.device)
    rows = torch.cat([parts[name] for name in ("target", "pool", "spare")])
    count, size = scenario.selection_models, len(parts["target"])
    orders = [stream(world.seed, "selection", k).permutation(len(rows))[:size] for k in range(count)]
    members = torch.stack([rows[torch.from_numpy(order).to(rows.device)] for order in orders])
    context = workplace.context(task, world, [seed_of(task, "selection", k) for k in range(count)])
    models = context.train(ErasureSets(world.pool, members, members[:, :0]))
    check_finite(models, f"training the models that select images, with beta {scenario.beta},")
    margin = _margins(models, world, rows)
    learned = torch.zeros(count, len(world.pool), dtype=torch.bool)
    learned[torch.arange(count)[:, None], members.cpu()] = True
    learned = learned[:, rows.cpu()]
    scores = torch.full((world.shared,), torch.nan)
    scores[rows.cpu()] = scored(margin, learned, scenario.erased)
    return Artifact({"scores": scores}, {})


def scored(margin: Tensor, learned: Tensor, erased: Erased) -> Tensor:
    """f32[n]: the score of each image from the margins f32[K, n] of models that learned it (bool[K, n]) or did not."""
    answers = margin if erased == "hardest" else margin > 0
    inside, outside = ((answers * side).sum(0) / side.sum(0).clamp_min(1) for side in (learned, ~learned))
    return -outside if erased == "hardest" else inside - outside


def _margins(models: Stack, world: World, rows: Tensor) -> Tensor:
    """f32[K, n]: each model's margins; above 0 where it gets an image right."""
    found = []
    for part in rows.split(5_000):
        images = world.pool.take(part)
        _, logits = models.outputs(images.pixels)
        found.append(margins(logits, images.labels.expand(models.replicas, -1)))
    return torch.cat(found, 1)


# --- retrained models ---------------------------------------------------------------------------------------------


def retrained(task: StageTask[TrainWork], workplace: Workplace) -> Artifact:
    """Models trained without a random half of the targets' images, shared by all targets, and the standings of the
    targets' images under them.

    Each pair of consecutive models leaves out complementary halves. If one training would pass over more images than
    the scenario allows (`judging.largest_retraining`), none is trained, and no verdict is given.
    """
    world, scenario = workplace.world(task), workplace.scenario(task)
    if world.targets.members.shape[-1] * scenario.training.epochs > scenario.judging.largest_retraining:
        return Artifact({}, {TOO_COSTLY: True})
    left_out = halves(world.targets.replicas, scenario.judging.retrained, world.seed)
    erased = torch.stack([world.targets.erased[own].flatten() for own in left_out])
    sets = ErasureSets(world.targets.pool, world.targets.members, erased)
    context = workplace.context(task, world, [seed_of(task, "retrained", k) for k in range(len(erased))])
    if task.work.method is not None:
        stack = train_own(workplace.method(task), sets, context).to(workplace.device)
    else:
        stack = context.train(sets)
    check_finite(stack, f"retraining with beta {scenario.beta}")
    tensors = {
        "standing": standings(stack, world),
        "left_out": left_out,
        "accuracy": accuracies(stack, world, scenario),
    }
    return Artifact(tensors, {"steps": int(context.steps.sum())})


def halves(targets: int, models: int, seed: int) -> Tensor:
    """bool[R, T]: the targets whose images each model is trained without, equally many for each model.

    With one target all models are trained without it. With an odd number both models of a pair are trained with one of
    the targets, a different one for each pair.
    """
    left_out = torch.zeros(models, targets, dtype=torch.bool)
    if targets == 1:
        return ~left_out
    half, shift = targets // 2, int(stream(seed, "in both").integers(targets))
    for pair in range(models // 2):
        order = stream(seed, "left out", pair).permutation(targets)
        if targets % 2:
            both = (shift + pair) % targets
            order = order[order != both]
        left_out[2 * pair, torch.from_numpy(order[:half])] = True
        left_out[2 * pair + 1, torch.from_numpy(order[half : 2 * half])] = True
    return left_out


def of_artifact(artifact: Artifact) -> Retrained | None:
    """What the stage stored; None if retraining was too costly."""
    if TOO_COSTLY in artifact.values:
        return None
    return Retrained(*(artifact.tensors[name] for name in ("standing", "left_out", "accuracy")))
