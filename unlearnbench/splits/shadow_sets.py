"""What the adversary trains and erases: shadow originals, and her erasures (docs/protocol.md#shadow-tiers).

There are four draws, each repeated from the world's seed wherever it is needed:

- `same`: the target's own original; she erases members that she knows.
- `disjoint`: originals trained on her own images; she erases from those.
- `in_and_out`: originals trained on random halves of the targets' candidates, filled up with her own images; she
  erases each candidate from the models that had it.
- `retrained`: originals that forget each target, and models that never saw it (retrained_sets.py).

Where targets erase images of one kind (a class, a group), so does she.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlearnbench.settings.scenario import Draw
from unlearnbench.splits.erasure_choice import matched
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.retrained_sets import group
from unlearnbench.splits.world import World
from unlearnbench.system.errors import InputError
from unlearnbench.system.seeding import stream

HELD_OUT = 5  # a fifth of the adversary's images, and of the shadows of the tier `same`, validate


@dataclass(frozen=True, eq=False)
class Shadows:
    """The adversary's erasures.

    Attributes:
        sets: the erasures from each original in turn.
        validation: bool[n], which erasures are for validation.
        model: i64[n], the original that each erasure starts from.
    """

    sets: Sequence[ErasureSets]
    validation: Tensor
    model: Tensor


def training_sets(world: World, draw: Draw, models: int) -> ErasureSets:
    """What each shadow original is trained on; nothing is erased.

    Args:
        models: their number; in the draw `retrained`, how many of them hold each target's images.

    Raises:
        InputError: the adversary has too few images.
    """
    if draw == "retrained":
        return group(world, models, "originals").sets
    members = _disjoint(world, models) if draw == "disjoint" else _halves(world, models)[0]
    return ErasureSets(world.pool, members, members[:, :0])


def shadow_erasures(world: World, draw: Draw, count: int, models: int, size: int) -> Shadows:
    """The erasures of a draw other than `retrained`.

    Args:
        count: erasures in the tiers `same` and `disjoint`, spread evenly over the models; unused in others.
        models: shadow originals.
        size: s, images of one erasure.

    Raises:
        InputError: the adversary has too few images.
    """
    if draw == "same":
        return _same_erasures(world, count, size)
    if draw == "disjoint":
        return _disjoint_erasures(world, count, models, size)
    assert draw == "in_and_out", draw
    return _in_and_out_erasures(world, models, size)


# --- same -----------------------------------------------------------------------------------------------------------


def _same_erasures(world: World, count: int, size: int) -> Shadows:
    """The last fifth is for validation, and shares neither erased nor never-seen images with other shadows. All images
    are used once before any is used again."""
    known, unseen = world.parts["known"], world.parts["pool"]
    validating = max(1, count // HELD_OUT)
    if count < HELD_OUT or len(known) < HELD_OUT * size:
        raise InputError(
            "attack.shadows", f"{count} shadows of {size} images need 5 shadows and {HELD_OUT * size} known images"
        )
    cut, unseen_cut = len(known) - max(size, len(known) // HELD_OUT), len(unseen) - len(unseen) // HELD_OUT
    generator = stream(world.seed, "shadow images")
    training = _draw(known[:cut], count - validating, size, generator, world.kinds, "known")
    validation = _draw(known[cut:], validating, size, generator, world.kinds, "known")
    labels, held_out, others = world.pool.labels, unseen[unseen_cut:], unseen[:unseen_cut]
    others, held_out = _with_classes(labels, others, held_out, validation)
    held_out, others = _with_classes(labels, held_out, others, training)
    holdout = [
        matched(labels, training, others, world.seed, "shadow", part="pool"),
        matched(labels, validation, held_out, world.seed, "shadow validation", part="pool"),
    ]
    sets = ErasureSets(world.pool, world.parts["target"], torch.cat([training, validation]), torch.cat(holdout))
    return Shadows([sets], torch.arange(count) >= count - validating, torch.zeros(count, dtype=torch.int64))


def _with_classes(labels: Tensor, source: Tensor, target: Tensor, erased: Tensor) -> tuple[Tensor, Tensor]:
    """Both sets of rows, after moving to the second set one image of each erased class that it lacks, where the first
    has more than one."""
    for label in labels[erased].unique():
        rows = source[labels[source] == label]
        if len(rows) > 1 and not bool((labels[target] == label).any()):
            target, source = torch.cat([target, rows[-1:]]), source[source != rows[-1]]
    return source, target


def _draw(
    rows: Tensor, count: int, size: int, generator: np.random.Generator, kinds: Tensor | None, part: str
) -> Tensor:
    """Rows i64[count, size], none twice before all have been used; with `kinds`, of one kind each."""
    if kinds is not None:
        return _draw_of_one_kind(rows, count, size, generator, kinds[rows].cpu().numpy(), part)
    per_pass = len(rows) // size
    passes = -(-count // per_pass)
    order = np.concatenate([generator.permutation(len(rows))[: per_pass * size] for _ in range(passes)])
    return rows[torch.from_numpy(order[: count * size]).to(rows.device)].view(count, size)


def _draw_of_one_kind(
    rows: Tensor, count: int, size: int, generator: np.random.Generator, kinds: NDArray[np.int64], part: str
) -> Tensor:
    passes: list[NDArray[np.int64]] = []
    while sum(map(len, passes)) < count:
        order = generator.permutation(len(rows))
        of_kinds = [order[kinds[order] == kind] for kind in np.unique(kinds)]
        whole = np.concatenate([own[: len(own) // size * size].reshape(-1, size) for own in of_kinds])
        if not len(whole):
            raise InputError(
                f"scenario.leak.{part}",
                f"the adversary erases {size} images of one class or group, and none has so many of hers; enlarge it",
            )
        passes.append(generator.permutation(whole))
    return rows[torch.from_numpy(np.concatenate(passes)[:count]).to(rows.device)]


# --- disjoint -------------------------------------------------------------------------------------------------------


def _disjoint(world: World, models: int) -> Tensor:
    """Members i64[M, m]: for each model as many random images of the adversary's as the target model has."""
    pool, wanted = world.parts["pool"], len(world.parts["target"])
    if len(pool) <= wanted:
        raise InputError(
            "scenario.leak.pool",
            f"shadow models train on {wanted} of the adversary's images, as the target does, and compare with others;"
            f" she has {len(pool)}: enlarge pool or lower target",
        )
    generator = stream(world.seed, "shadow members")
    orders = np.stack([_order(world, pool, generator)[:wanted] for _ in range(models)])
    return pool[torch.from_numpy(orders).to(pool.device)]


