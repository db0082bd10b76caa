"""The parts of a leak experiment whose targets erase by group, such as all images of a person
(docs/protocol.md#like-with-like).

No group is on two sides: its images are all in one part, and no part has more of a group than one erasure takes. What
is not erased of an erased group is trained on by nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.erasure_choice import ErasureChoice
from unlearnbench.splits.images import Images
from unlearnbench.system.errors import InputError
from unlearnbench.system.seeding import stream

_Rows = NDArray[np.int64]


def draw_by_group(
    train: Images, groups: Tensor, scenario: Scenario, seed: int
) -> tuple[dict[str, Tensor], ErasureChoice]:
    """The parts, as those of other leak experiments, and what targets erase and compare with.

    Args:
        groups: i64[N], the group of each training image.

    Raises:
        InputError: too few images, or too few groups that are alike.
    """
    size, sizes, negatives = scenario.erased_count, scenario.leak, scenario.negatives
    assert size is not None
    assert sizes is not None
    generator, labels = stream(seed, "groups"), train.labels.cpu().numpy()
    wanted = {
        "known": sizes.known, "candidates": sizes.target - sizes.known, "spare": sizes.spare, "pool": sizes.pool,
        "probe": sizes.probe, "validation": sizes.validation,
    }  # fmt: skip
    if (needed := scenario.targets * negatives * size) > sizes.spare:
        raise InputError("scenario.leak.spare", f"{needed} never-seen images are compared with; it has {sizes.spare}")
    sides = _dealt(_shuffled(groups.cpu().numpy(), generator), wanted, size)
    units, passed_over, others = _alike(sides["candidates"], sides["spare"], labels, scenario, generator)
    found = {name: _firsts(sides[name], size)[:count] for name, count in wanted.items()}
    for number, (name, rest) in enumerate((("candidates", "unerased"), ("spare", "uncompared"))):
        chosen = (units[:, 1:] if number else units[:, 0]).flatten()
        room = wanted[name] - len(chosen)
        # What is too much is left out of every part. It is never of a group that was chosen.
        found[rest] = _firsts(passed_over[number], size)[:room]
        found[name] = np.concatenate([chosen, found[rest], _firsts(others[number], size)[: room - len(found[rest])]])
    # A method that trains its own model must not recognise erased images by their place. The adversary's images stay
    # together by group.
    found["target"] = np.concatenate([found["known"], found["candidates"]])
    for name in ("target", "candidates", "spare", "unerased", "uncompared"):
        found[name] = generator.permutation(found[name])
    parts = {name: torch.from_numpy(rows).to(train.labels.device) for name, rows in found.items()}
    unerased, uncompared = parts.pop("unerased"), parts.pop("uncompared")
    erased, holdout = torch.from_numpy(units[:, 0]), torch.from_numpy(units[:, 1:]).transpose(1, 2)
    choice = ErasureChoice(
        train, torch.arange(len(train), device=train.labels.device), erased.to(train.labels.device),
        holdout.reshape(len(units), -1).to(train.labels.device), unerased, uncompared,
    )  # fmt: skip
    return parts, choice


def _firsts(groups: Sequence[_Rows], size: int) -> _Rows:
    """The first `size` rows of each group, or all that it has."""
    return np.concatenate([np.empty(0, dtype=np.int64), *(rows[:size] for rows in groups)])


def _shuffled(groups: _Rows, generator: np.random.Generator) -> Iterator[_Rows]:
    """The rows of each group: the groups, and the rows in each, in random order."""
    order = generator.permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    of_group = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return (of_group[place] for place in generator.permutation(len(of_group)))


def _dealt(groups: Iterator[_Rows], wanted: dict[str, int], size: int) -> dict[str, list[_Rows]]:
    """Whole groups for each part, until it has enough images if it takes `size` of each group and no more."""
    sides: dict[str, list[_Rows]] = {name: [] for name in wanted}
    given = dict.fromkeys(wanted, 0)
    for rows in groups:
        name = next((name for name in wanted if given[name] < wanted[name]), None)
        if name is None:
            return sides
        sides[name].append(rows)
        given[name] += min(len(rows), size)
    short = next((name for name in wanted if given[name] < wanted[name]), None)
    if short is not None:
        raise InputError(
            "scenario.leak",
            f"its parts need {sum(wanted.values())} training images, in whole groups and {size} of a group at most, and"
            f" those are too few for '{short}': {sum(given.values())} fit; lower its sizes, or erase more of a group",
        )
    return sides


def _alike(
    candidates: Sequence[_Rows],
    spare: Sequence[_Rows],
    labels: _Rows,
    scenario: Scenario,
    generator: np.random.Generator,
) -> tuple[_Rows, list[list[_Rows]], list[list[_Rows]]]:
    """For each target a group of candidates, and `negatives` groups of never-seen images, each from a block of its own.

    All blocks have equally many groups. For a target, a random block offers s random images of a random group; from
    every other block comes a random group that has as many images of each class, and random ones of these. So blocks
    are alike, and being chosen says nothing about which of them a group is from.

    Returns:
        i64[T, 1 + m, s], with images of the same classes in the same places; of either part the groups that took part
        and were not chosen; and those that took no part.
    """
    size, blocks = scenario.erased_count, 1 + scenario.negatives
    assert size is not None
    first, second = ([rows for rows in part if len(rows) >= size] for part in (candidates, spare))
    count = min(len(first), len(second) // scenario.negatives)
    if count < scenario.targets:
        part = "target" if len(first) < scenario.targets else "spare"
        raise InputError(
            f"scenario.leak.{part}",
            f"{scenario.targets} targets erase {size} images of a group and compare with those of"
            f" {scenario.negatives} others; of groups with so many images there are {len(first)} that may be erased and"
            f" {len(second)} never-seen ones: enlarge {part}, or lower targets or erased_count",
        )
    groups = [*first[:count], *second[: scenario.negatives * count]]
    classes = int(labels.max()) + 1
    has = np.stack([np.bincount(labels[rows], minlength=classes) for rows in groups]).reshape(blocks, count, classes)
    unused = np.ones((blocks, count), dtype=bool)
    units = np.empty((scenario.targets, blocks, size), dtype=np.int64)
    for target in range(scenario.targets):
        for offered in generator.permutation(np.flatnonzero(unused)):
            seen = np.sort(labels[generator.permutation(groups[offered])[:size]])
            alike = unused & (has >= np.bincount(seen, minlength=classes)).all(-1)
            if alike.any(1).all():
                break
        else:
            raise InputError(
                "scenario.leak",
                f"for target {target + 1} of {scenario.targets} no {blocks} groups are left that have {size} images of"
                " the same classes; lower targets, negatives or erased_count, or enlarge target and spare",
            )
        places = generator.permutation(size)  # the same for all: classes stay in their places
        for block in range(blocks):
            own = offered - block * count
            place = own if 0 <= own < count else generator.choice(np.flatnonzero(alike[block]))
            unused[block, place] = False
            units[target, block] = _of_classes(groups[block * count + place], labels, seen, generator)[places]
    free = [[groups[place] for place in np.flatnonzero(unused.flatten()) if (place >= count) == spare_ones]
            for spare_ones in (False, True)]  # fmt: skip
    took_part = {int(rows[0]) for rows in groups}
    others = [[rows for rows in part if int(rows[0]) not in took_part] for part in (candidates, spare)]
    return units, free, others


def _of_classes(rows: _Rows, labels: _Rows, wanted: _Rows, generator: np.random.Generator) -> _Rows:
    """Random rows whose labels are `wanted`, which are sorted."""
    order = generator.permutation(rows)
    own = labels[order]
    kinds, counts = np.unique(wanted, return_counts=True)
    return np.concatenate([order[own == kind][:count] for kind, count in zip(kinds, counts, strict=True)])
