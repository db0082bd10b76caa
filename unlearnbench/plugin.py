"""What a contributor writes: a Method, an Attack or a Dataset; and the values they are handed.

A plugin is one class in one file. Its name is the file's name. Shapes below: N images, C channels, H x W pixels,
Y classes, J latent dimensions, K replicas, T targets, P probe images, s erased images per erasure, c candidates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import Field
from torch import Tensor, nn

from unlearnbench.adversary import Access, Evidence, InAndOut, Measured, RetrainedModels, ShadowUpdates, Updates
from unlearnbench.settings import PluginParams, Scenario

if TYPE_CHECKING:
    from unlearnbench.context import Context
    from unlearnbench.sets import ErasureSets
    from unlearnbench.stack import Functional, Stack
    from unlearnbench.view import AttackView


__all__ = [
    "SMALLEST",
    "Access",
    "Attack",
    "Batch",
    "Dataset",
    "Evidence",
    "ImageData",
    "Images",
    "InAndOut",
    "Loss",
    "LossMethod",
    "Measured",
    "Method",
    "Models",
    "Noise",
    "Phase",
    "Plugin",
    "RetrainedModels",
    "ShadowUpdates",
    "Splits",
    "TransformMethod",
    "UnlearnParams",
    "Updates",
]


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images as they lie in memory. Pixels are scaled to [0, 1] only when a batch is drawn."""

    pixels: Tensor  # u8[N, C, H, W]
    labels: Tensor  # i64[N]
    ids: Tensor  # i64[N], unique over a dataset's training and test images

    def take(self, rows: Tensor) -> Images:
        """The images at `rows` (i64[n])."""
        return Images(self.pixels[rows], self.labels[rows], self.ids[rows])

    def to(self, device: Any) -> Images:
        return Images(self.pixels.to(device), self.labels.to(device), self.ids.to(device))

    @property
    def scaled(self) -> Tensor:
        """f32[N, C, H, W] in [0, 1]."""
        return self.pixels.float() / 255

    def __len__(self) -> int:
        return len(self.labels)


SMALLEST = 1e-30  # of a minibatch's weights: the mean of nothing is 0


class Batch(NamedTuple):
    """A minibatch as a loss sees it: images f32[B, C, H, W] in [0, 1], labels i64[B], weight f32[B], rows i64[B]."""

    images: Tensor
    labels: Tensor
    weight: Tensor
    rows: Tensor

    def mean(self, values: Tensor) -> Tensor:
        """Weighted mean of values f32[B] over the batch; rows that only pad it have weight 0."""
        return (values * self.weight).sum() / self.weight.sum().clamp_min(SMALLEST)


class Noise(Protocol):
    """The only source of random numbers inside a loss: each replica has its own stream."""

    def normal(self, *shape: int) -> Tensor: ...

    def uniform(self, *shape: int) -> Tensor: ...


class Plugin:
    """Base of all plugins. `version` is part of every key: raise it whenever results change."""

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    paper: ClassVar[str] = ""  # the source: authors, venue, year
    Params: ClassVar[type[PluginParams]] = PluginParams
    # GiB of its device that a cell takes, if it takes so much that cells beside it might not fit; see docs/cluster.md.
    memory_gb: ClassVar[float | None] = None

    def __init__(self, params: PluginParams | None = None) -> None:
        self.params: Any = params if params is not None else self.Params()

    def skip(self, scenario: Scenario) -> str | None:
        """Why this plugin can't take part in a scenario, or None if it can."""
        return None


# --- methods -------------------------------------------------------------------------------------------------------


class UnlearnParams(PluginParams):
    """Parameters that gradient-based methods share."""

    lr: float | None = Field(None, gt=0, description="Adam's learning rate; null: the scenario's training lr")
    batch: int | None = Field(None, ge=1, description="minibatch size; null: the scenario's training batch")


class Splits(NamedTuple):
    """One erasure: what must be forgotten, and the rest of the training data."""

    erased: Images
    remaining: Images


class Models(NamedTuple):
    """What a loss may use beside its batches.

    `model` is being changed, `frozen` is the model before unlearning; `erased_size` and `remaining_size` are the sizes
    of the whole sets, `scenario` holds all settings.
    """

    model: Functional
    frozen: Functional
    scenario: Scenario
    erased_size: int
    remaining_size: int


Loss = Callable[[Models, Batch | None, Batch | None, Any, Noise], Tensor]


@dataclass(frozen=True)
class Phase:
    """A stretch of minimising one loss.

    Attributes:
        over: the set whose minibatches make a step; an epoch is one pass over it.
        other: whether each step also draws a minibatch of the other set.
        batch, other_batch: minibatch sizes; None is the whole set (of `over`), or `batch` (of the other).
        other_passes: how often a step computes with the other minibatch, for counting samples.
        steps, epochs: the phase's length when the scenario's stop rule does not end it first. Give one of them; None
            for both leaves the length to the stop rule.
        lr, optimiser, clip: optimiser settings; clip is the largest gradient norm of a replica, None for no clipping.
        loss: the loss of this phase, None for the method's `loss`.
        trains: which parameters change, by name.
        stop: whether the scenario's stop rule is applied.
    """

    over: Literal["erased", "remaining"] = "erased"
    other: bool = False
    batch: int | None = 20
    other_batch: int | None = None
    other_passes: int = 1
    steps: int | None = None
    epochs: int | None = None
    lr: float = 1e-3
    optimiser: Literal["adam", "sgd"] = "adam"
    clip: float | None = 5.0
    loss: Loss | None = None
    trains: Callable[[str], bool] | None = None
    stop: bool = True


