"""Decoders from observed outputs to images: ridge regression in closed form, and a variational autoencoder.

Both are fitted on training rows and choose their regularisation, or when to stop, on validation rows.
"""

from __future__ import annotations

import copy
from typing import Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnbench.optimisers import Adam

RELATIVE_RANK = 1e-12  # of squared singular values: what is smaller is rounding


class Decoder(Protocol):
    """From inputs f32[n, R] to targets f32[n, M]."""

    validation_error: float

    def fit(self, inputs: Tensor, targets: Tensor, validation: Tensor) -> Self:
        """Fit on the rows where validation, bool[n], is false; choose on the others."""

    def predict(self, inputs: Tensor) -> Tensor:
        """f32[T, M]."""


class VaeSettings(Protocol):
    """Parameters of the autoencoder; an attack's own Params fit."""

    epochs: int
    code: int
    hidden: int
    lr: float
    kl_weight: float


def standardise(inputs: Tensor, others: Tensor, training: Tensor, components: int = 1_024) -> tuple[Tensor, Tensor]:
    """Centre on the training rows, rotate to their principal components and scale all by one number.

    The rotation makes the decoders cheap: P * D inputs become at most as many as there are training rows, which span
    no more, and at most `components`, beyond which an update's directions are noise. Scales of single components are
    kept, they tell signal from noise.

    Args:
        inputs: f32[n, D] of shadows.
        others: f32[T, D] of targets.
        training: bool[n], the rows that may be looked at.

    Returns:
        f32[n, R] and f32[T, R].
    """
    rows = inputs[training].double()
    centre = rows.mean(0)
    basis = principal_directions(rows - centre)[:, :components]
    projected = [(part.double() - centre) @ basis for part in (inputs, others)]
    scale = projected[0][training].square().mean(0).sum().sqrt().clamp_min(1e-12) / basis.shape[1] ** 0.5
    first, second = ((part / scale).float() for part in projected)
    return first, second


def principal_directions(rows: Tensor) -> Tensor:
    """Right singular vectors of f64[n, D], largest first, f64[D, R], those of numerical rank only.

    By the eigenvectors of the smaller of the two products of the rows with themselves: ten times faster than a
    singular value decomposition of a few thousand by a few thousand numbers, and as good where noise is not wanted.
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
    """Ridge regression on centred targets; the penalty with the lowest validation error is taken."""

    validation_error: float

    def fit(self, inputs: Tensor, targets: Tensor, validation: Tensor) -> Self:
        """Args: inputs f32[n, R], targets f32[n, M], validation bool[n]."""
        x, y = inputs[~validation].double(), targets[~validation].double()
        self._centre = y.mean(0)
        squares, directions = torch.linalg.eigh(x.T @ x)
        projected = directions.T @ (x.T @ (y - self._centre))
        asked = inputs[validation].double() @ directions
        self.validation_error = float("inf")
        # Penalties relative to the largest direction; the last is as good as predicting the mean.
        for penalty in torch.logspace(-8, 3, 34, dtype=torch.float64) * squares[-1].clamp_min(1e-12):
            solution = projected / (squares.clamp_min(0) + penalty)[:, None]
            error = float((asked @ solution + self._centre - targets[validation]).square().sum(1).mean())
            if error < self.validation_error:
                self.validation_error, self._weights = error, directions @ solution
        return self

    def predict(self, inputs: Tensor) -> Tensor:
        """f32[T, M]."""
        predicted: Tensor = inputs.double() @ self._weights + self._centre
        return predicted.float()


class VaeDecoder:
    """Encoder -> (mu, log variance) -> code -> decoder, trained with squared error plus a weighted KL to N(0, I).

    Training stops when the validation error has not improved for a while and goes back to the best epoch.
    """

    validation_error: float
    PATIENCE = 20
    BATCH = 64

    def __init__(self, settings: VaeSettings, seed: int) -> None:
        self.settings, self.seed = settings, seed

    def fit(self, inputs: Tensor, targets: Tensor, validation: Tensor) -> Self:
        """Args: inputs f32[n, R], targets f32[n, M] in [0, 1], validation bool[n]."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._build(inputs.shape[1], targets[~validation])
            self._train(inputs[~validation], targets[~validation], inputs[validation], targets[validation])
        return self

    def predict(self, inputs: Tensor) -> Tensor:
        """f32[T, M], decoded from the mean of the code."""
        with torch.no_grad():
            mean, _ = self._encoder(inputs).chunk(2, 1)
            return self._decode(mean)

    def _build(self, width: int, targets: Tensor) -> None:
        hidden, code = self.settings.hidden, self.settings.code
        self._encoder = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 2 * code))
        last = nn.Linear(hidden, targets.shape[1])
        self._decoder = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), last)
        # Start from the mean image: what is left to learn is how an image differs from it.
        with torch.no_grad():
            last.weight.mul_(0.1)
        self._bias = torch.logit(targets.mean(0).clamp(1e-3, 1 - 1e-3))

    def _decode(self, code: Tensor) -> Tensor:
        return torch.sigmoid(self._decoder(code) + self._bias)

    def _train(self, x: Tensor, y: Tensor, x_validation: Tensor, y_validation: Tensor) -> None:
        parts = {"encoder": self._encoder, "decoder": self._decoder}
        params = {f"{n}.{m}": p for n, part in parts.items() for m, p in part.named_parameters()}
        adam = Adam(self.settings.lr)
        self.validation_error, since, best = (
            float("inf"),
            0,
            {n: copy.deepcopy(p.state_dict()) for n, p in parts.items()},
        )
        for _ in range(self.settings.epochs):
            for rows in torch.randperm(len(x)).split(self.BATCH):
                loss = self._loss(x[rows], y[rows])
                adam.step(params, torch.autograd.grad(loss, list(params.values())))
            error = float((self.predict(x_validation) - y_validation).square().sum(1).mean())
            since += 1
            if error < self.validation_error:
                self.validation_error, since = error, 0
                best = {n: copy.deepcopy(p.state_dict()) for n, p in parts.items()}
            if since >= self.PATIENCE:
                break
        for name, part in parts.items():
            part.load_state_dict(best[name])

    def _loss(self, x: Tensor, y: Tensor) -> Tensor:
        mean, log_variance = self._encoder(x).chunk(2, 1)
        code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        error = F.mse_loss(self._decode(code), y, reduction="none").sum(1)
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1)
        loss: Tensor = (error + self.settings.kl_weight * kl).mean()
        return loss
