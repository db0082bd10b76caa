"""What the change of a first layer gives away about the images that changed it, by arithmetic.

A first layer h = W x + b has the gradient dW = d x', db = d for one image x, with some d of its hidden units. So pixels
of 0 leave their weights as they are: the silhouette is exact. Gradient descent leaves x = (change of W) / (change of b)
in each unit, whatever the loss and the number of steps. Adam divides gradients by their size and adds its epsilon to
that: after a step, and nearly so after several, the ratio of the two changes is R = x (1 + e) / (x + e), where
e = epsilon / |d| is the unit's own. Hence 1 / R - 1 = e / (1 + e) (1 / x - 1): a matrix of rank one over units and
pixels, whose right singular vector is 1 / x - 1 up to a factor.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import torch
from torch import Tensor

from unlearnbench.adversary.updates import Updates
from unlearnbench.system.errors import AccessError

MISFIT = 0.02  # relative error of a unit's row that no weight goes below: its e differs from step to step
ROUNDS = 20  # of reweighting
FAINTEST = 1e-6  # ratio that is told from 0
FEWEST = 3  # units that an image is read from
ALIKE = 0.05  # difference between units, as a share of that between pixels, under which it was gradient descent
EVERYWHERE = 0.99  # share of the weights of pixels that are never lit, above which it was noise that changed them
SPREAD = 6  # standard deviations of what noise moves, above which a pixel has moved


class FirstLayer(NamedTuple):
    """Changes of a first layer, in double precision."""

    weights: Tensor  # f64[T, H, P]
    biases: Tensor  # f64[T, H]


class Traces(NamedTuple):
    """What tells one image, up to a factor for Adam."""

    pixels: Tensor  # bool[P], those that are not 0
    values: Tensor | None  # f64[m] of these: grey levels, or multiples of 1 / x - 1; None: they can't be told
    are_grey: bool  # whether `values` are grey levels
    reliability: float = 1.0  # share of the variance of `values`, as grey levels, that is no noise


def first_layer(updates: Updates, pixels: int) -> FirstLayer:
    """The layer that all pixels enter; hidden units of several models (of an ensemble) stand in one row.

    Without biases, that of the brightest pixel is taken for a bias: as if it were white.

    Raises:
        AccessError: there is none, as in convolutional networks.
    """
    changes = updates.parameter_changes
    # The first of all layers: later ones may have as many inputs as there are pixels.
    weights = [name for name, change in changes.items() if change.ndim >= 3]
    if not weights or changes[weights[0]].shape[-1] != pixels:
        raise AccessError(
            f"no layer of this network takes all {pixels} pixels, whose change could be read: unlearning_inversion"
            " does not need one"
        )
    change = changes[weights[0]]
    own = [name for name in weights if _layer(name) == _layer(weights[0]) and changes[name].shape == change.shape]
    flat = torch.cat([changes[name].double().flatten(1, -2) for name in own], 1)
    biases = [bias for bias in (re.sub("weight$", "bias", name) for name in own) if bias in changes]
    if len(biases) == len(own):
        return FirstLayer(flat, torch.cat([changes[bias].double().flatten(1) for bias in biases], 1))
    brightest = flat.abs().median(1).values.argmax(-1)
    return FirstLayer(flat, flat[torch.arange(len(flat)), :, brightest])


def _layer(name: str) -> str:
    """The name of a parameter without the number of its model in an ensemble."""
    return re.sub(r"^models\.\d+\.", "", name)


def moved(weights: Tensor, never: Tensor) -> Tensor:
    """Which weights f64[H, P] have changed, bool[H, P]; with noise on all of them, which pixels' have in all units.

    Args:
        never: bool[P], pixels that are 0 in every image: what changes their weights is noise.
    """
    changed = weights != 0
    if not bool(never.any()) or float(changed[:, never].double().mean()) < EVERYWHERE:
        return changed
    sizes = weights.abs().mean(0)
    noise = sizes[never]
    above = sizes > noise.mean() + SPREAD * noise.std(correction=0)
    return above.expand_as(weights)


def single(weights: Tensor, biases: Tensor, pixels: Tensor) -> Traces:
    """What one image has left.

    Args:
        weights: f64[H, P] changes of the units that saw no other image.
        biases: f64[H].
        pixels: bool[P], those of the image that are not 0.
    """
    active = biases != 0
    changes, own = weights[active][:, pixels], biases[active]
    ratios = changes / own[:, None]
    usable = (ratios > 0).all(1)  # other units' gradients have changed their sign between steps
    ratios, changes, own = ratios[usable], changes[usable], own[usable]
    if len(ratios) < FEWEST or ratios.shape[1] < 2:
        return Traces(pixels, None, False)
    middle = ratios.median(0).values
    if float((ratios - middle).abs().mean()) < ALIKE * float((middle - middle.mean()).abs().mean()):
        return Traces(pixels, own @ changes / own.square().sum(), True)
    inverse = 1 / ratios.clamp_min(FAINTEST) - 1
    halves = [_direction(inverse[half::2]) for half in (0, 1)]
    agreeing = torch.corrcoef(torch.stack([1 / (1 + half) for half in halves]))[0, 1]
    if not bool(agreeing > 0):  # also where one of them is constant
        return Traces(pixels, None, False)
    # Of twice as many units as a half has (Spearman-Brown).
    reliability = float(2 * agreeing / (1 + agreeing))
    return Traces(pixels, _direction(inverse), False, reliability)


def silhouettes(changed: Tensor, biases: Tensor, count: int, smallest: int) -> list[tuple[Tensor, Tensor]]:
    """The pixels bool[P] of single images among several, with the units bool[H] that saw each of them alone.

    A unit that is active for one of the images only has changed where this image is not 0. Sets of pixels that contain
    no other unit's are taken for single images, those of most units first.

    Args:
        changed: bool[H, P] from `moved`.
        biases: f64[H]; units whose bias has not changed saw nothing.
        count: s, how many images were erased.
        smallest: fewest pixels that an image has.
    """
    active = biases != 0
    patterns, which = changed[active].unique(dim=0, return_inverse=True)
    units = active.nonzero().flatten()
    sizes = patterns.sum(1)
    within = (patterns[:, None] & ~patterns[None]).sum(-1) == 0  # i lies within j
    strictly = within & (sizes[:, None] < sizes[None]) & (sizes[:, None] >= smallest)
    minimal = ~strictly.any(0) & (sizes >= smallest)
    support = torch.bincount(which, minlength=len(patterns))
    order = sorted(minimal.nonzero().flatten().tolist(), key=lambda pattern: -int(support[pattern]))
    found = []
    for pattern in order[:count]:
        own = torch.zeros_like(active)
        own[units[which == pattern]] = True
        found.append((patterns[pattern], own))
    return found


def _direction(rows: Tensor) -> Tensor:
    """The v f64[m] >= 0 of mean 1, or 0 if there is none, for which rows f64[h, m] are multiples of v; those that agree
    best weigh most."""
    sizes = rows.square().mean(1, keepdim=True).sqrt().clamp_min(torch.finfo(rows.dtype).tiny)
    found = torch.linalg.svd(rows / sizes, full_matrices=False)[2][0]
    found = found * torch.sign(found.sum())
    for _ in range(ROUNDS):
        found = found / found.square().mean().sqrt()
        factors = (rows @ found / rows.shape[1])[:, None]
        misfit = (rows - factors * found).square().mean(1, keepdim=True) / factors.square()
        weights = torch.where(factors > 0, 1 / (misfit + MISFIT**2), 0)
        if not bool(weights.sum() > 0):
            break
        found = (weights * rows / torch.where(factors > 0, factors, 1)).sum(0) / weights.sum()
    positive = (found / found.square().mean().sqrt()).nan_to_num(0).clamp_min(0)
    mean = float(positive.mean())
    return positive / mean if mean > FAINTEST else torch.zeros_like(positive)
