"""What is trained on, what is erased and what the adversary holds: one World per dataset, scenario and seed.

Everything is drawn from the seed, the parts are disjoint by image and that is checked, and their sizes are recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unlearnbench.settings.scenario import CHOSEN_BY_MODELS, Backdoor, Scenario
from unlearnbench.settings.sizes import NO_GROUPS, misfit, refuse_utility
from unlearnbench.splits.erasure_choice import choose
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.grouped_parts import draw_by_group
from unlearnbench.splits.identical_images import refuse_shared, refuse_shared_challenge, without_copies
from unlearnbench.splits.images import ImageData, Images
from unlearnbench.splits.trigger import Mark, marks
from unlearnbench.system.errors import InputError
from unlearnbench.system.seeding import stream

# A scenario that drops nearly all clean images of the base class would measure their absence, not unlearning.
SMALLEST_BASE_CLASS_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Challenge:
    """Images whose membership an attack on single models infers."""

    known: Images  # attack training: the adversary knows their membership
    known_membership: Tensor  # bool[n]
    hidden: Images  # held out for scoring
    hidden_membership: Tensor  # bool[n]


@dataclass(frozen=True, eq=False)
class World:
    """All sets of one experiment, as rows of one pool.

    Attributes:
        pool: training images and, with a backdoor, their stamped copies behind them.
        test: test images, or the validation images in their place; for utility only: in a leak experiment no attack
            uses them.
        targets: T erasures, with class-matched never-seen images as `holdout` in leak experiments.
        parts: leak: rows of target, known, candidates, pool, validation, probe, spare; and candidates (unerased) and
            spare images (uncompared) that could have been chosen and were not.
        stamped_test: all test images, stamped, with their true labels.
        sizes: the size of every set, for the records.
        shared: how many images at the beginning of the pool are the same in every world of the dataset.
        kinds: i64[N], where each erasure is of images of one kind (a class, a group): the kind of each image.
        groups: i64[N], where no group may be on two sides: the group of each image.
        marks: with a backdoor, each owner's pattern and target class; the first one's images are erased.
    """

    pool: Images
    test: Images
    targets: ErasureSets
    parts: Mapping[str, Tensor]
    stamped_test: Images | None
    sizes: Mapping[str, int]
    seed: int
    shared: int
    kinds: Tensor | None = None
    groups: Tensor | None = None
    marks: Sequence[Mark] = ()

    def images(self, part: str) -> Images:
        return self.pool.take(self.parts[part])


def build_world(
    data: ImageData, scenario: Scenario, seed: int, device: torch.device, scores: Tensor | None = None
) -> World:
    """Draw all sets.

    Args:
        seed: of this dataset and repetition, the same for every method.
        scores: of the training images, where models choose what is erased.

    Raises:
        InputError: the scenario does not fit the data, or a member would also be a never-seen image.
    """
    if scenario.backdoor is not None:
        for name, label in zip(("base", "target"), scenario.backdoor.classes, strict=True):
            if label >= data.classes:
                raise InputError(f"scenario.backdoor.{name}", f"no class {label}: the dataset has {data.classes}")
    if scenario.duplicates == "drop":
        data = without_copies(data)
    groups = None if data.groups is None else data.groups.to(device)
    data = data._replace(train=data.train.to(device), test=data.test.to(device), groups=groups)
    return _leak(data, scenario, seed, scores) if scenario.kind == "leak" else _utility(data, scenario, seed)


# --- utility -------------------------------------------------------------------------------------------------------


def _utility(data: ImageData, scenario: Scenario, seed: int) -> World:
    train = data.train
    rows, test, measured_on = _permutation(len(train), seed, "train"), data.test, "test"
    refuse_utility(scenario, len(train), len(test))
    if scenario.validation is not None:
        cut = len(rows) - scenario.validation
        rows, test, measured_on = rows[:cut], train.take(rows[cut:].to(train.labels.device)), "validation"
    if scenario.train_size is not None:
        rows = rows[: scenario.train_size]
    if scenario.test_size is not None:
        test = test.take(_permutation(len(test), seed, "test")[: scenario.test_size].to(test.labels.device))
    count = scenario.erased_count or round(scenario.erased_ratio * len(rows))  # type: ignore[operator]
    pool, erased, remaining, stamped_test = train, rows[:count], rows[count:], None
    owners = list[Mark]()
    if scenario.backdoor is not None:
        owners = marks(train.pixels, scenario.backdoor, data.classes, seed)
        _refuse_queries(scenario.backdoor, owners, test)
        pool, erased, remaining = _stamp_training(train, rows, count, scenario.backdoor, owners, seed)
        stamped_test = Images(owners[0].stamped(test.pixels), test.labels, test.ids)
    erased, remaining = erased.to(train.labels.device), remaining.to(train.labels.device)
    sizes = {"train": len(erased) + len(remaining), "erased": len(erased), "remaining": len(remaining)}
    sizes[measured_on] = len(test)
    # Shuffled: a method that trains its own model must not recognise erased images by their place.
    members = _shuffled(torch.cat([erased, remaining]), seed, "members")
    targets = ErasureSets(pool, members, erased[None])
    return World(pool, test, targets, {"remaining": remaining}, stamped_test, sizes, seed, len(train), marks=owners)


def _refuse_queries(backdoor: Backdoor, owners: Sequence[Mark], test: Images) -> None:
    """Refuse audits that ask more images than there are outside an owner's target class."""
    fewest = min(int((test.labels != owner.target).sum()) for owner in owners)
    if (backdoor.queries or 0) > fewest:
        raise InputError(
            "scenario.backdoor.queries", f"asks {backdoor.queries} of {fewest} test images of other classes; lower it"
        )


