"""The ordinary way, which benchmarks hold unlearnbench against: one nn.Module, one step at a time.

Written as research scripts are: a DataLoader over tensors, torch.optim.Adam, gradients clipped by norm, loss and
accuracy logged at every step. Models, losses, minibatches and numbers of steps are unlearnbench's; nothing is slower
than it needs to be for such a script, and nothing is made faster than one would write it. Nothing of unlearnbench is
used but a way to import torchvision where its wheel does not match torch's.
"""

from __future__ import annotations

import copy
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from unlearnbench.system.torchvision_import import import_torchvision

torch.set_num_threads(1)  # two are slower, for such small layers

LATENT, HIDDEN, CLASSES = 49, 96, 10
BATCH, LR, CLIP = 20, 1e-3, 5.0
BETA, BETA_U = 1e-3, 0.1
SMALLEST_SCALE = 1e-6


class Classifier(nn.Module):
    """The information-bottleneck model: a representer and an approximator."""

    def __init__(self, representer: nn.Module) -> None:
        super().__init__()
        self.representer = representer
        self.approximator = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.representer(images).chunk(2, dim=1)
        return mean, F.softplus(raw) + SMALLEST_SCALE

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, scale = self.encode(images)
        z = mean + scale * torch.randn_like(mean)
        return self.approximator(z), mean, scale


def mlp() -> Classifier:
    """784-96-2x49 and 49-96-10."""
    return Classifier(
        nn.Sequential(nn.Flatten(), nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT)),
    )


def resnet18() -> Classifier:
    """With the stem for 32x32 images."""
    import_torchvision()
    from torchvision import models

    body = models.resnet18(weights=None, num_classes=2 * LATENT)
    body.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    body.maxpool = nn.Identity()
    return Classifier(body)


def kl_to_prior(mean: Tensor, scale: Tensor) -> Tensor:
    return (0.5 * (mean**2 + scale**2 - 1) - torch.log(scale)).mean(1)


def kl_gaussians(mean: Tensor, scale: Tensor, mean2: Tensor, scale2: Tensor) -> Tensor:
    return (0.5 * ((scale / scale2) ** 2 + ((mean - mean2) / scale2) ** 2 - 1) - torch.log(scale / scale2)).mean(1)


def training_loss(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and logits."""
    logits, mean, scale = model(images)
    return F.cross_entropy(logits, labels) + BETA * kl_to_prior(mean, scale).mean(), logits


def train(model: Classifier, dataset: TensorDataset, epochs: int) -> list[tuple[float, float]]:
    """Train, and return loss and accuracy of every step."""
    loader = DataLoader(dataset, batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    history = []
    model.train()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            loss, logits = training_loss(model, images, labels)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            accuracy = (logits.argmax(1) == labels).float().mean()
            history.append((loss.item(), accuracy.item()))
    return history


def crfu_loss(model: Classifier, frozen: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 13 of the CRFU paper, and log-probabilities."""
    mean, scale = model.encode(images)
    z = mean + scale * torch.randn_like(mean)
    log_p = F.log_softmax(model.approximator(z), dim=1)
    with torch.no_grad():
        fixed_mean, fixed_scale = frozen.encode(images)
    fixed_log_p = F.log_softmax(frozen.approximator(z), dim=1)
    representation = BETA_U * kl_to_prior(mean, scale) + kl_gaussians(fixed_mean, fixed_scale, mean, scale)
    likelihood = log_p.gather(1, labels[:, None]).squeeze(1)
    label = BETA_U * likelihood + (fixed_log_p.exp() * (fixed_log_p - log_p)).sum(1)
    return (BETA * representation + label).mean(), log_p


def unlearn(original: Classifier, images: Tensor, labels: Tensor, steps: int) -> Classifier:
    """CRFU on a copy of the original, with a frozen copy as the reference."""
    model = copy.deepcopy(original)
    frozen = copy.deepcopy(original).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    history = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss, log_p = crfu_loss(model, frozen, images, labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        accuracy = (log_p.argmax(1) == labels).float().mean()
        history.append((loss.item(), accuracy.item()))
    return model


def attack(z: Tensor, target: Tensor, final: nn.Module, loss_function: nn.Module, epochs: int) -> list[float]:
    """Train a network from representations to images or to membership (Table 2's attacks)."""
    network = nn.Sequential(nn.Linear(z.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, target.shape[1]), final)
    loader = DataLoader(TensorDataset(z, target), batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)
    history = []
    for _ in range(epochs):
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = loss_function(network(batch), wanted)
            loss.backward()
            optimizer.step()
            history.append(loss.item())
    return history


# --- jobs: what a benchmark times ------------------------------------------------------------------------------------


@lru_cache
def noise_images(count: int, shape: tuple[int, ...]) -> TensorDataset:
    """Images of random pixels: a step on real digits takes as long."""
    return TensorDataset(torch.rand(count, *shape), torch.arange(count) % CLASSES)


@lru_cache
def an_original() -> Classifier:
    model = mlp()
    train(model, noise_images(2_000, (1, 28, 28)), epochs=1)
    return model


def train_mlp(images: int, epochs: int = 1) -> None:
    """The MNIST model."""
    train(mlp(), noise_images(images, (1, 28, 28)), epochs)


def train_resnet18(images: int) -> None:
    """One epoch of ResNet-18 on 32x32 colour images."""
    train(resnet18(), noise_images(images, (3, 32, 32)), epochs=1)


def erase(count: int, steps: int) -> None:
    """One image after the other, each from the same original."""
    images, labels = noise_images(2_000, (1, 28, 28)).tensors
    for k in range(count):
        unlearn(an_original(), images[k : k + 1], labels[k : k + 1], steps)


def attack_representation(samples: int, epochs: int = 1) -> None:
    """Both of Table 2's networks."""
    z, pixels = noise_images(samples, (LATENT,)).tensors[0], noise_images(samples, (784,)).tensors[0]
    members = (torch.arange(samples) % 2).float()[:, None]
    attack(z, pixels, nn.Sigmoid(), nn.MSELoss(), epochs)
    attack(z, members, nn.Identity(), nn.BCEWithLogitsLoss(), epochs)
