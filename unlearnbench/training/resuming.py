"""What a phase needs to continue where it was interrupted, and whether its run starts from the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from unlearnbench.models.stack import Stack
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.training.checkpoints import digest
from unlearnbench.training.descent import Descent
from unlearnbench.training.phases import Phase

if TYPE_CHECKING:
    from unlearnbench.training.replica_run import PhaseRun, ReplicaRun


def inputs(run: ReplicaRun, phases: Sequence[Phase], given: Any) -> str:
    """A digest of what a run starts from: models, sets, seeds, settings and state."""
    state = [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor)]
    plain = [part.name for part in fields(Phase) if part.name not in ("loss", "trains")]
    about = [[getattr(phase, name) for name in plain] for phase in phases]
    settings = list(run.seeds), run.scenario.model_dump_json(), run.training
    return digest([*of_sets(run.before, run.sets), *state], about, settings)


def of_sets(before: Stack, sets: ErasureSets) -> list[Tensor]:
    """The tensors that tell what is erased from which models; the pixels belong to the stage's key."""
    rows = (sets.members, sets.erased, sets.holdout, sets.pool.labels, sets.pool.ids)
    return [*before.tensors.values(), *(part for part in rows if part is not None)]


def alike(before: Stack, after: Stack) -> bool:
    """Whether two stacks differ in nothing but the values of their tensors."""

    def form(stack: Stack) -> Any:
        attributes = [
            (
                path,
                type(part),
                {name: value for name, value in vars(part).items() if name[0] != "_" and name != "training"},
            )
            for path, part in stack.base.named_modules()
        ]
        return attributes, {name: (v.shape[1:], v.dtype, v.device) for name, v in stack.tensors.items()}

    try:
        return bool(form(before) == form(after))
    except (RuntimeError, TypeError, ValueError):  # attributes that can't be compared
        return False


def saved(run: PhaseRun, steps: Descent | None) -> Any:
    """The state of a phase after a step."""
    gone = _others(run.live.places, len(run.run.seeds))
    sources = [part if part is None else part.saved() for part in (run.over, run.other)]
    return {
        "phase": run.number, "step": run.step, "samples": torch.tensor(run.samples), "live": run.live.saved(),
        "noise": [streams.saved() for streams in run.vectoriser.streams], "sources": sources,
        "descent": None if steps is None else steps.saved(), "outcome": run.outcome.counts,
        "gone": {name: value[gone] for name, value in run.outcome.stack.tensors.items()},
    }  # fmt: skip


def restore(run: PhaseRun, state: Any) -> None:
    """Bring a phase that has just begun to where it was. Its descent is made, and restored, afterwards."""
    places = state["live"]["places"].cpu()
    gone = _others(places, len(run.run.seeds))
    for name, value in run.outcome.stack.tensors.items():
        value[gone] = state["gone"][name]
    run.outcome.steps.copy_(state["outcome"]["steps"])
    run.outcome.samples.copy_(state["outcome"]["samples"])
    run.outcome.watched.extend(state["outcome"]["watched"])
    if len(gone):
        run.go_on_with(places)
    run.live = run.live.restore(state["live"])
    run.step, run.samples = state["step"], state["samples"].tolist()
    for streams, kept in zip(run.vectoriser.streams, state["noise"], strict=True):
        streams.restore(kept)
    for source, kept in zip((run.over, run.other), state["sources"], strict=True):
        if source is not None:
            source.restore(kept)


def _others(places: Tensor, count: int) -> Tensor:
    """The places of those that are no longer among the live ones."""
    there = torch.zeros(count, dtype=torch.bool)
    there[places] = True
    return (~there).nonzero().flatten()
