"""What a worker has at hand: plugins, data, the store and a device. Images are loaded once per process."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from unlearnbench.models.architecture import Architecture
from unlearnbench.models.stack import Stack
from unlearnbench.plugin import Attack, Dataset, ImageData, Method, Model
from unlearnbench.registry.plugin_info import PluginInfo
from unlearnbench.registry.registry import Registry, discover
from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.world import World, build_world
from unlearnbench.stages.seen_network import architecture_of
from unlearnbench.suite.tasks import AttackWork, Job, MethodWork, NamedPlugin, StageTask, Task, TrainWork
from unlearnbench.system.devices import describe
from unlearnbench.system.process_state import torch_settings
from unlearnbench.system.process_state.definitions import Definitions
from unlearnbench.system.process_state.guard import Snapshot, guarded
from unlearnbench.system.provenance import git_state, versions
from unlearnbench.system.seeding import derive, repetition_seed
from unlearnbench.system.store import Artifact, Store
from unlearnbench.training.checkpoints import Checkpoints, Piece, digest
from unlearnbench.training.context import Context
from unlearnbench.training.replica_run import Watch

_T = TypeVar("_T")

CACHED = 6  # datasets and worlds kept in memory


class MissingArtifactError(Exception):
    """The result of an earlier stage is not in the store."""

    def __init__(self, key: str, root: Path) -> None:
        super().__init__(f"no artifact {key} in {root}")
        self.key = key


@dataclass
class Part:
    """A part of a stage; `result`: tensors on the CPU, None until it is computed."""

    result: dict[str, torch.Tensor] | None


@dataclass
class Workplace:
    """A worker's resources. Everything cached is a pure function of its key.

    Attributes:
        definitions: what names stand for in this process, if there are plugins from outside.
        settings: torch's settings, as every stage finds them.
        piece: the stage at work, in its checkpoints.
    """

    data_root: Path
    store: Store
    registry: Registry
    device: torch.device
    plugin_dirs: Sequence[Path] = ()
    definitions: Definitions | None = field(init=False)
    settings: Snapshot = field(default_factory=lambda: Snapshot(states=torch_settings.STATES))
    piece: Piece = field(default_factory=Piece, init=False)
    _cache: dict[str, Any] = field(default_factory=dict)
    _architectures: dict[str, Architecture] = field(default_factory=dict)
    _writes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.definitions = None if self.registry.is_released else Definitions()

    @classmethod
    def open(cls, data_root: Path, cache: Path, plugin_dirs: Sequence[Path], device: str) -> Workplace:
        return cls(data_root, Store(cache), discover(plugin_dirs), torch.device(device), plugin_dirs)

    def scenario(self, task: Task) -> Scenario:
        return Scenario.model_validate(task.work.scenario)

    def method(self, task: Task) -> Method:
        assert isinstance(task.work, TrainWork | MethodWork)
        assert task.work.method is not None
        return cast(Method, self._plugin(self.registry.methods, task.work.method))

    def attack(self, task: StageTask[AttackWork]) -> Attack:
        return cast(Attack, self._plugin(self.registry.attacks, task.work.attack))

    def architecture(self, task: Task) -> Architecture:
        """The network of the task's models; tried once whether torch.func vectorises it."""
        chosen = task.work.network
        text = json.dumps(asdict(chosen), sort_keys=True)
        if text not in self._architectures:
            self._architectures[text] = architecture_of(cast(Model, self._plugin(self.registry.models, chosen)))
        return self._architectures[text]

    def data(self, task: Task) -> ImageData:
        """The task's dataset, loaded once."""

        def load() -> ImageData:
            with guarded(f"dataset {task.work.dataset.name}", random=True):
                return cast(Dataset, self._plugin(self.registry.datasets, task.work.dataset)).load(self.data_root)

        return cast(ImageData, self._once(("data", asdict(task.work.dataset)), load))

    def world(self, task: Task) -> World:
        """The task's sets, drawn once."""
        work = task.work
        seed = repetition_seed(work.suite_seed, work.dataset.id, work.seed)
        chosen = task.needs.get("select")
        key = ("world", asdict(work.dataset), work.scenario, chosen, seed, str(self.device))

        def build() -> World:
            scores = None if chosen is None else self.artifact(chosen).tensors["scores"]
            return build_world(self.data(task), self.scenario(task), seed, self.device, scores)

        return cast(World, self._once(key, build))

    def artifact(self, key: str) -> Artifact:
        """A stored result; raises MissingArtifactError or CorruptArtifactError."""
        artifact = self.store.get(key)
        if artifact is None:
            raise MissingArtifactError(key, self.store.root)
        return artifact

    def context(
        self, task: Task, world: World, seeds: list[int], origin: Sequence[int] = (), watch: Watch | None = None
    ) -> Context:
        """What a method is handed, with a seed for each replica; `origin`: the seeds their originals were trained
        with."""
        channels, height, width = world.pool.pixels.shape[1:]
        shape, classes = (channels, height, width), self.data(task).classes
        scenario = self.scenario(task)
        architecture = self.architecture(task)
        return Context(
            scenario, seeds, shape, classes, self.device, watch=watch, architecture=architecture, origin=origin,
            piece=self.piece,
        )  # fmt: skip

    @contextmanager
    def resumable(self, checkpoints: Checkpoints) -> Iterator[None]:
        """Inside, what a stage trains and unlearns is kept in these checkpoints."""
        self.piece = Piece(checkpoints)
        try:
            yield
        finally:
            self.piece = Piece()

    def original(self, task: Task, world: World) -> Stack:
        """The trained model that a task starts from."""
        return self.shadow_models(task, world, "train")

    def shadow_models(self, task: Task, world: World, need: str) -> Stack:
        """The models that an earlier stage trained; `need`: the task's name for that stage."""
        artifact, context = self.artifact(task.needs[need]), self.context(task, world, [])
        method = self.method(task)
        with guarded(f"method {method.name}"):
            model = method.build(context) if method.own_original else context.build(0)
        return Stack.of([model]).with_tensors(artifact.tensors).to(self.device)

    @contextmanager
    def part(self, inputs: Sequence[torch.Tensor]) -> Iterator[Part]:
        """Inside, a part of the stage is computed, and its result set, unless it is there: the stage was interrupted
        later. Of a part that is done nothing else is kept.

        Args:
            inputs: what tells the parts of the stage apart.
        """
        whole = self.piece
        self.piece = piece = whole.next()
        try:
            part = Part(piece.known(lambda: digest(inputs), torch.device("cpu")))
            yield part
            piece.finish(lambda: part.result)
        finally:
            self.piece = whole

    @property
    def is_written(self) -> bool:
        """Whether something wrote into images or sets that are cached for other tasks."""
        known: dict[tuple[int, int], int] = {}
        return any(self._written(value, known) != self._writes[key] for key, value in self._cache.items())

    def free(self) -> None:
        """Drop the cache."""
        self._cache.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def provenance(self, task: Task, began: datetime) -> dict[str, Any]:
        """Where a task's numbers come from. Stored with them, as other code may write the record much later."""
        commit, dirty = git_state()
        named: dict[str, str] = {kind: plugin.name for kind, plugin in task.work.plugins.items()}
        infos = {kind: self.registry.of(kind)[plugin.name] for kind, plugin in task.work.plugins.items()}
        plugins = {kind: info.sha256 for kind, info in infos.items() if kind != "dataset"}
        data = self.data(task)
        channels, height, width = data.train.pixels.shape[1:]
        in_turn = self.architecture(task).in_turn((channels, height, width), data.classes)
        used = versions(*(package for info in infos.values() for package in info.packages))
        return {"git_sha": commit, "git_dirty": dirty, "versions": used, "device": describe(str(self.device)),
                "started_at": began.isoformat(), "plugin_sha256": plugins, "stage": task.stage, **named,
                "in_turn": in_turn}  # fmt: skip

    def _written(self, value: Any, known: dict[tuple[int, int], int]) -> tuple[int, ...]:
        """What changes when something writes to a tensor in a value.

        Torch counts writes, except those through `numpy()` and `data`. If there are plugins from outside, checksums
        find these, too.

        Args:
            known: checksums by address and size, for tensors in several values; filled here.
        """
        tensors = list(_tensors(value))
        counts = [0 if tensor.is_inference() else tensor._version for tensor in tensors]
        if self.definitions is None:
            return tuple(counts)
        places = [(tensor.data_ptr(), tensor.nbytes) for tensor in tensors]
        for place, tensor in zip(places, tensors, strict=True):
            if place not in known:
                known[place] = _checksum(tensor)
        return (*counts, *(known[place] for place in places))

    def _plugin(self, plugins: Mapping[str, PluginInfo], chosen: NamedPlugin) -> Any:
        cls = plugins[chosen.name].cls
        return cls(cls.Params.model_validate(chosen.params))

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        text = json.dumps(key, sort_keys=True)
        if text not in self._cache:
            while len(self._cache) >= CACHED:
                self._cache.pop(next(iter(self._cache)))
            self._cache[text] = make()
            self._writes[text] = self._written(self._cache[text], {})
        return self._cache[text]


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """All tensors in a value."""
    if isinstance(value, torch.Tensor):
        yield value
        return
    if is_dataclass(value):
        value = vars(value)
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else ():
        yield from _tensors(part)


def _checksum(tensor: torch.Tensor) -> int:
    """A checksum of a tensor's bytes, which depends on their order."""
    return zlib.crc32(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)


def seed_of(task: Task, *names: str | int) -> int:
    """Derived from suite seed, dataset, repetition and stage, never from the method: comparisons are paired."""
    work = task.work
    return derive(repetition_seed(work.suite_seed, work.dataset.id, work.seed), *names)


def places(job: Job) -> list[int]:
    """The replica numbers that a job's tasks have in their group."""
    together = job[0].together
    return [together.index(task.key) for task in job] if together else list(range(len(job)))


def filled(job: Job, parts: list[_T]) -> list[_T]:
    """One part for each replica of a job's group; for a task that can't take part, a copy of the first one's.

    So the others' numbers equal those of a whole group, to the last bit; the results of the copies are dropped.
    """
    of_place = dict(zip(places(job), parts, strict=True))
    return [of_place.get(place, parts[0]) for place in range(max(len(job[0].together), len(job)))]
