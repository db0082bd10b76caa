"""Any classifier as the harness calls models: with noise, which most networks ignore, and by way of its
representation, where it has one."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from unlearnbench.models.noise import Noise


class PlainNetwork(nn.Module):
    """A network that maps images f32[B, C, H, W] to logits f32[B, Y].

    Args:
        network: the network; its parameters' names are prefixed by ``network.`` here.
        has_features: whether it has `encode`, to a representation f32[B, J], and `classify`, from there to logits.
        has_posterior: whether `encode` gives a pair, mean and scale of p(Z|x), f32[B, J] each.
        looped: whether models take turns where a stack of them is trained, and where it is evaluated, because
            torch.func cannot vectorise this network (architecture.py).
    """

    def __init__(
        self, network: nn.Module, has_features: bool = False, has_posterior: bool = False,
        looped: tuple[bool, bool] = (False, False),
    ) -> None:  # fmt: skip
        super().__init__()
        self.network = network
        self.has_features, self.has_posterior, self.looped = has_features, has_posterior, looped

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale of p(Z|x), f32[B, J] each. Only with `has_posterior`."""
        mean, scale = self._own("encode")(images)
        return mean.to(images.dtype), scale.to(images.dtype)

    def represent(self, images: Tensor) -> Tensor:
        """The representation f32[B, J], or the mean of p(Z|x). Only with `has_features` or `has_posterior`."""
        return self.encode(images)[0] if self.has_posterior else self._own("encode")(images).to(images.dtype)

    def classify(self, z: Tensor) -> Tensor:
        """Logits f32[B, Y] from the representation."""
        return cast(Tensor, self._own("classify")(z).to(z.dtype))

    def forward(self, images: Tensor, noise: Noise | None = None) -> Tensor:
        """Logits f32[B, Y]; with a posterior and `noise` at a sample from it, else without any noise."""
        if noise is None or not self.has_posterior:
            # A scenario may ask for lower precision inside the network; logits keep full precision.
            answer: Any = self.network(images)
            logits = answer if isinstance(answer, Tensor) else getattr(answer, "logits", None)  # some have more heads
            if not isinstance(logits, Tensor):
                raise TypeError(f"the network gave {type(answer).__name__}, not a tensor of logits")
            return logits.to(images.dtype)
        mean, scale = self.encode(images)
        return self.classify(mean + scale * noise.normal(*mean.shape))

    def _own(self, name: str) -> Any:
        return getattr(self.network, name)


def has_posterior(module: nn.Module) -> bool:
    """Whether a model gives mean and scale of p(Z|x). A method's own architecture does if it has `encode`."""
    return bool(getattr(module, "has_posterior", hasattr(module, "encode")))


def has_features(module: nn.Module) -> bool:
    """Whether a model has a representation."""
    return has_posterior(module) or bool(getattr(module, "has_features", False))


class LackingError(Exception):
    """A method asks a network for something that it does not have."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the network has no {what}; a method that needs it says so: `needs = ('{what}',)` (plugin.py), and"
            " is then skipped for such networks"
        )
