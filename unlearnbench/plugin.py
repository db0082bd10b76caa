"""What a contributor writes, a Method, an Attack, a Dataset or a Model (a network), and the values that it is handed.

A plugin is one class in one file; its name is the file's name. It imports the contract from here. Losses, divergences,
curvature (training/), decoders (adversary/) and statistics (metrics/) are there to be used, too.

Shapes: N images, C channels, H x W pixels, Y classes, J latent dimensions, K replicas, T targets, P probe images,
s erased images per erasure, c candidates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import nn

from unlearnbench.adversary.updates import Evidence, InAndOut, Measured, RetrainedModels, ShadowUpdates, Updates
from unlearnbench.adversary.view import AttackView
from unlearnbench.models.noise import Noise
from unlearnbench.models.stack import Stack
from unlearnbench.registry.base import CONTRACT_VERSION, Plugin
from unlearnbench.settings.access import Access
from unlearnbench.settings.scenario import Level, PluginParams, Scenario, Tier
from unlearnbench.splits.batches import SMALLEST, Batch
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.images import ImageData, Images, Splits
from unlearnbench.system.errors import InputError
from unlearnbench.system.seeding import derive, stream
from unlearnbench.training.context import Context
from unlearnbench.training.phases import Loss, Models, Objective, Phase, Transformation

__all__ = [
    "CONTRACT_VERSION", "SMALLEST", "Access", "Attack", "AttackView", "Batch", "Capability", "Context", "Dataset",
    "ErasureSets", "Evidence", "ImageData", "Images", "InAndOut", "InputError", "Level", "Loss", "LossMethod",
    "Measured", "Method", "Model", "Models", "Noise", "Phase", "Plugin", "PluginParams", "RetrainedModels", "Scenario",
    "ShadowUpdates", "Splits", "Stack", "Tier", "TransformMethod", "UnlearnParams", "Updates", "derive", "stream",
]  # fmt: skip


Capability = Literal["features", "posterior"]  # of a network


# --- methods -------------------------------------------------------------------------------------------------------


class UnlearnParams(PluginParams):
    """Parameters that gradient-based methods share."""

    lr: float | None = Field(None, gt=0, description="Adam's learning rate; null: the scenario's training lr")
    batch: int | None = Field(None, ge=1, description="minibatch size; null: the scenario's training batch")


class Method(Plugin, ABC):
    """An unlearning method.

    Implement `unlearn` for one model, or `unlearn_many` for K models at once; LossMethod and TransformMethod get both
    from a loss or a transformation written for ONE model.
    """

    kind = "method"
    reference: ClassVar[bool] = False  # listed without a rank: original, retrain and the other references

    @property
    def needs(self) -> Sequence[Capability]:
        """What the method needs of the network (see Model). It is skipped where the scenario's network lacks it."""
        return ()

    @property
    def own_original(self) -> bool:
        """Whether `train` makes an original that only this method uses."""
        return type(self).train is not Method.train

    @property
    def many_at_once(self) -> bool:
        """Whether the same kernels unlearn all replicas; a loop over replicas gains nothing from grouping them."""
        return type(self).unlearn_many is not Method.unlearn_many

    def build(self, context: Context) -> nn.Module:
        """A model of the architecture that `train` returns, with any weights. Where the scenario's network has a
        posterior it has `encode` and `classify`, as that has."""
        return context.build(0)

    def train(self, data: Images, context: Context) -> nn.Module | None:
        """The original model, or None for the shared trainer. It sees images, not which of them will be erased."""
        return None

    def unlearn(self, model: nn.Module, splits: Splits, context: Context) -> nn.Module:
        """The model after forgetting `splits.erased`. `model` must stay as it is."""
        raise TypeError(f"method {self.name} implements neither unlearn nor unlearn_many")

    def unlearn_many(self, before: Stack, sets: ErasureSets, context: Context) -> Stack:
        """K erasures, one per replica of `sets`; `before` has 1 replica (shared) or K. Default: a loop."""
        return context.looped(self.unlearn, before, sets)


