"""The variational autoencoder that turns updates into images, dense or convolutional, and how it is trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from unlearnbench.adversary.decoders import squared_error
from unlearnbench.models.optimisers import Adam

PATIENCE = 15  # validations without a lower error
ROUND = 5  # steps between validations, at least: with few shadows an epoch is a single step
AVERAGING = 0.99  # of weights, per step
INPUT_NOISE = 0.2  # of inputs of unit scale
SMALLEST = 4  # side of the first map of a convolutional decoder, at least
LARGEST_LOG = 10.0  # of a variance: the exponential of an unusual input would end the training
FEWEST_HIDDEN, MOST_HIDDEN = 64, 1_024  # where not given: as many as training rows, within these
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
        mean: f32[C * H * W], the mean image, which is where the decoder starts: left to learn is what differs from it.
        rows: training rows, which decide about hidden units where the settings do not.
        hints: numbers that the decoder gets beside the code.
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
    """The autoencoder trained with squared error plus a weighted KL to N(0, I).

    Args:
        settings: sizes and training.
        shape: C, H, W of images.
        seed: of its own random stream; the global one is left as it was.
        inputs: f32[n, R], standardised.
        targets: f32[n, C * H * W] in [0, 1].
        validation: bool[n], the rows that decide when to stop.
    """

    def __init__(
        self, settings: VaeSettings, shape: Shape, seed: int, inputs: Tensor, targets: Tensor, validation: Tensor
    ) -> None:
        x, y = inputs[~validation], targets[~validation]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = Autoencoder(settings, inputs.shape[1], shape, y.mean(0), len(x))

            def loss(rows: Tensor) -> Tensor:
                code, kl = self._network.sample(noisy(x[rows]))
                error = (self._network.decode(code) - y[rows]).square().sum(1)
                value: Tensor = (error + settings.kl_weight * kl).mean()
                return value

            def error() -> float:
                return squared_error(self.predict(inputs[validation]), targets[validation])

            self.validation_error = train(self._network, settings, len(x), loss, error)

    def predict(self, inputs: Tensor) -> Tensor:
        """f32[T, M], decoded from the mean of the code."""
        with torch.no_grad():
            return self._network.decode(self._network.encode(inputs)[0])


def noisy(inputs: Tensor) -> Tensor:
    """Inputs as another draw of the unlearning's noise might have made them: with few shadows it is learned else."""
    return inputs + INPUT_NOISE * torch.randn_like(inputs)


def train(
    network: nn.Module,
    settings: VaeSettings,
    count: int,
    loss: Callable[[Tensor], Tensor],
    error: Callable[[], float],
    batch: int = 64,
) -> float:
    """Minimise with Adam until the validation error has not fallen for a while; end with the weights of the best epoch.

    Judged and kept are running averages of the weights, which need no schedule of learning rates (Polyak and Juditsky,
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
    """Maps that double their side until the image fits in; what sticks out is cut off."""
    channels, height, w = shape
    doublings = max(1, int(math.log2(max(1, min(height, w) / SMALLEST))))
    first = [-(-side // 2**doublings) for side in (height, w)]
    maps = [max(16, hidden // 4 // 2**k) for k in range(doublings)]
    layers: list[nn.Module] = [nn.Linear(width, maps[0] * first[0] * first[1]), nn.Unflatten(1, (maps[0], *first))]
    for now, then in zip(maps, [*maps[1:], channels], strict=True):
        layers += [nn.GELU(), nn.ConvTranspose2d(now, then, kernel_size=4, stride=2, padding=1)]
    return nn.Sequential(*layers[:-1], _quiet(layers[-1]), _Cut(height, w))


class _Cut(nn.Module):
    """The upper left of maps."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, maps: Tensor) -> Tensor:
        return maps[..., : self.height, : self.width]


def _quiet(layer: nn.Module) -> nn.Module:
    """A last layer that says little at first."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.1)
    return layer
