"""Stage tasks: what each stage has to do, as plain values, so that any worker on any machine can do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar

from unlearnbench.registry.base import Kind
from unlearnbench.settings.scenario import Draw, canonical

if TYPE_CHECKING:
    from unlearnbench.splits.retrained_sets import Trained
    from unlearnbench.suite.choices import PluginChoice

Stage = Literal["select", "train", "retrained", "shadow_models", "unlearn", "shadows", "attack", "timing"]


@dataclass(frozen=True)
class NamedPlugin:
    """A plugin's name and its parameters, as JSON values."""

    name: str
    params: Mapping[str, Any]

    @classmethod
    def of(cls, choice: PluginChoice) -> NamedPlugin:
        return NamedPlugin(choice.info.name, canonical(choice.params))


@dataclass(frozen=True)
class NamedDataset(NamedPlugin):
    """A dataset; its `id` shows the parameters that differ from the defaults."""

    id: str

    @classmethod
    def of(cls, choice: PluginChoice) -> NamedDataset:
        return NamedDataset(choice.info.name, canonical(choice.params), choice.id)


class Common(TypedDict):
    """The fields that every stage's work has."""

    dataset: NamedDataset
    scenario: Mapping[str, Any]
    suite_seed: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every stage needs to know; `select` needs nothing else.

    Attributes:
        scenario: the whole scenario, as JSON values.
        seed: the repetition.
    """

    dataset: NamedDataset
    scenario: Mapping[str, Any]
    suite_seed: int
    seed: int

    @property
    def network(self) -> NamedPlugin:
        """The network of all models."""
        values = dict(self.scenario["network"])
        return NamedPlugin(values.pop("name"), values)

    @property
    def plugins(self) -> dict[Kind, NamedPlugin]:
        """The plugins that the stage runs, by kind."""
        return {"dataset": self.dataset, "model": self.network}


@dataclass(frozen=True, kw_only=True)
class TrainWork(Work):
    """`train` and `retrained`.

    Attributes:
        method: a method that trains its own original; None: the shared trainer trains it.
    """

    method: NamedPlugin | None = None

    @property
    def plugins(self) -> dict[Kind, NamedPlugin]:
        return super().plugins if self.method is None else {**super().plugins, "method": self.method}


@dataclass(frozen=True, kw_only=True)
class ShadowModelsWork(TrainWork):
    """`shadow_models`: the adversary's originals.

    Attributes:
        draw: the tier of their training images.
        models: how many there are.
        trained: `originals`, or `without`: models that never saw a target's images.
    """

    draw: Draw
    models: int
    trained: Trained


@dataclass(frozen=True, kw_only=True)
class MethodWork(Work):
    """Any stage after training, in which the method under test takes part."""

    method: NamedPlugin

    @property
    def plugins(self) -> dict[Kind, NamedPlugin]:
        return {**super().plugins, "method": self.method}


@dataclass(frozen=True, kw_only=True)
class UnlearnWork(MethodWork):
    """`unlearn`; `keep`: whether to keep the models of all targets, for an attack that sees or asks them."""

    keep: bool = False


@dataclass(frozen=True, kw_only=True)
class ShadowsWork(MethodWork):
    """`shadows`: the adversary's own erasures; `shadows` of them for each of `models`; `keep`: whether to keep the
    changes of all weights."""

    draw: Draw
    models: int
    shadows: int
    keep: bool = False


@dataclass(frozen=True, kw_only=True)
class AttackWork(MethodWork):
    """`attack`."""

    attack: NamedPlugin

    @property
    def plugins(self) -> dict[Kind, NamedPlugin]:
        return {**super().plugins, "attack": self.attack}


@dataclass(frozen=True, kw_only=True)
class TimingWork(MethodWork):
    """`timing`: the number of repeated erasures, and the hardware to measure them on."""

    repeats: int
    hardware: str


W = TypeVar("W", bound=Work, covariant=True)


@dataclass(frozen=True)
class StageTask(Generic[W]):
    """One stage's work.

    Attributes:
        needs: keys of earlier stages, by stage.
        together: keys of the tasks computed with it, one per seed in order, including its own; empty if it is computed
            alone.
    """

    stage: Stage
    key: str
    needs: Mapping[str, str]
    work: W
    together: tuple[str, ...] = ()


Task = StageTask[Work]  # of any stage
Job = tuple[Task, ...]  # what a worker does at once: one task, or the tasks of a group that can be done