class LossMethod(Method, Objective):
    """A method that minimises a loss: written for one model, run for thousands. Implement `loss` (phases.py)."""

    Params: ClassVar[type[PluginParams]] = UnlearnParams

    def phases(self, context: Context) -> Sequence[Phase]:
        """Default: minibatches of the erased set, until the scenario's stop rule ends the phase."""
        return [context.default_phase(self.params)]

    def unlearn_many(self, before: Stack, sets: ErasureSets, context: Context) -> Stack:
        return context.minimise(self, before, sets)


class TransformMethod(Method, Transformation):
    """A method that computes new parameters in one go. Implement `transform` and `phases` (phases.py)."""

    def unlearn_many(self, before: Stack, sets: ErasureSets, context: Context) -> Stack:
        return context.transform(self, before, sets)


# --- networks ------------------------------------------------------------------------------------------------------


class Model(Plugin, ABC):
    """A network: the architecture of a cell's original, of its retrained models and of the adversary's own."""

    kind = "model"

    @property
    def features(self) -> bool:
        """Whether its modules have a representation, which the level `representation` shows: `encode(images)` gives
        it, f32[B, J], and `classify(z)` the logits from there, f32[B, Y]; calling the module does both."""
        return False

    @property
    def posterior(self) -> bool:
        """Whether the representation is a distribution p(Z|x): `encode` then gives its mean and its scale (standard
        deviation), f32[B, J] each, and calling the module classifies the mean."""
        return False

    @abstractmethod
    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """A network that maps images f32[B, C, H, W], pixels in 0..1, to logits f32[B, Y].

        Initial weights are drawn from torch's random numbers, as torch's layers do it: they are seeded. Layers that
        draw while training (dropout) are seeded likewise.

        Args:
            shape: C, H, W.
            classes: Y.
        """


# --- attacks -------------------------------------------------------------------------------------------------------


class Attack(Plugin, ABC):
    """An inference attack: `run` sees only what the adversary may see, and the harness scores what it claims.

    Attributes:
        ranks_by: the metrics of what the attack infers; contenders under this attack are ranked by them. None: derived
            from the evidence. Empty: the attack concerns no erased image and gives no ranking.
    """

    kind = "attack"
    ranks_by: ClassVar[tuple[str, ...] | None] = None

    @property
    @abstractmethod
    def access(self) -> Access:
        """What this attack needs, with its parameters."""

    @abstractmethod
    def run(self, view: AttackView) -> Evidence:
        """Carry out the attack. Random numbers come only from `view.generator` and `view.torch_seed`."""


# --- datasets ------------------------------------------------------------------------------------------------------


class Dataset(Plugin, ABC):
    """A source of images. `defaults` are the scenario settings that suit it, overridden by a suite's own."""

    kind = "dataset"
    defaults: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def files(self, root: Path) -> list[Path]:
        """The files that `load` reads; their contents are the data's fingerprint. Raises InputError if one is
        missing."""

    @abstractmethod
    def load(self, root: Path) -> ImageData:
        """Read the images. Never downloads; raises InputError naming the file that is missing or damaged."""

    def class_names(self, root: Path) -> Sequence[str]:
        """Names of classes 0, 1, ... for use in suites, without decoding images. Default: no names."""
        return ()

    def image_counts(self, root: Path) -> tuple[int, int] | None:
        """The numbers of training and test images, quickly and without decoding them: a leak experiment's parts are
        made to fit. Default: not known, and the dataset is taken to be large enough for the usual sizes."""
        return None

    @property
    def has_groups(self) -> bool:
        """Whether `load` says whose each training image is (`ImageData.groups`), for scenarios that erase by group.
        Default: it does not."""
        return False

    def prepare(self, root: Path) -> None:
        """Fetch or unpack what `load` needs; may download. Default: nothing to do."""