def _order(world: World, rows: Tensor, generator: np.random.Generator) -> NDArray[np.int64]:
    """A random order of rows; where no group may be on two sides, of whole groups."""
    if world.groups is None:
        return generator.permutation(len(rows))
    _, groups = np.unique(world.groups[rows].cpu().numpy(), return_inverse=True)
    return np.argsort(generator.permutation(len(rows))[groups.ravel()], kind="stable")


def _disjoint_erasures(world: World, count: int, models: int, size: int) -> Shadows:
    """The last quarter of the models is for validation; the images erased from them, and their never-seen images, come
    from a fifth of the adversary's images that no other shadow uses."""
    pool, labels = world.parts["pool"], world.pool.labels
    validating = max(1, models // 4)
    if count < models or models < 2:
        raise InputError("attack.shadows", f"{count} shadows of {models} models: give 2 models, and each a shadow")
    cut = len(pool) - len(pool) // HELD_OUT
    counts = [count // models + (model < count % models) for model in range(models)]
    sets = []
    for model, members in enumerate(_disjoint(world, models)):
        own = pool[cut:] if model >= models - validating else pool[:cut]
        is_member = torch.isin(own, members)
        usable, unseen = own[is_member], own[~is_member]
        if len(usable) < size:
            raise InputError("scenario.leak.pool", f"too small to erase {size} images from a shadow model; enlarge it")
        generator = stream(world.seed, "shadow images", model)
        erased = _draw(usable, counts[model], size, generator, world.kinds, "pool")
        holdout = matched(labels, erased, unseen, world.seed, "shadow", model, part="pool")
        sets.append(ErasureSets(world.pool, members, erased, holdout))
    model_of = torch.repeat_interleave(torch.arange(models), torch.tensor(counts))
    return Shadows(sets, model_of >= models - validating, model_of)


# --- in and out -----------------------------------------------------------------------------------------------------


def _halves(world: World, models: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Members i64[M, m], and for each model the candidates among them and those that are not, ordered by class.

    Two consecutive models have complementary halves, so that every candidate is a member of half of the models. Where
    erasures are of one kind, candidates are whole sets, a target's and those that it is compared with: i64[n, s].
    """
    assert world.targets.holdout is not None
    pool, erased = world.parts["pool"], world.targets.erased
    if world.kinds is None:
        candidates = torch.cat([erased, world.targets.holdout], 1).flatten()
        alike = world.pool.labels[candidates]
    else:
        compared = world.targets.holdout.view(*erased.shape, -1).transpose(1, 2)
        candidates = torch.cat([erased[:, None], compared], 1).flatten(0, 1)
        alike = torch.arange(len(erased)).repeat_interleave(len(candidates) // len(erased)).to(erased)
    if models < 2 or models % 2:
        raise InputError("attack", f"{models} models with and without each candidate: give an even number")
    filling = len(world.parts["target"]) - candidates.numel() // 2
    if not 0 <= filling <= len(pool):
        raise InputError(
            "scenario.leak",
            f"models with half of {candidates.numel()} candidates need {filling} of the adversary's images to be as"
            f" large as the target's; she has {len(pool)}: lower targets or enlarge pool",
        )
    members, inside, outside = [], list[Tensor](), list[Tensor]()
    for model in range(models):
        generator = stream(world.seed, "halves", model)
        if model % 2:
            inside.append(outside[-1])
            outside.append(inside[-2])
        else:
            halves = [_half(candidates[alike == one], generator) for one in alike.unique()]
            inside.append(torch.cat([half[0] for half in halves]))
            outside.append(torch.cat([half[1] for half in halves]))
        fill = pool[torch.from_numpy(generator.permutation(len(pool))[:filling]).to(pool.device)]
        rows = torch.cat([inside[-1].flatten(), fill])
        members.append(rows[torch.from_numpy(generator.permutation(len(rows))).to(rows.device)])
    return torch.stack(members), inside, outside


def _half(rows: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Two random halves; `negatives` is odd, so the number is even."""
    order = torch.from_numpy(generator.permutation(len(rows))).to(rows.device)
    return rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]


def _in_and_out_erasures(world: World, models: int, size: int) -> Shadows:
    """From each model all candidates that are members, s at a time, each with a candidate of its class that is not."""
    sets = []
    members, inside, outside = _halves(world, models)
    for model in range(models):
        order = torch.from_numpy(stream(world.seed, "in and out", model).permutation(len(inside[model])))
        own, others = (side[model][order.to(members.device)].view(-1, size) for side in (inside, outside))
        sets.append(ErasureSets(world.pool, members[model], own, others))
    each = inside[0].numel() // size
    return Shadows(sets, torch.zeros(models * each, dtype=torch.bool), torch.arange(models).repeat_interleave(each))
