"""K copies of one model with stacked parameters, and one model as a function of its parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import stack_module_state

from unlearnbench.models.plain_network import LackingError, has_features, has_posterior
from unlearnbench.models.vectorised import is_looped, vectorised

Tensors = dict[str, Tensor]


class Router:
    """One module without weights of its own: each call supplies parameters and buffers.

    torch.func.functional_call does the same, but for `forward` only, and its checks for tied weights cost more than a
    small model's kernels (0.4 ms per call, where a whole training step takes 1.2 ms).
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.has_posterior, self.has_features = has_posterior(module), has_features(module)
        self.is_looped = is_looped(module)
        self._slots: dict[str, list[tuple[dict[str, Any], str]]] = {}
        names: dict[int, str] = {}  # tied weights have one name, and several places
        for path, part in module.named_modules():
            prefix = f"{path}." if path else ""
            for table in (part._parameters, part._buffers):
                for leaf, value in table.items():
                    if value is not None:
                        name = names.setdefault(id(value), prefix + leaf)
                        self._slots.setdefault(name, []).append((table, leaf))

    def call(self, tensors: tuple[Mapping[str, Tensor], Mapping[str, Tensor]], method: str, *args: Any) -> Any:
        """`module.method(*args)` with the given values of its parameters and buffers; training may change buffers."""
        for part in tensors:
            self.fill(part)
        result = getattr(self._module, method)(*args)
        if self._module.training:
            self._read_back(tensors[1])
        return result

    def _read_back(self, buffers: Mapping[str, Tensor]) -> None:
        """Buffers that were assigned to, rather than changed in place as those of batch normalisation are."""
        for name, value in buffers.items():
            table, leaf = self._slots[name][0]
            if table[leaf] is not value:
                value.copy_(table[leaf].detach())

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Give parameters and buffers their values."""
        for name, value in tensors.items():
            for table, leaf in self._slots[name]:
                table[leaf] = value


class Functional:
    """A model with given parameters: `model(x, noise)`, differentiable, and, where the network has a representation,
    `model.represent(x)`, `model.encode(x)` and `model.classify(z)`."""

    def __init__(self, router: Router, params: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
        self._router = router
        self.params = params
        self.buffers = buffers

    def with_params(self, params: Mapping[str, Tensor]) -> Functional:
        """The same model with other parameters."""
        return Functional(self._router, params, self.buffers)

    def __call__(self, images: Tensor, noise: Any = None) -> Tensor:
        logits: Tensor = self._call("forward", images, noise)
        return logits

    @property
    def has_posterior(self) -> bool:
        """Whether `encode` works."""
        return self._router.has_posterior

    @property
    def has_features(self) -> bool:
        """Whether `represent` and `classify` work."""
        return self._router.has_features

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale of p(Z|X), f32[B, J] each. Raises LackingError for networks without a posterior."""
        if not self.has_posterior:
            raise LackingError("posterior")
        encoded: tuple[Tensor, Tensor] = self._call("encode", images)
        return encoded

    def represent(self, images: Tensor) -> Tensor:
        """The representation f32[B, J]: the mean of p(Z|X), or features. Raises LackingError."""
        if self.has_posterior:
            return self.encode(images)[0]
        if not self.has_features:
            raise LackingError("features")
        features: Tensor = self._call("represent", images)
        return features

    def classify(self, z: Tensor) -> Tensor:
        """Logits f32[B, Y] from the representation. Raises LackingError."""
        if not self.has_features:
            raise LackingError("features")
        logits: Tensor = self._call("classify", z)
        return logits

    def _call(self, method: str, *args: Any) -> Any:
        return self._router.call((self.params, self.buffers), method, *args)


def _fixed(value: Tensor, is_parameter: bool) -> Tensor:
    """A buffer, or a parameter that is not trained."""
    return nn.Parameter(value, requires_grad=False) if is_parameter else value


