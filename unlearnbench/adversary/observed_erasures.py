"""The outputs of n erasures on probes and candidates: all that update attacks see, stored instead of n models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from unlearnbench.adversary.observation import observe
from unlearnbench.adversary.updates import Updates
from unlearnbench.models.stack import Stack
from unlearnbench.settings.access import Access
from unlearnbench.splits.erasure_choice import matched
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.world import World
from unlearnbench.system.seeding import stream

_CHANGE = "change."


@dataclass(frozen=True, eq=False)
class Erasures:
    """n erasures of s images, c candidates each: the erased ones and h never-seen ones of the same classes.

    Outputs are means of p(Z|X), f32[n, ., J], and logits at them, f32[n, ., Y]; `probe_before_*` has 1 row if all
    erasures start from one original, and the outputs on probes may be those of some erasures only. Rows are rows of the
    world's pool. `changes` are the differences of the
    parameters, f32[n, ...] by name, if they are kept.
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
    changes: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in _FIELDS} | {_CHANGE + n: v for n, v in self.changes.items()}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Erasures:
        changes = {n.removeprefix(_CHANGE): value for n, value in tensors.items() if n.startswith(_CHANGE)}
        return cls(**{name: tensors[name] for name in _FIELDS}, changes=changes)

    @classmethod
    def concatenate(cls, parts: Sequence[Erasures], shared: bool = True) -> Erasures:
        """All erasures, in order.

        Args:
            shared: whether all start from one original; its outputs on the probes then stay one row.
        """
        joined = {}
        for name in _FIELDS:
            values = [getattr(part, name) for part in parts]
            if name.startswith("probe_before"):
                if shared and all(len(value) == 1 for value in values):
                    joined[name] = values[0]
                    continue
                counts = [len(part.probe_after_mean) for part in parts]
                values = [value.expand(count, -1, -1) for value, count in zip(values, counts, strict=True)]
            joined[name] = torch.cat(values)
        changes = {name: torch.cat([part.changes[name] for part in parts]) for name in parts[0].changes}
        return cls(**joined, changes=changes)

    def with_probes_of(self, first: int) -> Erasures:
        """The same erasures, with the outputs on probes of the first few only: they are most of what is stored."""
        kept = {name: getattr(self, name)[:first].clone() for name in _FIELDS if name.startswith("probe_")}
        return replace(self, **kept)

    def updates(self, access: Access, world: World) -> Updates:
        """The updates as seen with an access."""
        level, temperature = access.level, access.temperature
        rows = self.candidate_rows.to(world.pool.labels.device)
        return Updates(
            observe(level, self.probe_before_mean, self.probe_before_logits, temperature),
            observe(level, self.probe_after_mean, self.probe_after_logits, temperature),
            world.pool.pixels[rows].cpu(),
            world.pool.labels[rows].cpu(),
            observe(level, self.candidates_before_mean, self.candidates_before_logits, temperature),
            observe(level, self.candidates_after_mean, self.candidates_after_logits, temperature),
            self.changes if level == "parameters" else {},
        )


_FIELDS = tuple(part.name for part in fields(Erasures) if part.name != "changes")


def with_remaining(erasures: Erasures, before: Stack, after: Stack, world: World) -> Erasures:
    """The same erasures, with remaining images among the candidates: for each erased one another of its class that the
    target was trained on and no target erases. Candidates are shuffled again.

    Args:
        before, after: the targets' models, 1 or T.
    """
    rows = matched(
        world.pool.labels, erasures.erased_rows, world.parts["unerased"].cpu(), world.seed, "remaining", once=True,
        part="target",
    ).to(world.pool.labels.device)  # fmt: skip
    count, size = rows.shape
    images = world.pool.pixels[rows]
    outputs = [*before.own_outputs(images), *after.own_outputs(images)]
    names = ("candidates_before_mean", "candidates_before_logits", "candidates_after_mean", "candidates_after_logits")
    added: dict[str, Tensor] = dict(zip(names, (output.float().cpu() for output in outputs), strict=True))
    added |= {"candidate_rows": rows.cpu(), "candidate_erased": torch.zeros(count, size, dtype=torch.bool)}
    asked = erasures.candidate_rows.shape[1] + size
    order = torch.from_numpy(stream(world.seed, "order with remaining").random((count, asked)).argsort(1))

    def shuffled(name: str, more: Tensor) -> Tensor:
        both = torch.cat([getattr(erasures, name), more], 1)
        return both[torch.arange(count)[:, None], order]

    parts: dict[str, Any] = {name: shuffled(name, more) for name, more in added.items()}
    return replace(erasures, **parts)


def observe_erasures(
    before: Stack, after: Stack, sets: ErasureSets, world: World, purpose: str, keep: bool = False
) -> Erasures:
    """Query the models before and after, on the probe images and on each erasure's own candidates.

    Args:
        before: 1 original, or n; a shared original is queried once.
        after: n models.
        sets: the erasures, with class-matched never-seen images as `holdout`.
        purpose: names the stream that shuffles candidates, so that their order reveals nothing.
        keep: whether the changes of all parameters are kept.
    """
    assert sets.holdout is not None
    count, size = sets.erased.shape
    generator = stream(world.seed, "candidate order", purpose)
    asked = size + sets.holdout.shape[1]
    order = torch.from_numpy(generator.random((count, asked)).argsort(1)).to(sets.erased.device)
    candidates = torch.cat([sets.erased, sets.holdout], 1).gather(1, order)
    probe = world.images("probe").pixels
    images = world.pool.pixels[candidates]
    outputs = [*before.outputs(probe), *after.outputs(probe), *before.own_outputs(images), *after.own_outputs(images)]
    tensors = [*(output.float().cpu() for output in outputs), candidates.cpu(), (order < size).cpu(), sets.erased.cpu()]
    changes = {_CHANGE + n: (after.params[n] - before.params[n]).cpu() for n in after.params} if keep else {}
    return Erasures.of_tensors(dict(zip(_FIELDS, tensors, strict=True)) | changes)
