"""What is minimised, or replaced, for K replicas at once: losses, transformations, and the phases that they run in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor

from unlearnbench.models.noise import Noise
from unlearnbench.models.stack import Functional
from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.batches import Batch


class Models(NamedTuple):
    """What a loss may use besides its batches.

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
    """A period of minimising one loss.

    Attributes:
        over: the set whose minibatches the steps take; an epoch is one pass over it.
        other: whether each step also draws a minibatch of the other set.
        batch, other_batch: minibatch sizes; None: the whole set (`batch`), the size `batch` (`other_batch`).
        other_passes: how often a step computes with the other minibatch, for counting samples.
        steps, epochs: the phase's length, unless the scenario's stop rule ends it earlier. Give one of them, or none to
            leave the length to the stop rule.
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


class Objective(ABC):
    """A loss, written for one model and run for thousands (vectorised with torch.func)."""

    @abstractmethod
    def loss(self, models: Models, erased: Batch | None, remaining: Batch | None, state: Any, noise: Noise) -> Tensor:
        """The scalar to minimise. No data-dependent control flow, no random numbers but `noise`."""

    @abstractmethod
    def phases(self, context: Any) -> Sequence[Phase]:
        """The phases in which it is minimised, in order."""

    def prepare(self, models: Models, erased: Batch, noise: Noise) -> Any:
        """State computed once per replica before the first step of a phase, from the whole erased set: a tensor or
        tree."""
        return None


class Transformation(ABC):
    """New parameters in one go (Newton step, dampening), repeated under the stop rule."""

    @abstractmethod
    def transform(
        self, models: Models, erased: Batch | None, remaining: Batch | None, noise: Noise
    ) -> Mapping[str, Tensor]:
        """New values of the parameters of ONE model; names left out keep their values."""

    @abstractmethod
    def phases(self, context: Any) -> Sequence[Phase]:
        """Batch sizes and the number of repetitions."""