@dataclass(frozen=True, eq=False)
class Stack:
    """K models of one architecture: params and buffers {name: [K, ...]}; `base` lies on the meta device."""

    base: nn.Module
    params: Tensors
    buffers: Tensors

    @classmethod
    def of(cls, modules: Sequence[nn.Module]) -> Stack:
        """A stack of copies of modules of one architecture."""
        params, buffers = stack_module_state(list(modules))
        frozen = [name for name, value in modules[0].named_parameters() if not value.requires_grad]
        buffers |= {name: params.pop(name) for name in frozen}  # carried along, and never trained
        if not params:
            raise ValueError("the network has no parameters to train")
        detached = {name: value.detach().clone() for name, value in params.items()}
        base = copy.deepcopy(modules[0])
        router = Router(base)  # not `to("meta")`, which would untie weights
        router.fill({name: nn.Parameter(value[0].to("meta")) for name, value in detached.items()})
        router.fill({name: _fixed(value[0].to("meta"), name in frozen) for name, value in buffers.items()})
        return cls(base, detached, {name: value.detach().clone() for name, value in buffers.items()})

    @classmethod
    def concatenate(cls, stacks: Sequence[Stack]) -> Stack:
        """One stack of all replicas, in order."""
        first = stacks[0]
        if len(stacks) == 1:
            return first
        return first.with_tensors({name: torch.cat([s.tensors[name] for s in stacks]) for name in first.tensors})

    @property
    def replicas(self) -> int:
        return next(iter(self.params.values())).shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return next(iter(self.params.values())).dtype

    @property
    def tensors(self) -> Tensors:
        """Parameters and buffers by name, [K, ...]."""
        return {**self.params, **self.buffers}

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> Stack:
        """The same architecture with other values, [K, ...]."""
        return Stack(self.base, {n: tensors[n] for n in self.params}, {n: tensors[n] for n in self.buffers})

    def apply(self, function: Callable[[Tensor], Tensor]) -> Stack:
        """A stack with `function` applied to every tensor."""
        return self.with_tensors({name: function(value) for name, value in self.tensors.items()})

    def slice(self, first: int, last: int) -> Stack:
        """Replicas first..last-1."""
        return self.apply(lambda value: value[first:last])

    def chunks(self, size: int) -> Iterator[Stack]:
        """All replicas, at most `size` at a time."""
        return (self.slice(first, first + size) for first in range(0, self.replicas, size))

    def take(self, first: int, last: int) -> Stack:
        """As `slice`, but a stack of one shared replica stays as it is."""
        return self if self.replicas == 1 else self.slice(first, last)

    def expand(self, replicas: int) -> Stack:
        """Copies of a single replica."""
        if self.replicas == replicas:
            return self
        return self.apply(lambda value: value.expand(replicas, *value.shape[1:]).clone())

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Stack:
        """Move to a device; `dtype` applies to floating-point tensors only."""
        return self.apply(lambda v: v.to(device, dtype if v.is_floating_point() else None))

    def module(self, replica: int) -> nn.Module:
        """One replica as an ordinary module of its own, in eval mode."""
        module = copy.deepcopy(self.base)
        router = Router(module)  # not `load_state_dict`, which would untie weights and knows no temporary buffers
        router.fill({name: nn.Parameter(value[replica].detach().clone()) for name, value in self.params.items()})
        frozen = {name for name, _ in self.base.named_parameters()} - set(self.params)
        for name, value in self.buffers.items():
            router.fill({name: _fixed(value[replica].detach().clone(), name in frozen)})
        return module.eval()

    def router(self, training: bool) -> Router:
        """The bare module. Batch normalisation is in train mode while training and in eval mode while erasing: a few
        images give no usable batch statistics, and unlearning must not change the running ones."""
        return Router(copy.deepcopy(self.base).train(training))

    def takes_one(self, shape: Sequence[int]) -> bool:
        """Whether these models can be trained on a minibatch of one image C, H, W.

        Batch normalisation can't, where a small image has shrunk to one value per channel.
        """
        if not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in self.base.modules()):
            return True
        try:  # on the meta device: only the shapes go through the layers
            copy.deepcopy(self.base).train()(torch.empty(1, *shape, device="meta"))
        except ValueError as error:
            return "more than 1 value per channel" not in str(error)
        except (NotImplementedError, RuntimeError):  # layers that need values: train them as they are
            return True
        return True

    def outputs(self, images: Tensor, batch: int = 1_000) -> tuple[Tensor, Tensor]:
        """Representations (means of p(Z|X), features, or none: J = 0) and logits at them, for images shared by all
        replicas.

        Args:
            images: u8[n, C, H, W].
            batch: images per forward pass.

        Returns:
            f32[K, n, J] and f32[K, n, Y].
        """
        one, looped = self._evaluation()
        means, logits = [], []
        with torch.no_grad():
            for part in images.split(batch):
                x = part.to(self.dtype) / 255
                if self.replicas == 1:
                    mean, logit = (value[None] for value in one(*self.first(), x))
                else:
                    mean, logit = vectorised(one, looped, (0, 0, None))(self.params, self.buffers, x)
                means.append(mean)
                logits.append(logit)
        return torch.cat(means, 1), torch.cat(logits, 1)

    def own_outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As `outputs`, but each replica has its own images u8[K, n, C, H, W]; a single replica answers about all."""
        count = images.shape[0]
        if self.replicas == 1:
            means, logits = self.outputs(images.flatten(0, 1))
            means, logits = (value.view(count, images.shape[1], value.shape[-1]) for value in (means, logits))
            return means, logits
        with torch.no_grad():
            all_at_once = vectorised(*self._evaluation(), (0, 0, 0))
            means, logits = all_at_once(self.params, self.buffers, images.to(self.dtype) / 255)
        return means, logits

    def _evaluation(self) -> tuple[Callable[[Tensors, Tensors, Tensor], tuple[Tensor, Tensor]], bool]:
        """The answer of one model, and whether a stack of them takes turns."""
        router = self.router(training=False)

        def one(params: Tensors, buffers: Tensors, images: Tensor) -> tuple[Tensor, Tensor]:
            model = Functional(router, params, buffers)
            if not model.has_features:
                logits = model(images)
                return logits[..., :0], logits
            z = model.represent(images)
            return z, model.classify(z)

        return one, router.is_looped

    def first(self) -> tuple[Tensors, Tensors]:
        """Parameters and buffers of the first replica, without the replica dimension."""
        return {n: v[0] for n, v in self.params.items()}, {n: v[0] for n, v in self.buffers.items()}
