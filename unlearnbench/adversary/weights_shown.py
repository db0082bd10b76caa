"""Weights as an access shows them: rounded, or with noise."""

from __future__ import annotations

import torch

from unlearnbench.models.stack import Stack
from unlearnbench.settings.access import Access
from unlearnbench.system.seeding import derive


def weights_shown(models: Stack, access: Access, seed: int, which: str) -> Stack:
    """Models whose parameters are rounded to a precision, or have noise on them; their buffers stay.

    Args:
        seed, which: name the noise, which every model has its own of.
    """
    params = dict(models.params)
    if access.rounding == "bfloat16":
        params = {name: value.bfloat16().to(value.dtype) for name, value in params.items()}
    if access.noise:
        generator = torch.Generator().manual_seed(derive(seed, "noise on weights", which))
        drawn = {name: torch.randn(value.shape, generator=generator) for name, value in params.items()}
        params = {name: value + access.noise * drawn[name].to(value) for name, value in params.items()}
    return Stack(models.base, params, models.buffers)
