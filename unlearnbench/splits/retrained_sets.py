"""The draw `retrained`: originals that forget each target, and models that never saw it, shared by all targets.

Retraining 2N models for each of T targets would take 2NT trainings. Here two groups of models serve all targets:

- each *original* holds the whole erased sets of a different half of the targets, so that every target has N originals
  that hold its set; each of them forgets it.
- models *without* hold one set fewer, so that every target has 2N of them that never saw its images.

Together these are about 6N trainings. One set fewer makes the comparison exact: an original's training images once it
has forgotten a target, and the training images of a model without that target, have the same distribution: the target's
remaining images and a random choice of equally many other targets' sets. A method that retrains from scratch therefore
gives models of exactly the distribution that it is compared with. Images of the adversary's, the same for all, replace
the sets that an original does not hold, so that it trains on as many images as the target's original.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.images import Images
from unlearnbench.splits.world import World
from unlearnbench.system.seeding import stream

Trained = Literal["originals", "without"]

PARTS = ("erased", "remaining", "unseen")
"""Kinds of images that retrained models are compared on."""

SHOWN = 200
"""Remaining images, and as many never-seen ones, that models are compared on: over all targets, at least one each."""


@dataclass(frozen=True, eq=False)
class Group:
    """M models that all targets share.

    Attributes:
        sets: what each is trained on, as ErasureSets that erase nothing.
        models: i64[T, n], the n models that each target is compared with: those that held its set, or never saw it.
    """

    sets: ErasureSets
    models: Tensor


def group(world: World, models: int, trained: Trained) -> Group:
    """The group of originals, or of models without.

    Args:
        models: N; every target gets N originals, or 2N models without.
    """
    erased, members, pool = world.targets.erased, world.targets.members, world.parts["pool"]
    targets, size = erased.shape
    held = max(1, targets // 2)  # sets that an original holds
    generator = stream(world.seed, "retrained", trained)
    if trained == "originals":
        wanted = models
        holds = _balanced(targets, held, wanted, generator)
        chosen = holds
    else:
        wanted = 2 * models
        chosen = _balanced(targets, targets - held + 1, wanted, generator)
        holds = ~chosen
    core = members[~torch.isin(members, erased)]
    fill = pool[: (targets - held) * size]
    rows = []
    for row in torch.from_numpy(holds).to(erased.device):
        own = torch.cat([core, erased[row].flatten(), fill])
        # Shuffled: a method that trains its own model must not recognise erased images by their place.
        rows.append(own[torch.from_numpy(generator.permutation(len(own))).to(own.device)])
    trained_on = torch.stack(rows)
    first = np.stack([np.flatnonzero(column)[:wanted] for column in chosen.T])
    return Group(ErasureSets(world.pool, trained_on, trained_on[:, :0]), torch.from_numpy(first))


def _balanced(targets: int, each: int, wanted: int, generator: np.random.Generator) -> np.ndarray:
    """bool[M, T], for each model `each` random targets, so that every target is chosen at least `wanted` times.

    Each model takes the targets that the fewest models took before, ties broken at random: where `each` is half of the
    targets, two consecutive models take complementary halves.
    """
    chosen = np.zeros((-(-wanted * targets // each), targets), dtype=bool)
    taken = np.zeros(targets, dtype=np.int64)
    for row in chosen:
        row[np.lexsort((generator.random(targets), taken))[:each]] = True
        taken += row
    return chosen


def erasures(world: World, originals: Group, target: int, first: int, last: int) -> ErasureSets:
    """The erasures of a target's set from the originals first..last-1 of those that hold it."""
    models = originals.models[target, first:last]
    holdout = world.targets.holdout

    def each(rows: Tensor) -> Tensor:
        return rows[target].expand(len(models), -1)

    return ErasureSets(
        world.pool,
        originals.sets.members[models.to(world.pool.labels.device)],
        each(world.targets.erased),
        None if holdout is None else each(holdout),
    )


def shown(world: World) -> tuple[list[Images], Tensor]:
    """The images that each target's models are compared on: its erased ones, and some remaining and never-seen ones.

    Returns:
        For each target n images, in the order of PARTS; and i64[n], the part of each image.
    """
    erased, members = world.targets.erased, world.targets.members
    targets, size = erased.shape
    sources = [members[~torch.isin(members, erased)], world.parts["spare"]]
    rows, part = [erased], [torch.zeros(size, dtype=torch.int64)]
    for number, source in enumerate(sources, start=1):
        each = max(1, min(SHOWN, len(source)) // targets)
        order = torch.from_numpy(stream(world.seed, "shown", PARTS[number]).permutation(len(source)))
        places = order[torch.arange(targets * each) % len(source)].view(targets, each)
        rows.append(source[places.to(source.device)])
        part.append(torch.full((each,), number))
    return [world.pool.take(own) for own in torch.cat(rows, 1)], torch.cat(part)
