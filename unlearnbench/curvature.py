"""Curvature of a model's loss without ever forming a matrix: products, a diagonal, and a solver.

A vector is a mapping from parameter names to tensors of the parameters' shapes. Everything runs under vmap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp

from unlearnbench.plugin import Batch

Vector = dict[str, Tensor]
Product = Callable[[Vector], Vector]

TINY = torch.finfo(torch.float32).tiny


def gauss_newton(logits: Callable[[Vector], Tensor], params: Vector, batch: Batch) -> Product:
    """v -> G v, with G = mean J' (diag p - p p') J of the cross-entropy over a batch; never negative.

    Args:
        logits: of the batch's images, f32[B, Y], as a function of the parameters.
    """
    output, pull_back = vjp(logits, params)  # type: ignore[misc] # two values without has_aux
    p = output.softmax(-1)
    share = (batch.weight / batch.weight.sum())[:, None]

    def product(vector: Vector) -> Vector:
        _, change = jvp(logits, (params,), (vector,))  # type: ignore[misc] # likewise
        curved = p * change - p * (p * change).sum(-1, keepdim=True)
        (result,) = pull_back(share * curved)
        return dict(result)

    return product


def hessian(loss: Callable[[Vector], Tensor], params: Vector) -> Product:
    """v -> H v with H the second derivative of a scalar loss; indefinite where the loss is not convex."""

    def product(vector: Vector) -> Vector:
        _, change = jvp(grad(loss), (params,), (vector,))  # type: ignore[misc] # two values without has_aux
        return dict(cast(Vector, change))

    return product


def hutchinson_diagonal(product: Product, probe: Vector) -> Vector:
    """One-probe estimate of a matrix's diagonal, probe * (A probe) with entries of -1 and 1 (Bekas et al., 2007)."""
    image = product(probe)
    return {name: value * image[name] for name, value in probe.items()}


def conjugate_gradients(product: Product, right: Vector, steps: int) -> Vector:
    """Solve A x = right for a positive A in a fixed number of steps (no branch, so it runs under vmap)."""
    solution = {name: torch.zeros_like(value) for name, value in right.items()}
    residual, direction = dict(right), dict(right)
    square = dot(residual, residual)
    before: list[tuple[Vector, Tensor]] = []
    for _ in range(steps):
        image = product(direction)
        # A residual of zero is a solution: nothing more is added.
        length = square / dot(direction, image).clamp_min(TINY)
        solution = axpy(length, direction, solution)
        before.append((residual, square))
        residual = axpy(-length, image, residual)
        # Rounding turns residuals back towards earlier ones, and the solution into partly rounding: keep them apart.
        for earlier, its_square in before:
            residual = axpy(-dot(earlier, residual) / its_square.clamp_min(TINY), earlier, residual)
        following = dot(residual, residual)
        direction = axpy(following / square.clamp_min(TINY), direction, residual)
        square = following
    return solution


def axpy(factor: Tensor | float, first: Vector, second: Vector) -> Vector:
    """factor * first + second, by name."""
    return {name: factor * first[name] + second[name] for name in second}


def dot(first: Vector, second: Vector) -> Tensor:
    """Inner product over all names."""
    return torch.stack([(first[name] * second[name]).sum() for name in first]).sum()
