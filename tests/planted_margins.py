"""Per-example attacks' views with planted normal margins, for which the best possible attack is known."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.plugin import Images, InAndOut, Updates

TARGETS, CANDIDATES, CLASSES, POPULATION = 400, 2, 4, 60


def answers(margins: Tensor, labels: Tensor) -> Tensor:
    """Log-probabilities f32[..., Y] with these margins of the true class; the other classes share the rest."""
    own = F.one_hot(labels, CLASSES).bool().expand(*margins.shape, CLASSES)
    other = F.logsigmoid(-margins) - math.log(CLASSES - 1)
    return torch.where(own, F.logsigmoid(margins)[..., None], other[..., None]).float()


class PlantedView:
    """Margins are the image's own mean plus noise; learning an image moves its margin before, unlearning it after.

    Args:
        shifts: of the margin before and after unlearning.
        models: half of them learned each candidate, and nobody learned the population.
        spread: of the images' own means.
        permuted: whether which models learned an image is permuted.
    """

    def __init__(
        self, shifts: tuple[float, float], models: int, spread: float = 2, seed: int = 0, permuted: bool = False
    ) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(0, CLASSES, (TARGETS, CANDIDATES), generator=self.random)
        self.erased = torch.arange(CANDIDATES).expand(TARGETS, -1) < CANDIDATES // 2
        own, population = (spread * self._normal(*shape) for shape in ((TARGETS, CANDIDATES), (POPULATION,)))
        was_in = torch.rand(models, TARGETS, CANDIDATES, generator=self.random).argsort(0) < models // 2
        learned = was_in[torch.randperm(models, generator=self.random)] if permuted else was_in
        labels = torch.randint(0, CLASSES, (POPULATION,), generator=self.random)
        pixels = torch.zeros(POPULATION, 1, 4, 4, dtype=torch.uint8)
        self.probe = Images(pixels, labels, torch.full((POPULATION,), -1))
        known = [answers(own + self._normal(*was_in.shape) + shift * learned, self.labels) for shift in shifts]
        asked = [answers(own + self._normal(*own.shape) + shift * self.erased, self.labels) for shift in shifts]
        reference = [answers(population + self._normal(models, POPULATION), labels) for _ in shifts]
        of_target = [answers(population + self._normal(count, POPULATION), labels) for count in (1, TARGETS)]
        self._models = InAndOut(*known, was_in, *reference)
        self._target = Updates(*of_target, torch.empty(0), self.labels, *asked)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.random)

    def in_and_out(self) -> InAndOut:
        return self._models

    def updates(self) -> Updates:
        return self._target

    def unchanged(self) -> PlantedView:
        """The same, where no model changed by unlearning."""
        models, target = self._models, self._target
        self._models = models._replace(after=models.before, population_after=models.population_before)
        probe = target.probe_before.expand_as(target.probe_after)
        self._target = target._replace(probe_after=probe, candidates_after=target.candidates_before)
        return self


def null_interval() -> float:
    """Half of the 99.9 % interval of the AUC without an effect (Mann-Whitney)."""
    half = TARGETS * CANDIDATES // 2
    return 3.29 * math.sqrt((2 * half + 1) / (12 * half * half))
