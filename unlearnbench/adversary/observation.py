"""Observation levels: what of a model's output an adversary sees (docs/protocol.md#observation-levels)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.settings.scenario import Level

TOP_K = 3


def observe(level: Level, mean: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """What an adversary sees of outputs at the mean of p(Z|X).

    Args:
        mean: f32[..., J].
        logits: f32[..., Y].
        temperature: a defence that flattens (above 1) or sharpens (below 1) the probabilities shown.

    Returns:
        f32[..., D]: means of Z (D = J); log-probabilities (also at level `parameters`); probabilities; probabilities
        with all but the largest 3 set to 0; or the predicted label, one-hot (D = Y).
    """
    if level == "representation":
        return mean
    logits = logits / temperature
    if level in ("log_probabilities", "parameters"):
        return F.log_softmax(logits, -1)
    if level == "label":
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    probabilities = logits.softmax(-1)
    if level == "probabilities":
        return probabilities
    top = probabilities.topk(min(TOP_K, logits.shape[-1]), -1)
    return torch.zeros_like(probabilities).scatter(-1, top.indices, top.values)
