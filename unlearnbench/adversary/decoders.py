"""Decoders from observed updates to images: how their inputs are standardised, and ridge regression.

A decoder is fitted on training rows, and chooses its regularisation or when to stop on validation rows. Networks are
in `autoencoder`, decoders of whole sets in `set_decoders`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

RELATIVE_RANK = 1e-12  # squared singular values below this share of the largest one are rounding
# Relative to the largest squared singular value; with the last one, ridge regression predicts the mean.
PENALTIES = torch.logspace(-8, 3, 34, dtype=torch.float64)


def standardise(inputs: Tensor, others: Tensor, training: Tensor, components: int = 512) -> tuple[Tensor, Tensor]:
    """Centre on the training rows, rotate to their principal components, and whiten half-way.

    The rotation makes the decoders cheap: it reduces P * D inputs to at most as many as there are training rows, which
    span no more, and to at most `components`, beyond which an update's directions are noise. A component's scale tells
    signal from noise, but a few large components hide the others. So each is divided by the square root of its standard
    deviation, half-way to whitening (on MNIST this lowered the autoencoder's error by a tenth), and all by one number.

    Args:
        inputs: f32[n, D] of shadows.
        others: f32[T, D] of targets.
        training: bool[n], the rows that centre and components are estimated from.

    Returns:
        f32[n, R] and f32[T, R].
    """
    rows = inputs[training].double()
    centre = rows.mean(0)
    basis = principal_directions(rows - centre)[:, :components]
    deviation = ((rows - centre) @ basis).square().mean(0).sqrt().clamp_min(1e-12)
    scale = deviation.sqrt() * deviation.mean().sqrt()
    first, second = (((part.double() - centre) @ basis / scale).float() for part in (inputs, others))
    return first, second


def principal_directions(rows: Tensor) -> Tensor:
    """Right singular vectors of f64[n, D], largest first, f64[D, R], up to the numerical rank.

    Computed from the eigenvectors of the smaller of the two Gram matrices: ten times faster than a singular value
    decomposition for a few thousand rows and columns, and as accurate for all but the noise directions.
    """
    n, width = rows.shape
    if n >= width:
        values, vectors = torch.linalg.eigh(rows.T @ rows)
    else:
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        vectors = rows.T @ vectors / values.clamp_min(torch.finfo(values.dtype).tiny).sqrt()
    kept = values > values[-1] * RELATIVE_RANK
    kept[-1] = True  # inputs that are all equal still have one direction
    directions: Tensor = vectors[:, kept].flip(1)
    return directions


class RidgeDecoder:
    """Ridge regression on centred targets, with the penalty that has the lowest validation error.

    Args:
        inputs: f32[n, R].
        targets: f32[n, M].
        validation: bool[n], the rows that the penalty is chosen on; the model is fitted to the others.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, validation: Tensor) -> None:
        x, y = inputs[~validation].double(), targets[~validation].double()
        self._centre = y.mean(0)
        squares, directions = torch.linalg.eigh(x.T @ x)
        projected = directions.T @ (x.T @ (y - self._centre))
        asked, wanted = inputs[validation].double() @ directions, targets[validation].double() - self._centre
        # The squared error is a quadratic form in the shrinkages 1 / (squares + penalty), so no predictions are needed.
        quadratic = (asked.T @ asked) * (projected @ projected.T)
        linear = ((asked.T @ wanted) * projected).sum(1)
        lowest, best = math.inf, squares
        for penalty in PENALTIES * squares[-1].clamp_min(1e-12):
            shrunk = 1 / (squares.clamp_min(0) + penalty)
            error = float(shrunk @ quadratic @ shrunk - 2 * shrunk @ linear)
            if error < lowest:
                lowest, best = error, shrunk
        self._weights = directions @ (projected * best[:, None])
        self.validation_error = squared_error(self.predict(inputs[validation]), targets[validation])

    def predict(self, inputs: Tensor) -> Tensor:
        """f32[T, M]."""
        predicted: Tensor = inputs.double() @ self._weights + self._centre
        return predicted.float()


def squared_error(predicted: Tensor, truth: Tensor) -> float:
    """Squared error, summed over outputs and averaged over rows."""
    return float((predicted - truth).square().flatten(1).sum(1).mean())


def blend(predictions: Sequence[Tensor], error: Callable[[Tensor], float]) -> list[int]:
    """Which predictions to average: the best, and each next one that improves the average (Caruana et al., 2004).

    Args:
        predictions: for the validation rows, of one shape.
        error: of a prediction, on the validation rows.

    Returns:
        Positions in `predictions`, at least one.
    """
    errors = [error(prediction) for prediction in predictions]
    order = sorted(range(len(errors)), key=errors.__getitem__)
    chosen, lowest = order[:1], errors[order[0]]
    for index in order[1:]:
        now = error(average([predictions[k] for k in (*chosen, index)]))
        if now < lowest:
            chosen, lowest = [*chosen, index], now
    return chosen


def average(predictions: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(predictions)).mean(0)
