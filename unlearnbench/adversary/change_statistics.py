"""What a model's answers say of one image, before and after unlearning: with the image's label, or without it."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from unlearnbench.metrics.distributions import margin
from unlearnbench.settings.scenario import Level

ChangeStatistic = Literal["margin", "loss", "posterior", "change"]
STATISTICS: tuple[ChangeStatistic, ...] = get_args(ChangeStatistic)

_SMALLEST = 1e-12  # of probabilities, before their logarithm is taken


def statistic(name: ChangeStatistic, before: Tensor, after: Tensor, labels: Tensor, level: Level) -> Tensor:
    """One number for each image, larger where more was lost: f64[...] from outputs f32[..., D].

    `margin`: the fall of phi = log p_y - log(1 - p_y); `loss`: the rise of -log p_y; `posterior`: the rise of the
    distance between the posterior and the label, half their L1 distance, which is the fall of p_y; `change`: the
    Euclidean distance between the answers, posteriors or representations, for which no label is needed.

    Args:
        labels: i64[...]; unused by `change`.
        level: at which the outputs were observed; `representation` has `change` only.
    """
    if name == "change":
        moved = posteriors(after, level) - posteriors(before, level)
        distance: Tensor = moved.square().sum(-1).sqrt()
        return distance
    lost: Tensor = of_label(name, before, labels, level) - of_label(name, after, labels, level)
    return lost


def of_label(name: ChangeStatistic, outputs: Tensor, labels: Tensor, level: Level) -> Tensor:
    """What is lost of the label by one model's outputs f32[..., Y]: phi, log p_y or p_y, f64[...]."""
    if name == "margin":
        return margin(outputs, labels, "log_probabilities" if _is_logarithmic(level) else "probabilities")
    own = outputs.double().gather(-1, labels.expand(outputs.shape[:-1])[..., None])[..., 0]
    if name == "posterior":
        return own.exp() if _is_logarithmic(level) else own
    return own if _is_logarithmic(level) else own.clamp_min(_SMALLEST).log()


def posteriors(outputs: Tensor, level: Level) -> Tensor:
    """Probabilities f64[..., Y], as far as the level shows them; representations stay as they are."""
    return outputs.double().exp() if _is_logarithmic(level) else outputs.double()


def total_variation(before: Tensor, after: Tensor, level: Level) -> Tensor:
    """Half the L1 distance of the posteriors f32[..., Y] that are seen: f64[...], from 0 to 1."""
    distance: Tensor = (posteriors(after, level) - posteriors(before, level)).abs().sum(-1) / 2
    return distance


def _is_logarithmic(level: Level) -> bool:
    return level in ("log_probabilities", "parameters")
