"""Curvature of a model's loss without forming a matrix: products, a diagonal, and a solver.

A vector is a mapping from parameter names to tensors of the parameters' shapes. Everything runs under vmap: the number
of iterations is fixed, and nothing branches on a value.

Everything is computed in full precision, whatever precision training uses. Conjugate gradients need it; and forward
derivatives after a batch normalisation, and per-image gradients inside one, mix precisions, which convolutions refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp

from unlearnbench.models.noise import Noise
from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.batches import Batch

Vector = dict[str, Tensor]
Product = Callable[[Vector], Vector]

SMALL_NETWORKS = ("mlp", "linear", "plain_mlp")  # the others need tens of megabytes an image
TINY = torch.finfo(torch.float32).tiny


def images_at_once(scenario: Scenario, small: int, other: int) -> int:
    """How many images a method computes with at a time, on each of `scenario.replicas` models: of small networks or of
    others. A method's choice for a network is part of its version: sums differ in their last bits."""
    return small if scenario.network.name in SMALL_NETWORKS else other


def gauss_newton(logits: Callable[[Vector], Tensor], params: Vector, batch: Batch) -> Product:
    """v -> G v, with G = mean J' (diag p - p p') J of the cross-entropy over a batch; positive semi-definite.

    Args:
        logits: of the batch's images, f32[B, Y], as a function of the parameters.
    """
    with _full_precision(batch.images):
        output, pull_back = vjp(logits, params)  # type: ignore[misc] # two values without has_aux
    p = output.softmax(-1)
    share = (batch.weight / batch.weight.sum())[:, None]

    def product(vector: Vector) -> Vector:
        with _full_precision(batch.images):
            _, change = jvp(logits, (params,), (vector,))  # type: ignore[misc] # likewise
        curved = p * change - p * (p * change).sum(-1, keepdim=True)
        with _full_precision(batch.images):
            (result,) = pull_back(share * curved)
        return dict(result)

    return product


def hessian(loss: Callable[[Vector], Tensor], params: Vector) -> Product:
    """v -> H v with H the second derivative of a scalar loss; indefinite where the loss is not convex."""

    def product(vector: Vector) -> Vector:
        with _full_precision(next(iter(vector.values()))):
            _, change = jvp(grad(loss), (params,), (vector,))  # type: ignore[misc] # two values without has_aux
        return dict(cast(Vector, change))

    return product


def mean_in_chunks(measure: Callable[[Batch], Vector], batch: Batch, size: int) -> Vector:
    """The mean over a batch of a `measure` that is itself a (weighted) mean, such as a gradient. It is computed for
    `size` images at a time, in the memory of one chunk."""
    chunks = _chunks(batch, size)
    with _full_precision(batch.images):
        if len(chunks) == 1:
            return measure(batch)
        return _mean(measure, batch, chunks)


def _mean(measure: Callable[[Batch], Vector], batch: Batch, chunks: list[Batch]) -> Vector:
    result: Vector | None = None
    for chunk in chunks:
        weight = chunk.weight.sum()
        # A chunk of padding only has no mean.
        filled = chunk._replace(weight=torch.where(weight > 0, chunk.weight, torch.ones_like(chunk.weight)))
        share, part = weight / batch.weight.sum(), measure(filled)
        result = axpy(share, part, result or {name: torch.zeros_like(value) for name, value in part.items()})
    assert result is not None
    return result


def product_in_chunks(curvature: Callable[[Batch], Product], batch: Batch, size: int) -> Product:
    """The product with the mean curvature of a batch, `size` images at a time; equal to that of the whole batch up to
    rounding. What a chunk could reuse in the next product is recomputed."""
    if len(batch.labels) <= size:
        return curvature(batch)
    return lambda vector: mean_in_chunks(lambda chunk: curvature(chunk)(vector), batch, size)


def _chunks(batch: Batch, size: int) -> list[Batch]:
    return [Batch(*parts) for parts in zip(*(part.split(size) for part in batch), strict=True)]


def random_signs(like: Vector, noise: Noise) -> Vector:
    """A probe of -1 and 1 with equal probability, for `hutchinson_diagonal`."""
    draws = {name: noise.uniform(*value.shape) for name, value in like.items()}
    return {name: 2 * (draw < 0.5).to(draw.dtype) - 1 for name, draw in draws.items()}


def hutchinson_diagonal(product: Product, probe: Vector) -> Vector:
    """One-probe estimate of a matrix's diagonal, probe * (A probe) with entries of -1 and 1 (Bekas et al., 2007)."""
    image = product(probe)
    return {name: value * image[name] for name, value in probe.items()}


def conjugate_gradients(product: Product, right: Vector, steps: int) -> Vector:
    """Solve A x = right for a positive A in a fixed number of steps.

    Where A turns out not to be positive definite (a direction d has d'Ad <= 0 before the residual has reached rounding)
    the solution is NaN, not a finite number that looks like a solution.
    """
    with _full_precision(next(iter(right.values()))):
        return _solved(product, right, steps)


def _solved(product: Product, right: Vector, steps: int) -> Vector:
    # Flat: the residuals so far are the rows of a matrix, so that one product orthogonalises against all of them.
    residual = _flat(right)
    solution, direction = torch.zeros_like(residual), residual
    square = residual @ residual
    rounding = square * torch.finfo(square.dtype).eps ** 2
    residuals, squares = residual[None], square[None]
    for _ in range(steps):
        image = _flat(product(_named(direction, right)))
        # At a residual of zero the solution is found: nothing more is added.
        curved = direction @ image
        length = square / curved.clamp_min(TINY)
        length = torch.where((curved > 0) | (square <= rounding), length, torch.nan)
        solution = solution + length * direction
        residual = residual - length * image
        # Rounding makes residuals lose orthogonality, and the solution accuracy: orthogonalise again.
        residual = residual - ((residuals @ residual) / squares.clamp_min(TINY)) @ residuals
        following = residual @ residual
        direction = residual + following / square.clamp_min(TINY) * direction
        square = following
        residuals, squares = torch.cat([residuals, residual[None]]), torch.cat([squares, square[None]])
    return _named(solution, right)


def _flat(vector: Vector) -> Tensor:
    return torch.cat([value.flatten() for value in vector.values()])


def _named(flat: Tensor, like: Vector) -> Vector:
    parts = flat.split([value.numel() for value in like.values()])
    return {name: part.view_as(value) for (name, value), part in zip(like.items(), parts, strict=True)}


def axpy(factor: Tensor | float, first: Vector, second: Vector) -> Vector:
    """factor * first + second, by name."""
    return {name: factor * first[name] + second[name] for name in second}


def dot(first: Vector, second: Vector) -> Tensor:
    """Inner product over all names."""
    return torch.stack([(first[name] * second[name]).sum() for name in first]).sum()


def _full_precision(on: Tensor) -> torch.autocast:
    """Switches off, on a tensor's device, the lower precision that a scenario may have asked for."""
    return torch.autocast(on.device.type, enabled=False)
