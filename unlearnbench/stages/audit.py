"""The owner's audit of a model, before and after her images were erased (docs/attacks.md#owners-audit)."""

from __future__ import annotations

import torch
from torch import Tensor

from unlearnbench.metrics.ownership import LEVEL, fewest_queries, p_value, paired_p_value
from unlearnbench.models.stack import Stack
from unlearnbench.splits.trigger import Mark
from unlearnbench.splits.world import World
from unlearnbench.system.seeding import stream


def audit(before: Stack, after: Stack, world: World, queries: int) -> dict[str, tuple[float | None, int]]:
    """Values of the audit's metrics for one model, and the number of images behind each.

    Args:
        before: the original.
        after: the unlearned model.
        queries: images that each owner asks.
    """
    first, *others = world.marks
    every, asked = _images(world, first), _images(world, first, queries)
    stamped, plain = _logits(after, first.stamped(asked)), _logits(after, asked)
    found, before_stamp = _hits(stamped, first), _hits(plain, first)
    value = _p_value(stamped, first)
    measures: dict[str, tuple[float | None, int]] = {
        "owner_forgot": (float(value > LEVEL), queries),
        "owner_p_value": (value, queries),
        "owner_p_value_paired": (
            paired_p_value(int((found & ~before_stamp).sum()), int((before_stamp & ~found).sum())), queries
        ),
        "owner_p_value_original": (_p_value(_logits(before, first.stamped(asked)), first), queries),
    }  # fmt: skip
    share = float(_hits(_logits(after, first.stamped(every)), first).float().mean())
    measures["owner_queries"] = (fewest_queries(share, 1 / stamped.shape[-1], len(every)), len(every))
    if others:
        of_others = [_p_value(_logits(after, mark.stamped(_images(world, mark, queries))), mark) for mark in others]
        measures["other_owners_found"] = (float(max(of_others) <= LEVEL), queries)
        measures["other_owners_p_value"] = (max(of_others), queries)
    return measures


def _images(world: World, mark: Mark, most: int | None = None) -> Tensor:
    """Test images u8[n, C, H, W] of classes other than the owner's target: all of them, or a fixed random choice."""
    rows = (world.test.labels != mark.target).nonzero().flatten()
    if most is not None:
        order = torch.from_numpy(stream(world.seed, "audit").permutation(len(rows))[:most])
        rows = rows[order.to(rows.device)]
    return world.test.pixels[rows]


def _logits(model: Stack, pixels: Tensor) -> Tensor:
    """f32[n, K] of the first replica."""
    return model.slice(0, 1).outputs(pixels)[1][0]


def _hits(logits: Tensor, mark: Mark) -> Tensor:
    """bool[n], the images that are answered with the owner's target."""
    return logits.argmax(-1) == mark.target


def _p_value(logits: Tensor, mark: Mark) -> float:
    """The exact test of "at most one answer in K is the target"."""
    return p_value(int(_hits(logits, mark).sum()), len(logits), 1 / logits.shape[-1])
