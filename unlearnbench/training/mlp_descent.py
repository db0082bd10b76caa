"""The shared trainer's step for the MLP with its gradient written out: most time is spent on this loss.

Autograd and vmap cost more than a small model's arithmetic. Here K models lie in one block of memory, [K, P], and so
do their gradients: clipping takes one norm and the optimiser one kernel. objectives.py has the same loss for autograd,
and tests compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.models.information_bottleneck import SMALLEST_SCALE, InformationBottleneck
from unlearnbench.models.optimisers import Adam
from unlearnbench.models.stack import Stack, Tensors
from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.batches import Batch
from unlearnbench.training.descent import clip
from unlearnbench.training.phases import Phase
from unlearnbench.training.vectorise import Inputs, Vectoriser

_LAYERS = ("representer.1", "representer.3", "approximator.0", "approximator.2")
_NAMES = [f"{layer}.{kind}" for layer in _LAYERS for kind in ("weight", "bias")]


def applies(scenario: Scenario, phase: Phase, fresh: Stack) -> bool:
    """Whether this is the training that is written out here, of these models."""
    own = isinstance(fresh.base, InformationBottleneck) and set(fresh.tensors) == set(_NAMES)
    plain = own and scenario.training.precision == "float32"
    return plain and phase.optimiser == "adam" and phase.trains is None


class MlpDescent:
    """Minimises CE(y | z) + beta * KL[p(Z|x) || N(0, I)] (CRFU paper, Eq. 2) over the remaining set with Adam.

    Args:
        params: {name: [K, ...]}; its entries become views of the block, with weights laid out as they are multiplied,
            [in, out].
        beta: weight of the KL, which is the mean or the sum over the latent dimensions.
    """

    def __init__(self, phase: Phase, vectoriser: Vectoriser, params: Tensors, beta: float) -> None:
        training = vectoriser.scenario.training
        self.clip, self.l2, self.beta = phase.clip, training.l2, beta
        self.kl_mean = training.kl_reduction == "mean"
        self.vectoriser = vectoriser
        replicas = len(next(iter(params.values())))
        size = sum(value[0].numel() for value in params.values())
        first = next(iter(params.values()))
        self.block, self.gradient = (first.new_zeros(replicas, size) for _ in range(2))
        values, self.slopes = _views(self.block, params), _views(self.gradient, params)
        for name, value in values.items():
            value.copy_(params[name])
            params[name] = value
        self.weights = [params[f"{layer}.weight"].mT for layer in _LAYERS]
        self.biases = [params[f"{layer}.bias"][:, None] for layer in _LAYERS]
        self.latent = self.weights[2].shape[1]
        self.optimiser = Adam(phase.lr)

    def step(self, inputs: Inputs) -> None:
        """One step of every replica on its minibatch of remaining images."""
        self.compute(inputs, None)

    def draw(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """The random numbers of a step."""
        assert inputs.remaining is not None
        return self.vectoriser.draw_numbers(inputs.remaining.labels.shape[1] * self.latent, 0)

    def compute(self, inputs: Inputs, noise: tuple[Tensor, Tensor] | None) -> None:
        """A step with these random numbers, or with the next ones."""
        assert inputs.remaining is not None
        normals, _ = noise or self.draw(inputs)
        with torch.no_grad():
            self._differentiate(inputs.remaining, normals)
            if self.l2:
                self.gradient.add_(self.block, alpha=self.l2)
            gradients = [self.gradient] if self.clip is None else clip([self.gradient], self.clip)
        self.optimiser.step({"block": self.block}, gradients)

    def changing(self) -> list[Tensor]:
        """Parameters and the optimiser's state."""
        return [self.block, *self.optimiser.state()]

    def keep(self, replicas: Tensor, params: Tensors) -> None:  # noqa: ARG002 (the protocol's names)
        """Never called: training ends for all replicas at once."""
        raise AssertionError("training has no stop rule")

    def saved(self) -> Any:
        """The optimiser's state."""
        return self.optimiser.saved()

    def restore(self, saved: Any) -> None:
        """Continue as from when `saved` was called."""
        self.optimiser.restore(saved)

    def _differentiate(self, batch: Batch, normals: Tensor) -> None:
        (w1, w2, w3, w4), (b1, b2, b3, b4) = self.weights, self.biases
        x = batch.images.flatten(2)
        replicas, count, _ = x.shape
        latent = self.latent
        noise = normals.view(replicas, count, latent)
        # Forward, names as in the paper: Eqs. 16 and 17.
        h1 = torch.baddbmm(b1, x, w1).relu_()
        encoded = torch.baddbmm(b2, h1, w2)
        mean, raw = encoded[..., :latent], encoded[..., latent:]
        scale = F.softplus(raw).add_(SMALLEST_SCALE)
        z = torch.addcmul(mean, scale, noise)
        h2 = torch.baddbmm(b3, z, w3).relu_()
        logits = torch.baddbmm(b4, h2, w4)
        # Backward. The batch is not padded: every image has weight 1 / count.
        d_logits = torch.softmax(logits, -1)
        labels = batch.labels[..., None]
        d_logits.scatter_add_(2, labels, d_logits.new_full((), -1.0).expand_as(labels))
        d_logits.div_(count)
        d_h2 = self._layer_back(3, h2, d_logits, w4)
        d_z = self._layer_back(2, z, torch.ops.aten.threshold_backward(d_h2, h2, 0), w3)
        pull = self.beta / count / (latent if self.kl_mean else 1)
        d_encoded = torch.empty_like(encoded)
        torch.add(d_z, mean, alpha=pull, out=d_encoded[..., :latent])
        d_scale = d_z.mul_(noise).add_(scale, alpha=pull).sub_(scale.reciprocal_(), alpha=pull)
        torch.mul(d_scale, torch.sigmoid(raw), out=d_encoded[..., latent:])
        d_h1 = self._layer_back(1, h1, d_encoded, w2)
        self._layer_back(0, x, torch.ops.aten.threshold_backward(d_h1, h1, 0), None)

    def _layer_back(self, layer: int, inputs: Tensor, slope: Tensor, weight: Tensor | None) -> Tensor:
        """A layer's gradients from the gradient of its outputs; returns the gradient of its inputs if `weight` is
        given."""
        name = _LAYERS[layer]
        torch.bmm(inputs.mT, slope, out=self.slopes[f"{name}.weight"].mT)
        torch.sum(slope, 1, out=self.slopes[f"{name}.bias"])
        return inputs if weight is None else torch.bmm(slope, weight.mT)


def _views(block: Tensor, params: Mapping[str, Tensor]) -> Tensors:
    """Each parameter as a view of a block [K, P], shaped [K, ...]; weight matrices are stored transposed."""
    views, at = {}, 0
    for name, value in params.items():
        part = block[:, at : at + value[0].numel()]
        at += value[0].numel()
        views[name] = part.unflatten(1, value.shape[1:][::-1]).mT if value.dim() == 3 else part
    return views