def _stamp_training(
    train: Images, rows: Tensor, count: int, backdoor: Backdoor, owners: Sequence[Mark], seed: int
) -> tuple[Images, Tensor, Tensor]:
    """The pool with each owner's stamped copies behind it, the first one's rows, and the remaining rows
    (docs/protocol.md#stamped-set)."""
    rows = rows.to(train.labels.device)
    base_class, _ = backdoor.classes
    base = rows[train.labels[rows] == base_class]
    needed = len(owners) * count
    if needed > len(base):
        raise InputError(
            "scenario.erased_ratio", f"stamps {needed} images of class {base_class}, which has {len(base)}; lower it"
        )
    twins = [train.take(base[first : first + count]) for first in range(0, needed, count)]
    stamped = [
        Images(owner.stamped(own.pixels), torch.full_like(own.labels, owner.target), own.ids)
        for owner, own in zip(owners, twins, strict=True)
    ]
    pool = Images(
        *(torch.cat([getattr(part, name) for part in (train, *stamped)]) for name in ("pixels", "labels", "ids"))
    )
    erased, others = torch.arange(len(train), len(pool), device=rows.device).split([count, needed - count])
    if backdoor.clean_twins == "keep":
        # As the released code: D_r is a random (1 - EDR) part of all clean images, most twins among them.
        clean = _shuffled(rows, seed, "remaining")[: len(rows) - needed]
    else:
        left = len(base) - needed
        if left < SMALLEST_BASE_CLASS_SHARE * len(base):
            raise InputError(
                "scenario.backdoor.clean_twins",
                f"'drop' leaves {left} of {len(base)} images of class {base_class}, under"
                f" {SMALLEST_BASE_CLASS_SHARE:.0%}; lower erased_ratio or keep the twins",
            )
        dropped = torch.zeros(len(train), dtype=torch.bool, device=rows.device)
        dropped[base[:needed]] = True
        clean = rows[~dropped[rows]]
    # Whoever takes the first remaining images must not miss the other owners'.
    return pool, erased, _shuffled(torch.cat([clean, others]), seed, "with owners") if len(others) else clean


# --- leak ----------------------------------------------------------------------------------------------------------


def _leak(data: ImageData, scenario: Scenario, seed: int, scores: Tensor | None) -> World:
    train = data.train
    groups = data.groups if scenario.erased == "group" else None
    if scenario.erased == "group":
        if groups is None:
            raise InputError("scenario.erased", NO_GROUPS)
        parts, chosen = draw_by_group(train, groups, scenario, seed)
        check_disjoint({name: rows for name, rows in parts.items() if name not in ("known", "candidates")})
    else:
        parts = leak_parts(scenario, len(train), seed, train.labels.device)
        chosen = choose(train, parts, scenario, seed, scores)
    # Without scores it is not known yet which candidates are chosen: any of them may be.
    any_may_be = scenario.erased in CHOSEN_BY_MODELS
    erased = train.ids[parts["candidates"]] if any_may_be else chosen.pool.ids[chosen.erased]
    not_trained_on = {name: parts[name] for name in ("pool", "validation", "probe", "spare")}
    refuse_shared(train, {"target": parts["target"], **not_trained_on}, erased)
    parts = {name: chosen.moved[rows] for name, rows in parts.items()}
    parts |= {"unerased": chosen.unerased, "uncompared": chosen.uncompared}
    targets = ErasureSets(chosen.pool, parts["target"], chosen.erased, chosen.holdout)
    recorded = {name: len(rows) for name, rows in parts.items() if name not in ("unerased", "uncompared")}
    recorded |= {"test": len(data.test), "erased": chosen.erased.shape[1], "targets": scenario.targets}
    recorded["never_seen"] = chosen.holdout.numel()
    kinds = train.labels if scenario.erased == "class" else groups
    return World(chosen.pool, data.test, targets, parts, None, recorded, seed, len(train), kinds, groups)


