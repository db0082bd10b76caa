"""How models are made: a network's factory, what the network has, and whether torch.func vectorises it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unlearnbench.models import information_bottleneck
from unlearnbench.models.information_bottleneck import InformationBottleneck
from unlearnbench.models.plain_network import PlainNetwork
from unlearnbench.models.stack import Functional, Stack, Tensors
from unlearnbench.models.vectorised import vectorised
from unlearnbench.settings.scenario import BottleneckParams, Network

ImageShape = tuple[int, int, int]  # C, H, W of images
Make = Callable[[ImageShape, int], nn.Module]

BATCH = 3  # images of the trial: batch normalisation needs two
TOLERANCE = 1e-6  # between vectorised models and single ones, both in float64


@dataclass(frozen=True, eq=False)
class Architecture:
    """A network for images of any shape and any number of classes.

    Attributes:
        make: a network with weights drawn from torch's random numbers.
        has_features, has_posterior: see PlainNetwork.
        is_checked: whether a network whose numbers would mean nothing is refused; not by `check`, which says more.
    """

    make: Make
    has_features: bool = False
    has_posterior: bool = False
    is_checked: bool = True
    _looped: dict[tuple[ImageShape, int], tuple[bool, bool]] = field(default_factory=dict, init=False, repr=False)

    def build(self, shape: ImageShape, classes: int, seed: int) -> nn.Module:
        """A freshly initialised model on the CPU; torch's random state is left as it was.

        Args:
            shape: C, H, W of the images.
            seed: of the initialisation.
        """
        made = self._made(shape, classes, seed)
        if isinstance(made, InformationBottleneck):  # speaks the harness's language, and is known to vectorise
            return made
        return self._wrapped(made, self.looped(shape, classes))

    def looped(self, shape: ImageShape, classes: int) -> tuple[bool, bool]:
        """Whether models of this network are computed one after the other in training and in evaluation, because
        vectorised ones fail or differ from single ones. Tried once, on two models and a few images of noise."""
        key = shape, classes
        if key not in self._looped:
            parts = [self._made(shape, classes, seed) for seed in (0, 1)]
            if isinstance(parts[0], InformationBottleneck):
                self._looped[key] = False, False
            else:
                models = [self._wrapped(part, (False, False)) for part in parts]
                if self.is_checked:
                    first, again = (self._wrapped(self._made(shape, classes, 0), (False, False)) for _ in range(2))
                    _check_answers(first.eval(), again.eval(), shape, classes)
                self._looped[key] = _looped(models, shape)
        return self._looped[key]

    def in_turn(self, shape: ImageShape, classes: int) -> list[str] | None:
        """In which of `training` and `evaluation` models are computed one after the other; None: it was not tried."""
        looped = self._looped.get((shape, classes))
        modes = zip(("training", "evaluation"), looped or (), strict=False)
        return None if looped is None else [mode for mode, in_turn in modes if in_turn]

    def _made(self, shape: ImageShape, classes: int, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.make(shape, classes)

    def _wrapped(self, network: nn.Module, looped: tuple[bool, bool]) -> PlainNetwork:
        return PlainNetwork(network, self.has_features, self.has_posterior, looped)


def _check_answers(model: PlainNetwork, again: PlainNetwork, shape: ImageShape, classes: int) -> None:
    """Raise ValueError for a network whose numbers would mean nothing: the whole of what `check` looks at is more.

    Args:
        again: the same network, made once more with the same seed.
    """
    if not any(value.requires_grad for value in model.parameters()):
        raise ValueError("the network has no parameters to train")
    images = torch.rand(BATCH, *shape, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        logits, other = model(images), again(images)
        if logits.shape != (BATCH, classes):
            raise ValueError(f"the network gave {tuple(logits.shape)} for {BATCH} images of {classes} classes")
        if not torch.equal(logits, other):
            raise ValueError("the network gave two answers to one question: it draws random numbers other than torch's"
                             " when it is made, or any in evaluation (`unlearnbench check`)")  # fmt: skip
        if model.has_features and not torch.allclose(model.classify(model.represent(images)), logits, 1e-4, 1e-4):
            raise ValueError("classify(encode(images)) is not what calling the network gives (`unlearnbench check`)")


def looped_of(network: nn.Module, shape: ImageShape) -> tuple[bool, bool]:
    """As `Architecture.looped`, for copies of a network that has been made already, on the CPU."""
    return _looped([PlainNetwork(copy.deepcopy(network)) for _ in range(2)], shape)


def _looped(parts: Sequence[nn.Module], shape: ImageShape) -> tuple[bool, bool]:
    stack = Stack.of([part.double() for part in parts])
    return not agrees(stack, shape, True), not agrees(stack, shape, False)


def bottleneck(network: Network) -> Architecture:
    """The architecture of one of the bottleneck networks, which need no plugin."""
    params = BottleneckParams.model_validate(network.params)

    def make(shape: ImageShape, classes: int) -> nn.Module:
        return information_bottleneck.build(network.name, params, shape, classes)

    return Architecture(make, has_features=True, has_posterior=True)


def agrees(stack: Stack, shape: ImageShape, training: bool) -> bool:
    """Whether logits, gradients and buffers of vectorised models equal those of single ones."""
    images = torch.rand(stack.replicas, BATCH, *shape, dtype=stack.dtype, generator=torch.Generator().manual_seed(0))
    router = stack.router(training)

    def one(params: Tensors, buffers: Tensors, x: Tensor) -> Tensor:
        return Functional(router, params, buffers)(x)

    def results(looped: bool) -> list[Tensor]:
        # As in training: gradients by autograd outside, and batch normalisation writes into its buffers.
        params = {name: value.detach().clone().requires_grad_() for name, value in stack.params.items()}
        buffers = {name: value.clone() for name, value in stack.buffers.items()}
        logits = vectorised(one, looped, (0, 0, 0))(params, buffers, images)
        gradients = torch.autograd.grad(logits.log_softmax(-1)[..., 0].sum(), list(params.values()), allow_unused=True)
        return [logits, *(gradient for gradient in gradients if gradient is not None), *buffers.values()]

    with torch.random.fork_rng(devices=[]):
        try:
            pairs = zip(results(looped=False), results(looped=True), strict=True)
        except Exception:  # whatever torch.func or the network says: models one by one will show whether it works
            return False
    return all(torch.allclose(together, alone, TOLERANCE, TOLERANCE) for together, alone in pairs)
