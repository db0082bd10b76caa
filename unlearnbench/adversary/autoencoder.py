"""The variational autoencoder that turns updates into images, dense or convolutional, and how it is trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from unlearnbench.adversary.decoders import squared_error
from unlearnbench.adversary.discriminator import Discriminator
from unlearnbench.models.optimisers import Adam

PATIENCE = 15  # validations without a lower error
ROUND = 5  # least number of steps between validations: with few shadows an epoch is a single step
AVERAGING = 0.99  # decay of the running average of weights, per step
INPUT_NOISE = 0.2  # standard deviation of the noise added to inputs of unit scale
SMALLEST = 4  # least side of a convolutional decoder's first feature map
LARGEST_LOG = 10.0  # of a variance: beyond it, the exponential of an unusual input would break training
FEWEST_HIDDEN, MOST_HIDDEN = 64, 1_024  # bounds of the default, which is the number of training rows
LARGE = 64 * 64  # pixels, beyond which a dense decoder is mostly weights
Shape = tuple[int, int, int]


class VaeSettings(Protocol):
    """Parameters of the autoencoder; an attack's own Params fit."""

    epochs: int
    code: int
    hidden: int | None
    lr: float
    kl_weight: float
    network: Literal["auto", "dense", "convolutional"]


class Autoencoder(nn.Module):
    """Encoder -> (mu, log variance) -> code -> decoder.

    Args:
        settings: sizes.
        width: R, numbers in an input.
        shape: C, H, W of images.
        mean: f32[C * H * W], the mean image, with which the decoder starts; it learns the differences from it.
        rows: training rows, which set the number of hidden units if the settings do not.
        hints: how many numbers the decoder gets besides the code.
    """

    def __init__(
        self, settings: VaeSettings, width: int, shape: Shape, mean: Tensor, rows: int, hints: int = 0
    ) -> None:
        super().__init__()
        hidden = settings.hidden or min(max(rows, FEWEST_HIDDEN), MOST_HIDDEN)
        self.encoder = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, 2 * settings.code))
        convolutional = settings.network == "convolutional"
        if settings.network == "auto":
            convolutional = shape[0] == 3 or shape[1] * shape[2] > LARGE
        build = _convolutional if convolutional else _dense
        self.decoder = build(settings.code + hints, hidden, shape)
        self.register_buffer("bias", torch.logit(mean.clamp(1e-3, 1 - 1e-3)))

    def encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the code, each f32[n, code]."""
        mean, log_variance = self.encoder(inputs).chunk(2, 1)
        return mean, LARGEST_LOG * torch.tanh(log_variance / LARGEST_LOG)

    def decode(self, code: Tensor) -> Tensor:
        """Images f32[n, C * H * W] in [0, 1] from codes, hints included, f32[n, code + hints]."""
        return torch.sigmoid(self.decoder(code).flatten(1) + self.bias)

    def sample(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """A code drawn for each input, f32[n, code], and its KL to N(0, I), f32[n]."""
        mean, log_variance = self.encode(inputs)
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1)
        return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean), kl


class VaeDecoder:
    """The autoencoder trained with squared error plus a weighted KL to N(0, I), and as the generator of a conditional
    GAN with a weighted adversarial term (discriminator.py) besides.

    Args:
        settings: sizes and training.
        shape: C, H, W of images.
        seed: of its own random stream; the global one is left as it was.
        inputs: f32[n, R], standardised.
        targets: f32[n, C * H * W] in [0, 1].
        validation: bool[n], the rows that decide when training stops.
        adversarial: weight of the adversarial term, per image; 0: none.
    """

    def __init__(
        self, settings: VaeSettings, shape: Shape, seed: int, inputs: Tensor, targets: Tensor, validation: Tensor,
        adversarial: float = 0.0,
    ) -> None:  # fmt: skip
        x, y = inputs[~validation], targets[~validation]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = Autoencoder(settings, inputs.shape[1], shape, y.mean(0), len(x))
            judge = Discriminator(inputs.shape[1], y.shape[1], settings.lr) if adversarial else None

            def loss(rows: Tensor) -> Tensor:
                code, kl = self._network.sample(noisy(x[rows]))
                decoded = self._network.decode(code)
                error = (decoded - y[rows]).square().sum(1)
                value: Tensor = (error + settings.kl_weight * kl).mean()
                return value if judge is None else value + adversarial * judge.term(decoded, y[rows], x[rows])

            def error() -> float:
                return squared_error(self.predict(inputs[validation]), targets[validation])

            self.validation_error = train(self._network, settings, len(x), loss, error)

    def predict(self, inputs: Tensor) -> Tensor:
        """f32[T, M], decoded from the mean of the code."""
        with torch.no_grad():
            return self._network.decode(self._network.encode(inputs)[0])


def noisy(inputs: Tensor) -> Tensor:
    """Inputs with noise added: with few shadows the network would otherwise learn the noise of unlearning by heart."""
    return inputs + INPUT_NOISE * torch.randn_like(inputs)


def train(
    network: nn.Module,
    settings: VaeSettings,
    count: int,
    loss: Callable[[Tensor], Tensor],
    error: Callable[[], float],
    batch: int = 64,
) -> float:
    """Minimise with Adam until the validation error stops falling for a while; end with the best epoch's weights.

    Running averages of the weights are validated and kept; they need no learning-rate schedule (Polyak and Juditsky,
    1992).

    Args:
        count: training rows.
        loss: of rows i64[B].
        error: of the network as it is, on the validation rows.

    Returns:
        The lowest validation error.
    """
    params = dict(network.named_parameters())
    values = [p.detach() for p in params.values()]
    averaged = [value.clone() for value in values]
    best, lowest, since, step = [value.clone() for value in values], math.inf, 0, 0
    adam, stride = Adam(settings.lr), max(1, ROUND * batch // count)
    for epoch in range(1, settings.epochs + 1):
        for rows in torch.randperm(count).split(batch):
            adam.step(params, torch.autograd.grad(loss(rows), list(params.values())))
            step += 1
            torch._foreach_lerp_(averaged, values, max(1 - AVERAGING, 1 / step))
        if epoch % stride and epoch < settings.epochs:
            continue
        current = [value.clone() for value in values]
        torch._foreach_copy_(values, averaged)
        now = error()
        since += 1
        if now < lowest:
            lowest, since, best = now, 0, [value.clone() for value in averaged]
        torch._foreach_copy_(values, current)
        if since >= PATIENCE:
            break
    torch._foreach_copy_(values, best)
    return lowest


def _dense(width: int, hidden: int, shape: Shape) -> nn.Module:
    last = nn.Linear(hidden, math.prod(shape))
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), _quiet(last))


def _convolutional(width: int, hidden: int, shape: Shape) -> nn.Module:
    """Feature maps whose side doubles until the image fits in; the rest is cropped."""
    channels, height, w = shape
    doublings = max(1, int(math.log2(max(1, min(height, w) / SMALLEST))))
    first = [-(-side // 2**doublings) for side in (height, w)]
    maps = [max(16, hidden // 4 // 2**k) for k in range(doublings)]
    layers: list[nn.Module] = [nn.Linear(width, maps[0] * first[0] * first[1]), nn.Unflatten(1, (maps[0], *first))]
    for now, then in zip(maps, [*maps[1:], channels], strict=True):
        layers += [nn.GELU(), nn.ConvTranspose2d(now, then, kernel_size=4, stride=2, padding=1)]
    return nn.Sequential(*layers[:-1], _quiet(layers[-1]), _Crop(height, w))


class _Crop(nn.Module):
    """The upper left part of feature maps."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, maps: Tensor) -> Tensor:
        return maps[..., : self.height, : self.width]


def _quiet(layer: nn.Module) -> nn.Module:
    """A last layer with small weights, so that its first outputs are small."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.1)
    return layer
