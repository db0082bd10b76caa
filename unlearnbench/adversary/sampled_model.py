"""A model behind a server that answers with draws from p(Z|X) (docs/protocol.md#query-noise)."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from unlearnbench.models.stack import Stack
from unlearnbench.system.errors import AccessError
from unlearnbench.system.seeding import stream

BATCH = 1_000  # images per forward pass


class SampledModel:
    """One model that answers with z ~ p(Z|X), drawn anew for every query.

    Noise that an adversary can average away protects nothing. So queries about an image are counted, and copies of an
    image in one call get the same answer.

    Args:
        stack: the model, one replica.
        seed: of the noise.
        name: which model this is; each has its own noise.
        queries: the most answers about one image.
    """

    def __init__(self, stack: Stack, seed: int, name: str, queries: int) -> None:
        self._model, self._seed, self._name, self._queries = stack.module(0), seed, name, queries
        self._asked: Counter[bytes] = Counter()
        self._calls = 0
        self._encoded: tuple[list[bytes], list[tuple[Tensor, Tensor]]] = [], []

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Draws f32[n, J] of Z for images u8[n, C, H, W], and the logits f32[n, Y] at them.

        Raises:
            AccessError: the model was queried about one of them more often than was declared.
        """
        content = [image.tobytes() for image in images.cpu().numpy()]
        place = {image: number for number, image in enumerate(dict.fromkeys(content))}
        self._asked.update(place.keys())
        if max(self._asked.values(), default=0) > self._queries:
            raise AccessError(f"an image was asked about more than {self._queries} times: declare more `queries`")
        self._calls += 1
        if self._encoded[0] != content:  # an attack may ask about the same images in every epoch
            self._encoded = content, self._encode(images)
        mean = self._encoded[1][0][0]
        drawing = stream(self._seed, "query noise", self._name, self._calls)
        noise = torch.from_numpy(drawing.standard_normal((len(place), mean.shape[1]))).to(mean)
        rows, drawn, logits = torch.tensor([place[image] for image in content]), [], []
        with torch.no_grad():
            for (mean, scale), part in zip(self._encoded[1], rows.split(BATCH), strict=True):
                z = mean + scale * noise[part]
                drawn.append(z)
                logits.append(self._model.classify(z))  # type: ignore[operator]
        return torch.cat(drawn), torch.cat(logits)

    def _encode(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Means and scales of p(Z|X), in batches."""
        with torch.no_grad():
            return [self._model.encode(part.float() / 255) for part in images.split(BATCH)]  # type: ignore[operator]
