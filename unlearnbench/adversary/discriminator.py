"""The adversarial term of a conditional GAN: a discriminator of images that also sees the update they belong to."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnbench.models.optimisers import Adam

HIDDEN = 128
SLOPE = 0.2  # of its leaky rectifiers


class Discriminator:
    """Tells true images from decoded ones, and learns a step each time that it is asked (Goodfellow et al., 2014;
    conditional: Mirza and Osindero, 2014).

    Args:
        width: R, numbers in an update.
        pixels: M, numbers in an image.
        lr: learning rate (Adam).
    """

    def __init__(self, width: int, pixels: int, lr: float) -> None:
        self._network = nn.Sequential(
            nn.Linear(width + pixels, HIDDEN), nn.LeakyReLU(SLOPE), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(SLOPE),
            nn.Linear(HIDDEN, 1),
        )  # fmt: skip
        self._params = dict(self._network.named_parameters())
        self._adam = Adam(lr)

    def term(self, decoded: Tensor, true: Tensor, updates: Tensor) -> Tensor:
        """-log D(decoded | update), averaged: small where decoded images pass for true ones. The discriminator first
        takes a step of its own on these images.

        Args:
            decoded, true: f32[n, M]; gradients flow through `decoded`.
            updates: f32[n, R].
        """
        fake, real = self._logits(decoded.detach(), updates), self._logits(true, updates)
        loss = (F.softplus(fake) + F.softplus(-real)).mean()
        self._adam.step(self._params, torch.autograd.grad(loss, list(self._params.values())))
        return F.softplus(-self._logits(decoded, updates)).mean()

    def _logits(self, images: Tensor, updates: Tensor) -> Tensor:
        logits: Tensor = self._network(torch.cat([images, updates], 1))
        return logits