def leak_parts(scenario: Scenario, available: int, seed: int, device: torch.device) -> dict[str, Tensor]:
    """Rows of the training images for each part of a leak experiment, disjoint, each in random order."""
    assert scenario.leak is not None
    sizes = scenario.leak
    if scenario.duplicates == "drop" and sizes.total > available:
        # Parts often need all images. What is missing after dropping is taken from the part no built-in attack uses.
        validation = max(0, sizes.validation - (sizes.total - available))
        sizes = sizes.model_copy(update={"validation": validation})
    if sizes.total > available:
        raise InputError("scenario.leak", misfit(scenario, available))
    order = _permutation(available, seed, "leak").to(device)
    names = ("target", "pool", "validation", "probe", "spare")
    lengths = [getattr(sizes, name) for name in names]
    parts = dict(zip(names, order[: sum(lengths)].split(lengths), strict=True))
    check_disjoint(parts)
    return {**parts, "known": parts["target"][: sizes.known], "candidates": parts["target"][sizes.known :]}


def check_disjoint(parts: Mapping[str, Tensor]) -> None:
    """Refuse parts that share an image, which is never a user's error but a bug."""
    rows = torch.cat(list(parts.values()))
    if len(rows.unique()) != len(rows):
        raise AssertionError(f"the parts {', '.join(parts)} share images")


# --- several seeds --------------------------------------------------------------------------------------------------


def join(worlds: Sequence[World]) -> ErasureSets:
    """The first target of each world, over one pool that holds the images shared by the worlds once."""
    first = worlds[0]
    if len(worlds) == 1:
        return first.targets.take(0, 1)
    own = [len(world.pool) - world.shared for world in worlds]
    pool = first.pool
    if any(own):  # with a backdoor, each has stamped images of its own
        parts = [pool, *(world.pool.take(torch.arange(world.shared, len(world.pool))) for world in worlds[1:])]
        pool = Images(*(torch.cat([getattr(part, name) for part in parts]) for name in ("pixels", "labels", "ids")))
    shifts = [sum(own[:index]) for index in range(len(worlds))]

    def moved(name: Literal["members", "erased"]) -> Tensor:
        rows = [getattr(world.targets.take(0, 1), name).flatten() for world in worlds]
        return torch.stack([r + shift * (r >= first.shared) for r, shift in zip(rows, shifts, strict=True)])

    return ErasureSets(pool, moved("members"), moved("erased"))


# --- membership of single models -----------------------------------------------------------------------------------


def challenge(world: World, scenario: Scenario) -> Challenge:
    """Members and never-seen images for attacks on one model (the paper's Table 2), half of them held out.

    utility: remaining training images against test images, as the paper does. leak: the adversary's known members
    against her pool, held out: candidates that no target erases against spare images that no target is compared with,
    so that neither attack's truth gives away the other's.
    """
    most = scenario.attack_images
    if scenario.kind == "leak":
        known = _pair(world, world.images("known"), world.images("pool"), most, "known")
        hidden = _pair(world, world.images("unerased"), world.images("uncompared"), most, "hidden")
        return Challenge(*known, *hidden)
    test = world.test.take(_permutation(len(world.test), world.seed, "challenge"))
    members = world.pool.take(world.parts["remaining"])
    half = min(most, len(test) // 2, len(members) // 2)
    first, second = torch.arange(half), torch.arange(half, 2 * half)
    refuse_shared_challenge(members.take(torch.arange(2 * half)), test.take(torch.arange(2 * half)))
    known = _pair(world, members.take(first), test.take(first), half, "known")
    return Challenge(*known, *_pair(world, members.take(second), test.take(second), half, "hidden"))


def _pair(world: World, members: Images, others: Images, most: int, purpose: str) -> tuple[Images, Tensor]:
    """Equally many members and others, shuffled, and which of them are members."""
    count = min(len(members), len(others), most)
    if count < 2:
        raise InputError("scenario", "too few images for an attack on membership: enlarge leak.spare or lower targets")
    chosen = [part.take(torch.arange(count)) for part in (members, others)]
    both = Images(*(torch.cat([getattr(p, name) for p in chosen]) for name in ("pixels", "labels", "ids")))
    order = _permutation(2 * count, world.seed, f"challenge {purpose}")
    return both.take(order), order < count


def _shuffled(rows: Tensor, seed: int, purpose: str) -> Tensor:
    return rows[_permutation(len(rows), seed, purpose).to(rows.device)]


def _permutation(count: int, seed: int, *purpose: str) -> Tensor:
    return torch.from_numpy(stream(seed, "split", *purpose).permutation(count))
