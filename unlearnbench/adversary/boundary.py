"""How far images are from a decision boundary, found from answers of yes or no alone (HopSkipJump, Chen et al., 2020).

Many images of many models at a time: each step is one question about all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

STARTS = 4  # images of the other side from which the search sets out
HALVINGS = 8  # questions that place the boundary between two images
JUMPS = 6  # lengths of a jump along the boundary's normal that are tried, each half the one before
FEWEST_DRAWS = 24  # with which a normal is estimated
SMALLEST = STARTS * HALVINGS + FEWEST_DRAWS + JUMPS + HALVINGS  # questions about an image: one jump

LabelsOf = Callable[[Tensor], Tensor]  # f32[T, n, M] of images -> i64[T, n]: their labels
Crossed = Callable[[Tensor], Tensor]  # f32[T, n, M] of images -> bool[T, n]: on the other side of the boundary


def between(crossed: Crossed, images: Tensor, beyond: Tensor, halvings: int = HALVINGS) -> Tensor:
    """The points on the other side, f32[T, n, M], that are next to the boundary on the lines from images to points
    beyond it, up to 2 ** -halvings of the way. Asks `halvings` questions about each."""
    low, high = torch.zeros(images.shape[:2]), torch.ones(images.shape[:2])
    for _ in range(halvings):
        middle = (low + high) / 2
        over = crossed(images + middle[..., None] * (beyond - images))
        low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    return images + high[..., None] * (beyond - images)


def rounds_of(questions: int) -> tuple[int, int]:
    """How many jumps so many questions about an image allow, and with how many draws before each."""
    left = questions - STARTS * HALVINGS
    rounds = max(1, round(math.sqrt(left / FEWEST_DRAWS)))
    return rounds, left // rounds - JUMPS - HALVINGS


def distances(
    answer: LabelsOf, images: Tensor, labels: Tensor, others: Tensor, questions: int, generator: torch.Generator
) -> Tensor:
    """How far each image is from where the answer is no longer its label, f32[T, c]; negative for an image that has
    another answer: minus the distance to where it is its label again.

    Args:
        answer: labels i64[T, n] of images f32[T, n, M]; asked about `others` once and about each image at most
            `questions` times.
        images, labels: f32[T, c, M] in [0, 1] and i64[T, c].
        others: f32[a, M], images to set out from. Where none of them lies beyond the boundary, the distance is the
            largest that two images can have.
        questions: at least SMALLEST.
    """
    count, candidates, width = images.shape
    inside = answer(images) == labels
    same = answer(others.expand(count, -1, -1))[:, None] == labels[:, :, None]
    apart = torch.cdist(images, others.expand(count, -1, -1)).masked_fill(same == inside[:, :, None], torch.inf)
    nearest = apart.topk(min(STARTS, len(others)), dim=2, largest=False).indices

    def crossed(asked: Tensor) -> Tensor:
        each = asked.shape[1] // candidates
        held = answer(asked) == labels.repeat_interleave(each, 1)
        return held != inside.repeat_interleave(each, 1)

    found = nearest_beyond(crossed, images, others[nearest], questions - 1, generator)
    distance = (found - images).norm(dim=2)
    distance = torch.where(apart.amin(2).isinf(), math.sqrt(width), distance)
    return torch.where(inside, distance, -distance)


def nearest_beyond(
    crossed: Crossed, images: Tensor, starts: Tensor, questions: int, generator: torch.Generator
) -> Tensor:
    """For each image a point beyond the boundary that is about as near as there is one, f32[T, c, M] in [0, 1].

    From the nearest of the starts, the normal of the boundary is estimated from which of many small random steps cross
    it; a jump along the normal, back to the boundary on the line to the image, and again.

    Args:
        crossed: answers; asked at most `questions` times about each image.
        images: f32[T, c, M] in [0, 1].
        starts: f32[T, c, k, M], points beyond the boundary.
        generator: of the random steps, which are the same for all images and models.
    """
    count, candidates, width = images.shape
    each = images[:, :, None].expand_as(starts)
    found = between(crossed, each.flatten(1, 2), starts.flatten(1, 2)).view_as(starts)
    nearest = (found - each).norm(dim=3).argmin(2)
    best = point = found.gather(2, nearest[:, :, None, None].expand(-1, -1, 1, width))[:, :, 0]
    rounds, draws = rounds_of(questions)
    for number in range(1, rounds + 1):
        distance = (point - images).norm(dim=2, keepdim=True)
        steps = F.normalize(torch.randn(draws, width, generator=generator), dim=1)
        tried = (point[:, :, None] + (distance / math.sqrt(width))[..., None] * steps).clamp(0, 1)
        over = crossed(tried.flatten(1, 2)).view(count, candidates, draws, 1).float()
        moved = tried - point[:, :, None]
        normal = F.normalize(((over - over.mean(2, keepdim=True)) * moved).mean(2), dim=2)
        lengths = distance / math.sqrt(number) * 0.5 ** torch.arange(JUMPS)
        jumps = (point[:, :, None] + lengths[..., None] * normal[:, :, None]).clamp(0, 1)
        landed = crossed(jumps.flatten(1, 2)).view(count, candidates, JUMPS)
        # The longest jump that lands beyond the boundary; none does: stay.
        first = torch.where(landed.any(2), landed.float().argmax(2), JUMPS)
        reached = torch.cat([jumps, point[:, :, None]], 2)
        reached = reached.gather(2, first[:, :, None, None].expand(-1, -1, 1, width))[:, :, 0]
        point = between(crossed, images, reached)
        nearer = (point - images).norm(dim=2, keepdim=True) < (best - images).norm(dim=2, keepdim=True)
        best = torch.where(nearer, point, best)
    return best