class Method(Plugin, ABC):
    """An unlearning method.

    Implement `unlearn` for one model, or `unlearn_many` for K models at once; LossMethod and TransformMethod get both
    from a loss or a transformation written for ONE model.
    """

    reference: ClassVar[bool] = False  # shown unranked: original, retrain and the other references

    @property
    def own_original(self) -> bool:
        """Whether `train` makes an original of this method's own, which no other method shares."""
        return type(self).train is not Method.train

    @property
    def many_at_once(self) -> bool:
        """Whether replicas are unlearned by the same kernels; to a loop over them company brings nothing."""
        return type(self).unlearn_many is not Method.unlearn_many

    def build(self, context: Context) -> nn.Module:
        """A model of the architecture that `train` returns, its values of no matter: it has `encode` and `classify`."""
        return context.build(0)

    def train(self, data: Images, context: Context) -> nn.Module | None:
        """The original model, or None for the shared trainer. It sees plain images, never what will be erased."""
        return None

    def unlearn(self, model: nn.Module, splits: Splits, context: Context) -> nn.Module:
        """The model after forgetting `splits.erased`. `model` must not be changed."""
        raise TypeError(f"method {self.name} implements neither unlearn nor unlearn_many")

    def unlearn_many(self, before: Stack, sets: ErasureSets, context: Context) -> Stack:
        """K erasures, one per replica of `sets`; `before` has 1 replica (shared) or K. Default: a loop."""
        return context.looped(self, before, sets)


class LossMethod(Method):
    """A method that minimises a loss: written for one model, run for thousands (vectorised with torch.func)."""

    Params: ClassVar[type[PluginParams]] = UnlearnParams

    @abstractmethod
    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        """The scalar to minimise. No data-dependent control flow, no random numbers but `noise`."""

    def phases(self, context: Context) -> Sequence[Phase]:
        """Default: minibatches of the erased set until the scenario's stop rule ends it."""
        return [context.default_phase(self.params)]

    def prepare(self, models: Models, erased: Batch, noise: Noise) -> Any:
        """State computed once per replica before the first step, from the whole erased set; a tensor or a tree."""
        return None

    def unlearn_many(self, before: Stack, sets: ErasureSets, context: Context) -> Stack:
        return context.minimise(self, before, sets)


class TransformMethod(Method):
    """A method that computes new parameters in one go (Newton step, dampening), repeated under the stop rule."""

    @abstractmethod
    def transform(
        self, models: Models, erased: Batch | None, remaining: Batch | None, noise: Noise
    ) -> Mapping[str, Tensor]:
        """New values of the parameters of ONE model; names left out keep their values."""

    @abstractmethod
    def phases(self, context: Context) -> Sequence[Phase]:
        """Batch sizes and the number of repetitions."""

    def unlearn_many(self, before: Stack, sets: ErasureSets, context: Context) -> Stack:
        return context.transform(self, before, sets)


# --- attacks -------------------------------------------------------------------------------------------------------


class Attack(Plugin, ABC):
    """An inference attack: `run` sees the adversary's world only, the harness scores what it claims.

    Attributes:
        ranks_by: what the attack infers, by the names of metrics: a table of contenders under it is ranked by these.
            None: derived from the evidence. Empty: it concerns no erased image, and ranks nobody.
    """

    ranks_by: ClassVar[tuple[str, ...] | None] = None

    @property
    @abstractmethod
    def access(self) -> Access:
        """What this attack needs, with its parameters."""

    @abstractmethod
    def run(self, view: AttackView) -> Evidence:
        """Carry the attack out. Random numbers from `view.generator` and `view.torch_seed` only."""


# --- datasets ------------------------------------------------------------------------------------------------------


class ImageData(NamedTuple):
    """A loaded dataset; ids are unique over both parts."""

    train: Images
    test: Images
    classes: int
    # How it was read, a line each: what was left out and why, how images were decoded. Shown by `prepare`, and logged.
    notes: tuple[str, ...] = ()


class Dataset(Plugin, ABC):
    """A source of images. `defaults` are the scenario settings that suit it, overridden by a suite's own."""

    defaults: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def files(self, root: Path) -> list[Path]:
        """The files that `load` reads: their contents are the data's fingerprint. Raises InputError if missing."""

    @abstractmethod
    def load(self, root: Path) -> ImageData:
        """Read the images. Never downloads; raises InputError naming the file that is missing or damaged."""

    def class_names(self, root: Path) -> Sequence[str]:
        """The names of classes 0, 1, ... as suites may give them, without decoding images. Default: they have none."""
        return ()

    def prepare(self, root: Path) -> None:
        """Fetch or unpack what `load` needs; may download. Default: nothing to do."""
