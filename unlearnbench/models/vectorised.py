"""A function of one model for K models: vectorised with torch.func.vmap or, for networks that it cannot vectorise, one
model after the other, with equal results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_flatten, tree_unflatten


def looped_in(module: nn.Module) -> tuple[bool, bool]:
    """Whether models of this architecture take turns in training, and in evaluation; a method's own do not."""
    looped: tuple[bool, bool] = getattr(module, "looped", (False, False))
    return looped


def is_looped(module: nn.Module) -> bool:
    """The same for the mode (training or not) that the module is in."""
    training, evaluation = looped_in(module)
    return bool(training if module.training else evaluation)


def vectorised(function: Callable[..., Any], looped: bool, dims: Sequence[int | None]) -> Callable[..., Any]:
    """`function` for K models at once.

    Args:
        function: of one model; takes trees of tensors and returns one.
        dims: of each argument 0 where its tensors have a leading dimension of K, else None.
    """
    return in_turn(function, dims) if looped else vmap(function, in_dims=tuple(dims))


def in_turn(function: Callable[..., Any], dims: Sequence[int | None]) -> Callable[..., Any]:
    """As vmap, but with one call for each of the K models."""

    def call(*arguments: Any) -> Any:
        parts = [one_by_one(value, dim) for value, dim in zip(arguments, dims, strict=True)]
        count = next(len(part) for part in parts if part is not None)
        results = [
            function(*(value if part is None else part[k] for value, part in zip(arguments, parts, strict=True)))
            for k in range(count)
        ]
        return stacked(results)

    return call


def one_by_one(tree: Any, dim: int | None) -> list[Any] | None:
    """The K trees of a tree of tensors [K, ...]; None if it is shared, or holds no tensors."""
    leaves, form = tree_flatten(tree)
    if dim is None or not any(isinstance(leaf, Tensor) for leaf in leaves):
        return None
    # unbind, not indexing: the gradient of K indexed parts would be K tensors of the size of all.
    parts = [leaf.unbind(0) if isinstance(leaf, Tensor) else None for leaf in leaves]
    count = next(len(part) for part in parts if part is not None)
    return [
        tree_unflatten([leaf if part is None else part[k] for leaf, part in zip(leaves, parts, strict=True)], form)
        for k in range(count)
    ]


def stacked(results: Sequence[Any]) -> Any:
    """Trees of tensors as one tree of tensors with a leading dimension."""
    flat = [tree_flatten(result)[0] for result in results]
    _, form = tree_flatten(results[0])
    leaves = [torch.stack(same) if isinstance(same[0], Tensor) else same[0] for same in zip(*flat, strict=True)]
    return tree_unflatten(leaves, form)
