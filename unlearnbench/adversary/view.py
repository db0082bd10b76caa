"""All that an attack may see. It can't reach what its `access` does not declare.

A view holds no models and no sets: when the attack asks for something, the view asks the oracle for it by name
(oracle.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from unlearnbench.adversary.updates import InAndOut, RetrainedModels, ShadowUpdates, Updates
from unlearnbench.models.stack import Stack
from unlearnbench.settings.access import Access
from unlearnbench.splits.images import Images
from unlearnbench.splits.retrained_sets import PARTS
from unlearnbench.system.errors import AccessError
from unlearnbench.system.seeding import derive, stream

Ask = Callable[[str, Mapping[str, Tensor]], Mapping[str, Tensor]]
Which = Literal["before", "after"]

_CHANGE = "change."


class AttackView:
    """What an attack may look at. Everything is on the CPU; asking twice gives two copies.

    Args:
        access: as the attack declared it; asking for more raises AccessError.
        shape: C, H, W of the images.
        classes: Y.
        seed: of the attack's random numbers, the same for every method under attack.
        ask: answers questions; see Oracle.answer.
        network: gives a model of the architecture under attack, whose weights are then replaced; None: it can't be made
            here.
    """

    def __init__(
        self, access: Access, shape: tuple[int, int, int], classes: int, seed: int, ask: Ask,
        network: Callable[[], Stack] | None = None,
    ) -> None:  # fmt: skip
        self.access, self.shape, self.classes, self.seed = access, shape, classes, seed
        self._ask, self._network = ask, network

    # --- random numbers -------------------------------------------------------------------------------------------

    def generator(self, *purpose: str) -> np.random.Generator:
        """A numpy generator for the attack, one per purpose."""
        return stream(self.seed, *purpose)

    def torch_seed(self, *purpose: str) -> int:
        """A seed for torch.manual_seed, for libraries that use the global stream, which the harness restores."""
        return derive(self.seed, *purpose)

    # --- images the adversary holds -------------------------------------------------------------------------------

    @property
    def auxiliary(self) -> Images:
        """The adversary's own images, which the target model has never seen."""
        return _images(self._ask("auxiliary", {}))

    @property
    def probe(self) -> Images:
        """The images on which updates are observed."""
        return _images(self._ask("probe", {}))

    # --- outputs ----------------------------------------------------------------------------------------------------

    def before(self, images: Images) -> Tensor:
        """Outputs f32[n, D] of the first target's model before unlearning, at the declared level."""
        return self._ask("before", {"pixels": images.pixels})["outputs"]

    def after(self, images: Images) -> Tensor:
        """Outputs f32[n, D] of the first target's model after unlearning, at the declared level."""
        return self._ask("after", {"pixels": images.pixels})["outputs"]

    def updates(self) -> Updates:
        """The T targets' updates."""
        return _updates(self._ask("updates", {}))

    @property
    def erased_count(self) -> int:
        """s, how many images each erasure has removed."""
        return int(self._ask("erased_count", {})["count"])

    def ask(self, which: Which, pixels: Tensor) -> Tensor:
        """Outputs f32[T, n, D] of every target's model before or after unlearning, at the declared level.

        Each image that is asked about counts against the access's `budget`: n for this question, whatever T is, as each
        target is an erasure of its own.

        Args:
            pixels: u8[n, C, H, W], or one's own for each target: u8[T, n, C, H, W]; or f32 from 0 to 1 instead.
        """
        return self._ask(f"ask {which}", {"pixels": pixels})["outputs"]

    def models(self, which: Which) -> Stack:
        """The models themselves, at level `parameters`: T after unlearning; before it 1, where all erasures start from
        one original. They are copies, to be differentiated (`module(t)`), trained or changed at will.

        Raises:
            AccessError: not declared, or the network can't be made from its name.
        """
        weights = self._ask(f"models {which}", {})
        if self._network is None:
            raise AccessError("models: this network has no name by which an attack's process could make it")
        return self._network().with_tensors(weights)

    def shadow_updates(self) -> ShadowUpdates:
        """The declared number of erasures of the adversary's own images by the method under attack."""
        found = self._ask("shadow_updates", {})
        return ShadowUpdates(_updates(found), *(found[name] for name in ShadowUpdates._fields[1:]))

    def in_and_out(self) -> InAndOut:
        """Models that never saw a candidate of the targets, or unlearned it with the method under attack."""
        found = self._ask("in_and_out", {})
        return InAndOut(*(found[name] for name in InAndOut._fields))

    def retrained_models(self) -> RetrainedModels:
        """For each target, originals that unlearned it with the method under attack, and models that never saw it."""
        found = self._ask("retrained_models", {})
        parts = [PARTS[number] for number in found["part"].tolist()]
        return RetrainedModels(found["unlearned"], found["retrained"], found["null"], found["labels"], parts)

    # --- membership of single models --------------------------------------------------------------------------------

    def known(self) -> tuple[Images, Tensor]:
        """Images whose membership the adversary knows, bool[n]."""
        found = self._ask("known", {})
        return _images(found), found["membership"]

    def challenge(self) -> Images:
        """Images whose membership is to be inferred."""
        return _images(self._ask("challenge", {}))


def update_tensors(updates: Updates) -> dict[str, Tensor]:
    """Updates as tensors by name, from which a view makes Updates again."""
    plain = {name: value for name, value in updates._asdict().items() if isinstance(value, Tensor)}
    return plain | {_CHANGE + name: value for name, value in updates.parameter_changes.items()}


def _updates(tensors: Mapping[str, Tensor]) -> Updates:
    changes = {name.removeprefix(_CHANGE): value for name, value in tensors.items() if name.startswith(_CHANGE)}
    outputs: Any = {name: tensors[name] for name in Updates._fields if name in tensors}
    return Updates(**outputs, parameter_changes=changes)


def _images(tensors: Mapping[str, Tensor]) -> Images:
    labels = tensors["labels"]
    return Images(tensors["pixels"], labels, torch.full_like(labels, -1))
