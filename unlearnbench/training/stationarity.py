"""What a trained model's weights say about the penalties that they were trained with (Wang and Gong, 2018).

Where training has reached an optimum of L + sum_i lambda_i Omega_i, gradients cancel: b + sum_i lambda_i a_i = 0 with
b = grad L and a_i = grad Omega_i. Whoever knows the images can compute all but the lambda_i.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import grad
from torch.nn import functional as F

from unlearnbench.models.stack import Functional, Stack
from unlearnbench.training.curvature import Vector
from unlearnbench.training.divergences import Reduction, kl_to_prior


def penalty_weights(loss: Tensor, penalties: dict[str, Tensor]) -> dict[str, float]:
    """The weights with which the gradients cancel best, none below 0; for a single one -a'b / a'a (their Eq. 7).

    Args:
        loss: f64[P], gradient of the loss.
        penalties: f64[P] each, gradients of the penalties. One that is 0 everywhere says nothing and is left out.
    """
    from scipy.optimize import nnls

    seen = {name: value for name, value in penalties.items() if bool(value.any())}
    if not seen:
        return {}
    found, _ = nnls(torch.stack(list(seen.values()), 1).numpy(), -loss.numpy())
    return dict(zip(seen, found.tolist(), strict=True))


def gradients(
    model: Stack, images: Tensor, labels: Tensor, draws: int, reduction: Reduction, seed: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Gradients f64[P] of the cross-entropy and of the penalties `beta` and `l2` at the first model's weights.

    Args:
        images: f32[n, C, H, W] from 0 to 1.
        labels: i64[n].
        draws: of z ~ p(Z|X) that the loss is averaged over.
        reduction: of the KL over the latent dimensions.
        seed: of the draws.
    """
    one = model.slice(0, 1).to("cpu", torch.float64)
    params, buffers = one.first()
    router, x = one.router(training=False), images.double()
    generator = torch.Generator().manual_seed(seed)

    def cross_entropy(values: Vector) -> Tensor:
        made = Functional(router, values, buffers)
        if not made.has_posterior:
            return F.cross_entropy(made(x), labels)
        mean, scale = made.encode(x)
        noise = torch.randn(draws, *mean.shape, generator=generator, dtype=mean.dtype)
        return torch.stack([F.cross_entropy(made.classify(mean + scale * each), labels) for each in noise]).mean()

    def divergence(values: Vector) -> Tensor:
        return kl_to_prior(*Functional(router, values, buffers).encode(x), reduction).mean()

    def half_square(values: Vector) -> Tensor:
        return 0.5 * torch.stack([value.square().sum() for value in values.values()]).sum()

    def flat(function: object) -> Tensor:
        return torch.cat([value.flatten() for value in grad(function)(dict(params)).values()])  # type: ignore[arg-type]

    penalties = {"l2": flat(half_square)}
    if Functional(router, params, buffers).has_posterior:
        penalties["beta"] = flat(divergence)
    return flat(cross_entropy), penalties
