"""The outputs of n erasures on probes and candidates: all that update attacks ever see, stored in place of n models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearnbench.observation import observe
from unlearnbench.plugin import Access, Updates
from unlearnbench.scenario import World
from unlearnbench.seeding import stream
from unlearnbench.sets import ErasureSets
from unlearnbench.stack import Stack

_FIELDS = (
    "probe_before_mean", "probe_before_logits", "probe_after_mean", "probe_after_logits",
    "candidates_before_mean", "candidates_before_logits", "candidates_after_mean", "candidates_after_logits",
    "candidate_rows", "candidate_erased", "erased_rows",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Erasures:
    """n erasures of s images, c = 2 s candidates each: the erased ones and as many never-seen of the same classes.

    Outputs are means of p(Z|X), f32[n, ., J], and logits at them, f32[n, ., Y]; `probe_before_*` has 1 row where all
    erasures start from one original. Rows are rows of the world's pool.
    """

    probe_before_mean: Tensor
    probe_before_logits: Tensor
    probe_after_mean: Tensor
    probe_after_logits: Tensor
    candidates_before_mean: Tensor
    candidates_before_logits: Tensor
    candidates_after_mean: Tensor
    candidates_after_logits: Tensor
    candidate_rows: Tensor  # i64[n, c]
    candidate_erased: Tensor  # bool[n, c]
    erased_rows: Tensor  # i64[n, s]

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in _FIELDS}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Erasures:
        return cls(**{name: tensors[name] for name in _FIELDS})

    def updates(self, access: Access, world: World) -> Updates:
        """As seen with an access."""
        level, temperature = access.level, access.temperature
        rows = self.candidate_rows.to(world.pool.labels.device)
        return Updates(
            observe(level, self.probe_before_mean, self.probe_before_logits, temperature),
            observe(level, self.probe_after_mean, self.probe_after_logits, temperature),
            world.pool.pixels[rows].cpu(),
            world.pool.labels[rows].cpu(),
            observe(level, self.candidates_before_mean, self.candidates_before_logits, temperature),
            observe(level, self.candidates_after_mean, self.candidates_after_logits, temperature),
        )


def observe_erasures(before: Stack, after: Stack, sets: ErasureSets, world: World, purpose: str) -> Erasures:
    """Query models before and after on the probe images and on each erasure's own candidates.

    Args:
        before: 1 original, or n.
        after: n models.
        sets: the erasures, with class-matched never-seen images as `holdout`.
        purpose: names the stream that shuffles candidates, so that their order says nothing.
    """
    assert sets.holdout is not None
    count, size = sets.erased.shape
    generator = stream(world.seed, "candidate order", purpose)
    order = torch.from_numpy(generator.random((count, 2 * size)).argsort(1)).to(sets.erased.device)
    candidates = torch.cat([sets.erased, sets.holdout], 1).gather(1, order)
    probe = world.images("probe").pixels
    images = world.pool.pixels[candidates]
    outputs = [*before.outputs(probe), *after.outputs(probe), *before.own_outputs(images), *after.own_outputs(images)]
    tensors = [*(output.float().cpu() for output in outputs), candidates.cpu(), (order < size).cpu(), sets.erased.cpu()]
    return Erasures.of_tensors(dict(zip(_FIELDS, tensors, strict=True)))


def concatenate(parts: list[Erasures]) -> Erasures:
    """All erasures, in order; a shared original stays one row."""
    shared = all(part.probe_before_mean.shape[0] == 1 for part in parts)
    joined = {}
    for name in _FIELDS:
        values = [getattr(part, name) for part in parts]
        joined[name] = values[0] if shared and name.startswith("probe_before") else torch.cat(values)
    return Erasures(**joined)
