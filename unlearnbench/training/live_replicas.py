"""The replicas of a phase that still run, as one value: taking some out makes another one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from unlearnbench.models.stack import Functional, Router, Stack, Tensors
from unlearnbench.models.vectorised import vectorised
from unlearnbench.splits.batches import Batch
from unlearnbench.training.frozen_model import Encoded, recall
from unlearnbench.training.vectorise import Inputs, first, select


@dataclass(frozen=True, eq=False)
class LiveReplicas:
    """K' of a run's K replicas, and everything that belongs to each of them.

    Attributes:
        router: the bare module.
        places: i64[K'], which of the K replicas these are.
        params, buffers: {name: [K', ...]}; each step changes them in place.
        frozen: the models before unlearning, 1 shared by all or K'.
        ended_at: i64[K'], the step at which the stop rule ended each; 0: it has not.
        state: what the method has prepared, a tree of [K', ...].
        encoded: the whole erased sets as the frozen models encode them, where that has been computed.
    """

    router: Router
    places: Tensor
    params: Tensors
    buffers: Tensors
    frozen: Stack
    ended_at: Tensor
    state: Any = None
    encoded: Encoded | None = None

    @classmethod
    def all(cls, models: Stack, frozen: Stack, router: Router, device: torch.device) -> LiveReplicas:
        """Copies of all K models, before the first step of a phase."""
        params, buffers = ({n: v.clone() for n, v in part.items()} for part in (models.params, models.buffers))
        places = torch.arange(models.replicas)
        return cls(router, places, params, buffers, frozen, torch.zeros_like(places, device=device))

    def __len__(self) -> int:
        return len(self.places)

    @property
    def tensors(self) -> Tensors:
        """Parameters and buffers by name, [K', ...]."""
        return {**self.params, **self.buffers}

    def inputs(self, erased: Batch | None, remaining: Batch | None) -> Inputs:
        """What a function of one model gets in a step, for all of these replicas."""
        return Inputs(
            self.params, self.buffers, self.frozen.params, self.frozen.buffers, erased, remaining, self.state,
            recall(self.encoded, erased),
        )  # fmt: skip

    def predict(self, images: Tensor) -> Tensor:
        """Logits f32[K', n, Y] for images f32[K', n, C, H, W]."""

        def one(params: Tensors, buffers: Tensors, x: Tensor) -> Tensor:
            return Functional(self.router, params, buffers)(x)

        if len(self) == 1:
            return one(first(self.params), first(self.buffers), images[0])[None]
        logits: Tensor = vectorised(one, self.router.is_looped, (0, 0, 0))(self.params, self.buffers, images)
        return logits

    def saved(self) -> Any:
        """The values of everything but the frozen models, which a run has anyway."""
        encoded = None if self.encoded is None else list(self.encoded)
        state = [leaf for leaf in tree_leaves(self.state) if isinstance(leaf, Tensor)]
        return {"params": self.params, "buffers": self.buffers, "ended_at": self.ended_at, "places": self.places,
                "state": state, "encoded": encoded}  # fmt: skip

    def restore(self, saved: Any) -> LiveReplicas:
        """These replicas with the values that they had when `saved` was called; `state` keeps its form."""
        leaves = iter(saved["state"])
        return replace(
            self,
            params={name: saved["params"][name] for name in self.params},
            buffers={name: saved["buffers"][name] for name in self.buffers},
            ended_at=saved["ended_at"],
            state=tree_map_only(Tensor, lambda _: next(leaves), self.state),
            encoded=None if saved["encoded"] is None else tuple(saved["encoded"]),
        )

    def keep(self, kept: Tensor) -> LiveReplicas:
        """Those at some positions, i64[K'']."""
        if len(kept) == 0:
            return replace(self, places=kept)
        rows = kept.to(next(iter(self.params.values())).device)  # once, and not for each tensor
        frozen = self.frozen if self.frozen.replicas == 1 else self.frozen.apply(lambda value: select(value, rows))
        params, buffers, ended_at, state, encoded = (
            select(part, rows) for part in (self.params, self.buffers, self.ended_at, self.state, self.encoded)
        )
        return LiveReplicas(self.router, self.places[kept], params, buffers, frozen, ended_at, state, encoded)
