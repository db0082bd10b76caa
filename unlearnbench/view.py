"""The adversary's whole world. An attack can't reach what its `access` did not declare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from unlearnbench.erasures import Erasures
from unlearnbench.errors import AccessError
from unlearnbench.observation import observe
from unlearnbench.plugin import Access, Images, InAndOut, RetrainedModels, ShadowUpdates, Updates
from unlearnbench.queries import SampledModel
from unlearnbench.retrained_draw import PARTS
from unlearnbench.seeding import derive, stream
from unlearnbench.stack import Stack

if TYPE_CHECKING:
    from unlearnbench.scenario import Challenge, World

T = TypeVar("T")


class AttackView:
    """What an attack may look at.

    Args:
        access: as the attack declared it; asking for more raises AccessError.
        world: all sets; the attack sees parts of it only.
        seed: of the attack's random numbers, the same for every method under attack.
        before: the first target's model.
        after: the same after unlearning.
        targets: outputs of all targets; None in a utility experiment.
        shadows: what the adversary's own models answered, as the stage stored it; None where not declared.
        challenge: members and never-seen images; None where not declared.
    """

    def __init__(
        self,
        access: Access,
        world: World,
        classes: int,
        seed: int,
        before: Stack,
        after: Stack,
        targets: Erasures | None = None,
        shadows: Mapping[str, Tensor] | None = None,
        challenge: Challenge | None = None,
    ) -> None:
        self.access = access
        self.classes = classes
        self.seed = seed
        self._world = world
        self._models = {"before": before.take(0, 1), "after": after.take(0, 1)}
        self._sampled = {
            name: SampledModel(model, seed, name, access.queries)
            for name, model in self._models.items()
            if access.inference == "sample"
        }
        self._targets, self._shadows, self._challenge = targets, shadows, challenge

    # --- random numbers -------------------------------------------------------------------------------------------

    def generator(self, *purpose: str) -> np.random.Generator:
        """A numpy generator of the attack's own, one per purpose."""
        return stream(self.seed, *purpose)

    def torch_seed(self, *purpose: str) -> int:
        """A seed for torch.manual_seed, for libraries that use the global stream; the harness restores that."""
        return derive(self.seed, *purpose)

    # --- images the adversary holds -------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W of the images."""
        channels, height, width = self._world.pool.pixels.shape[1:]
        return channels, height, width

    @property
    def auxiliary(self) -> Images:
        """The adversary's own images, never seen by the target model."""
        return _anonymous(self._own("auxiliary images", lambda: self._world.images("pool") if self._leak else None))

    @property
    def probe(self) -> Images:
        """The images whose outputs updates are made of."""
        return _anonymous(self._own("probe images", lambda: self._world.images("probe") if self._leak else None))

    # --- outputs ----------------------------------------------------------------------------------------------------

    def before(self, images: Images) -> Tensor:
        """Outputs f32[n, D] of the first target's model before unlearning, at the declared level."""
        return self._query("before", images)

    def after(self, images: Images) -> Tensor:
        """Outputs f32[n, D] of the first target's model after unlearning, at the declared level."""
        return self._query("after", images)

    def updates(self) -> Updates:
        """The T targets' updates."""
        if self.access.inference == "sample":
            raise AccessError("updates are outputs at the mean of p(Z|X), and the attack's access declares `sample`")
        targets = self._own("updates", lambda: self._targets)
        return targets.updates(self.access, self._world)

    def shadow_updates(self) -> ShadowUpdates:
        """The declared number of erasures of the adversary's own images, by the method under attack."""
        tensors = self._declared("shadow_updates", "shadows")
        erasures = Erasures.of_tensors(tensors)
        rows = erasures.erased_rows.to(self._world.pool.labels.device)
        pixels, labels = self._world.pool.pixels[rows].cpu(), self._world.pool.labels[rows].cpu()
        updates = erasures.updates(self.access, self._world)
        return ShadowUpdates(
            updates, pixels, labels, erasures.candidate_erased, tensors["validation"], tensors["model"]
        )

    def in_and_out(self) -> InAndOut:
        """Models that forgot, or never saw, each of the targets' candidates, by the method under attack."""
        tensors = self._declared("in_and_out", "in_and_out")
        tried = Erasures.of_tensors(tensors)
        rows = self._own("candidates", lambda: self._targets).candidate_rows
        updates = tried.updates(self.access, self._world)
        # Each model's erasures have all candidates: put them in the order of the targets'.
        models = self.access.in_and_out
        places = tried.candidate_rows.view(models, -1).argsort(1)
        order = places.gather(1, rows.flatten().argsort().argsort().expand(models, -1))

        def placed(values: Tensor) -> Tensor:
            flat = values.reshape(models, order.shape[1], -1)
            chosen = flat.gather(1, order[:, :, None].expand(-1, -1, flat.shape[2]))
            return chosen.view(models, *rows.shape, -1)

        was_in = placed(tried.candidate_erased)[..., 0]
        return InAndOut(placed(updates.candidates_before), placed(updates.candidates_after), was_in)

    def retrained_models(self) -> RetrainedModels:
        """For each target, originals that forgot it with the method under attack, beside models that never saw it."""
        tensors = self._declared("retrained_models", "retrained")

        def seen(kind: str) -> Tensor:
            logits = tensors[f"{kind}_logits"]  # of Z nothing is kept, and `access` has refused its level
            return observe(self.access.level, logits, logits, self.access.temperature)

        parts = [PARTS[number] for number in tensors["part"].tolist()]
        return RetrainedModels(seen("unlearned"), seen("retrained"), seen("null"), tensors["labels"], parts)

    # --- membership of single models --------------------------------------------------------------------------------

    def known(self) -> tuple[Images, Tensor]:
        """Images whose membership the adversary knows, bool[n]."""
        challenge = self._members()
        return _anonymous(challenge.known), challenge.known_membership

    def challenge(self) -> Images:
        """Images whose membership is to be inferred."""
        return _anonymous(self._members().hidden)

    # --- inside ---------------------------------------------------------------------------------------------------

    @property
    def _leak(self) -> bool:
        return "pool" in self._world.parts

    def _declared(self, asked: str, field: str) -> Mapping[str, Tensor]:
        if getattr(self.access, field) == 0:
            raise AccessError(f"{asked} needs `{field}` in the attack's access, which declares none")
        return self._own(f"models for {asked}", lambda: self._shadows)

    def _members(self) -> Challenge:
        if not self.access.members:
            raise AccessError("known and challenge need `members=True` in the attack's access")
        return self._own("known members", lambda: self._challenge)

    def _query(self, which: Literal["before", "after"], images: Images) -> Tensor:
        pixels = images.pixels.to(self._world.pool.pixels.device)
        if self.access.inference == "sample":
            z, logits = self._sampled[which](pixels)
        else:
            z, logits = (values[0] for values in self._models[which].outputs(pixels))
        return observe(self.access.level, z, logits, self.access.temperature).float().cpu()

    def _own(self, what: str, get: Callable[[], T | None]) -> T:
        value = get()
        if value is None:
            raise AccessError(f"{what}: there are none in this experiment")
        return value


def _anonymous(images: Images) -> Images:
    """Without ids: they would tell training images from test images."""
    return Images(images.pixels, images.labels, torch.full_like(images.ids, -1))
