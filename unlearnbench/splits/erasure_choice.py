"""Which candidates are erased, and which never-seen images they are compared with, by one rule
(docs/protocol.md#like-with-like).

Erased images, and the never-seen images that they are compared with, must be chosen alike: otherwise members could be
distinguished without asking any model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlearnbench.settings.scenario import CHOSEN_BY_MODELS, Scenario
from unlearnbench.splits.entanglement import nearness
from unlearnbench.splits.images import Images
from unlearnbench.system.errors import InputError
from unlearnbench.system.seeding import stream

_Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ErasureChoice:
    """_Rows of a pool.

    Attributes:
        pool: the images; with wrong labels, relabelled copies follow the given ones.
        moved: i64[N], the row of each given image now: its own, or that of its relabelled copy.
        erased: i64[T, s].
        holdout: i64[T, m s], for each erased image m never-seen ones of its class.
        unerased: i64[n], candidates that the rule could have chosen and did not.
        uncompared: i64[n], never-seen images that it could have chosen and did not.
    """

    pool: Images
    moved: Tensor
    erased: Tensor
    holdout: Tensor
    unerased: Tensor
    uncompared: Tensor


def choose(
    pool: Images, parts: Mapping[str, Tensor], scenario: Scenario, seed: int, scores: Tensor | None
) -> ErasureChoice:
    """Draw the erased images of all targets and what they are compared with.

    Args:
        parts: rows of the pool in random order, among them `candidates` (training images that may be erased), `known`
            (those that never are) and `spare` (never-seen images).
        scores: f32[N], those of the stage `select`, where models choose. Without them any candidates are taken, which
            is enough where it does not matter what is erased (training the original).

    Raises:
        InputError: too few images.
    """
    size, candidates, spare = scenario.erased_count, parts["candidates"], parts["spare"]
    assert size is not None
    count, chosen_by_models = scenario.targets * size, scenario.erased in CHOSEN_BY_MODELS
    if scenario.erased == "entangled":
        scores = nearness(pool, parts["known"], torch.cat([candidates, spare]))
    if scenario.erased == "entangled" or (chosen_by_models and scores is not None):
        assert scores is not None
        erased, holdout, left, unseen = _best_scored(
            pool.labels, candidates, spare, count, scenario.negatives, seed, scores
        )
        return _arranged(pool, torch.arange(len(pool)), erased, holdout, left, unseen, scenario)
    erased, left = candidates[:count], candidates[count:]
    if chosen_by_models:  # nothing is asked about yet: any never-seen images will do
        places = torch.arange(count * scenario.negatives, device=spare.device) % len(spare)
        return _arranged(pool, torch.arange(len(pool)), erased, spare[places], left, spare, scenario)
    if scenario.erased == "mislabelled":
        return _mislabelled(pool, erased, left, spare, scenario, seed)
    if scenario.erased == "class":
        erased, left = _of_one_class(pool.labels, candidates, spare, scenario, seed)
    wanted = erased[:, None].expand(-1, scenario.negatives)
    holdout = matched(pool.labels, wanted, spare, seed, "holdout", once=True)
    unseen = spare[~torch.isin(spare, holdout)]
    return _arranged(pool, torch.arange(len(pool)), erased, holdout, left, unseen, scenario)


def _arranged(
    pool: Images,
    moved: Tensor,
    erased: Tensor,
    holdout: Tensor,
    unerased: Tensor,
    uncompared: Tensor,
    scenario: Scenario,
) -> ErasureChoice:
    """The choice for all targets from erased images i64[T s] and their never-seen ones i64[T s, m]."""
    return ErasureChoice(
        pool, moved.to(erased.device), erased.view(scenario.targets, -1), holdout.reshape(scenario.targets, -1),
        unerased, uncompared,
    )  # fmt: skip


# --- mislabelled ----------------------------------------------------------------------------------------------------


def _mislabelled(
    pool: Images, erased: Tensor, unerased: Tensor, spare: Tensor, scenario: Scenario, seed: int
) -> ErasureChoice:
    """Random candidates, each with a random wrong label; never-seen ones of any other class are given the same one.

    So, given the label, an erased image is of each other class with that class's share, and so is a never-seen one.
    """
    generator, classes = stream(seed, "mislabelled"), int(pool.labels.max()) + 1
    true = pool.labels.cpu().numpy()
    rows, free = erased.cpu().numpy(), spare.cpu().numpy()
    wrong = (true[rows] + generator.integers(1, classes, len(rows))) % classes
    taken = np.zeros(len(free), dtype=bool)
    holdout = np.empty((len(rows), scenario.negatives), dtype=np.int64)
    for place in generator.permutation(holdout.size):
        image, number = divmod(int(place), scenario.negatives)
        usable = np.flatnonzero(~taken & (true[free] != wrong[image]))
        if not len(usable):
            raise InputError(
                "scenario.leak.spare",
                f"{holdout.size} never-seen images are to be given wrong labels, and {len(free)} are there; enlarge it",
            )
        taken[usable[0]] = True
        holdout[image, number] = free[usable[0]]
    copied = np.concatenate([rows, holdout.flatten()])
    labels = np.concatenate([wrong, np.repeat(wrong, scenario.negatives)])
    twins = pool.take(torch.from_numpy(copied).to(pool.labels.device))
    both = Images(
        torch.cat([pool.pixels, twins.pixels]),
        torch.cat([pool.labels, torch.from_numpy(labels).to(pool.labels)]),
        torch.cat([pool.ids, twins.ids]),
    )
    moved, behind = torch.arange(len(pool)), torch.arange(len(pool), len(both))
    moved[torch.from_numpy(copied)] = behind
    behind = behind.to(erased.device)
    left = spare[torch.from_numpy(~taken).to(spare.device)]
    return _arranged(
        both, moved, behind[: len(rows)], behind[len(rows) :].view(len(rows), -1), unerased, left, scenario
    )


# --- by class -------------------------------------------------------------------------------------------------------


def _of_one_class(
    labels: Tensor, candidates: Tensor, spare: Tensor, scenario: Scenario, seed: int
) -> tuple[Tensor, Tensor]:
    """For each target a random class, in proportion to the candidates that are left of it, and its first ones.

    Returns:
        erased i64[T s], and the candidates that are left.
    """
    size = scenario.erased_count
    assert size is not None
    generator, classes = stream(seed, "class"), labels.cpu().numpy()
    first, second = candidates.cpu().numpy(), spare.cpu().numpy()
    unused = {kind: first[classes[first] == kind] for kind in np.unique(classes[first])}
    compared = {kind: int((classes[second] == kind).sum()) // (scenario.negatives * size) for kind in unused}
    erased = []
    for target in range(scenario.targets):
        enough = [kind for kind in unused if len(unused[kind]) >= size]
        usable = [kind for kind in enough if compared[kind] > 0]
        if not usable:
            part, needed = (
                ("spare", f"has {scenario.negatives * size} never-seen images") if enough else ("target", "has as many")
            )
            raise InputError(
                f"scenario.leak.{part}",
                f"each target erases {size} images of one class, and for target {target + 1} of {scenario.targets} no"
                f" class {needed} left; enlarge {part}, or lower targets or erased_count",
            )
        weights = np.array([len(unused[kind]) for kind in usable])
        kind = generator.choice(usable, p=weights / weights.sum())
        erased.append(unused[kind][:size])
        unused[kind], compared[kind] = unused[kind][size:], compared[kind] - 1
    chosen = torch.from_numpy(np.concatenate(erased)).to(candidates.device)
    return chosen, candidates[~torch.isin(candidates, chosen)]


# --- by score -------------------------------------------------------------------------------------------------------


def _best_scored(
    labels: Tensor, candidates: Tensor, spare: Tensor, count: int, negatives: int, seed: int, scores: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The `count` highest scores among the candidates, and `negatives` times as many among the never-seen images.

    In each class as many candidates take part as there are `negatives` never-seen images for each; the never-seen
    images form `negatives` sets of the same size. All sets together decide how many images of a class are chosen, and
    each set contributes that many, its highest scores. So the candidates are one of several sets that are alike, and
    being chosen says nothing about which set an image is from.

    Returns:
        erased i64[count], their never-seen images i64[count, negatives], and those of either kind that took part and
        were not chosen.
    """
    generator = stream(seed, "memorised")
    classes, score = labels.cpu().numpy(), scores.cpu().numpy()
    first, second = candidates.cpu().numpy(), spare.cpu().numpy()
    kinds = np.unique(classes[first])
    # Each candidate of a class that takes part needs its share of never-seen images.
    sizes = {
        kind: min(int((classes[first] == kind).sum()), int((classes[second] == kind).sum()) // negatives)
        for kind in kinds
    }
    if sum(sizes.values()) < count:
        raise InputError(
            "scenario.leak.spare",
            f"the targets erase {count} images, and never-seen ones of their classes are there for"
            f" {sum(sizes.values())} ({negatives} for each); enlarge spare or lower negatives",
        )
    members = {kind: _by_score(first[classes[first] == kind][: sizes[kind]], score, generator) for kind in kinds}
    # In blocks as large as the candidates of the class: the best of a larger set would have higher scores, and a hard
    # image would then more likely be a never-seen one.
    others = {
        kind: [
            _by_score(block, score, generator)
            for block in second[classes[second] == kind][: negatives * sizes[kind]].reshape(negatives, -1)
        ]
        for kind in kinds
    }
    every = [*members.values(), *(block for blocks in others.values() for block in blocks)]
    both = _by_score(np.concatenate(every), score, generator)[: (1 + negatives) * count]
    shares = {kind: float((classes[both] == kind).sum()) / (1 + negatives) for kind in kinds}
    wanted = _apportioned(shares, sizes, count)
    erased = np.concatenate([members[kind][: wanted[kind]] for kind in kinds])
    theirs = np.concatenate(
        [np.stack([generator.permutation(b[: wanted[kind]]) for b in others[kind]], 1) for kind in kinds]
    )
    order = generator.permutation(count)
    left = np.concatenate([members[kind][wanted[kind] :] for kind in kinds])
    unseen = np.concatenate([block[wanted[kind] :] for kind in kinds for block in others[kind]])
    found = (erased[order], theirs[order], generator.permutation(left), generator.permutation(unseen))
    first_, second_, third, fourth = (torch.from_numpy(rows).to(candidates.device) for rows in found)
    return first_, second_, third, fourth


def _by_score(rows: _Rows, score: NDArray[np.floating[Any]], generator: np.random.Generator) -> _Rows:
    """Rows with the highest score first, ties in random order."""
    return rows[np.lexsort((generator.random(len(rows)), -score[rows]))]


def _apportioned(shares: dict[int, float], most: dict[int, int], count: int) -> dict[int, int]:
    """Whole numbers near `shares`, none above `most`, that sum to `count`: by largest remainders."""
    given = {kind: min(int(share), most[kind]) for kind, share in shares.items()}
    while (missing := count - sum(given.values())) > 0:
        open_ = [kind for kind in given if given[kind] < most[kind]]
        for kind in sorted(open_, key=lambda kind: given[kind] - shares[kind])[:missing]:
            given[kind] += 1
    return given


# --- matching -------------------------------------------------------------------------------------------------------


def matched(
    labels: Tensor, erased: Tensor, source: Tensor, seed: int, *purpose: str | int, once: bool = False,
    part: str = "spare",
) -> Tensor:  # fmt: skip
    """For every erased image a never-seen one of the same class (docs/protocol.md#like-with-like).

    No image is taken twice before its class is used up: a repeated image would be recognised as never-seen.

    Args:
        labels: i64[N] of the pool.
        erased: i64[n, s] rows.
        source: i64[m] rows to choose from.
        once: refuse to take an image twice.
        part: the setting of scenario.leak that would give more rows, for the error.

    Returns:
        i64[n, s] rows of `source`.

    Raises:
        InputError: `source` has no images, or too few, of an erased class.
    """
    generator = stream(seed, "matched", *purpose)
    classes, rows = labels.cpu().numpy(), erased.cpu().numpy()
    options, wanted = source.cpu().numpy(), classes[rows]
    result = np.empty_like(rows)
    for label in np.unique(wanted):
        own = options[classes[options] == label]
        places = wanted == label
        count = int(places.sum())
        if len(own) == 0 or (once and len(own) < count):
            who = "adversary erases" if part in ("pool", "known") else "targets erase"
            each = "" if rows.shape[1] == 1 or part != "spare" else f", {rows.shape[1]} for each erased one"
            enough = -(-len(options) * (count + 1) // (len(own) + 1))  # of which a like share is of this class
            needed = "remaining" if part == "target" else "never-seen"
            raise InputError(
                f"scenario.leak.{part}",
                f"the {who} images of class {label} that need {count} {needed} ones{each}, and {len(own)} are there"
                f" to compare with; enlarge {part} or erase fewer: it has {len(options)} images, and some {enough}"
                " would do",
            )
        passes = [generator.permutation(own) for _ in range(-(-count // len(own)))]
        result[places] = np.concatenate(passes)[:count]
    return torch.from_numpy(result).to(erased.device)
