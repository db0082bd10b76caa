"""What a method is handed: the means to train and unlearn K replicas in chunks, counting steps and samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from unlearnbench.models.architecture import Architecture, bottleneck
from unlearnbench.models.stack import Stack
from unlearnbench.settings.scenario import PluginParams, Scenario
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.images import Splits
from unlearnbench.system.seeding import derive
from unlearnbench.training import mlp_descent, resuming
from unlearnbench.training.checkpoints import Piece, digest
from unlearnbench.training.mlp_descent import MlpDescent
from unlearnbench.training.objectives import InformationBottleneckLoss, NewtonTraining, training_phase
from unlearnbench.training.phases import Objective, Phase, Transformation
from unlearnbench.training.replica_run import Outcome, ReplicaRun, Watch

# A model after forgetting `Splits.erased`.
Unlearn = Callable[[nn.Module, Splits, Any], nn.Module]


@dataclass
class Context:
    """The harness as a method sees it.

    Attributes:
        scenario: all settings; the stop rule is applied by the harness.
        seeds: one per replica.
        origin: the seeds that the originals were trained with, one in all or one per replica; for references only.
        shape: C, H, W of the images.
        classes: Y.
        architecture: the scenario's network; None for the bottleneck networks.
        watch: called at the end of each epoch of unlearning, for trajectories.
        steps, samples: i64[K], gradient steps and images processed so far, per replica.
        recorded: f64[K] for each metric that the method has measured itself.
        piece: where this is in the stage's checkpoints. What the harness does for a method goes on after an
            interruption; the method's own code runs again.
        watched: what `watch` has returned.
    """

    scenario: Scenario
    seeds: Sequence[int]
    shape: tuple[int, int, int]
    classes: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    watch: Watch | None = None
    architecture: Architecture | None = None
    origin: Sequence[int] = ()
    counts: InitVar[tuple[Tensor, Tensor] | None] = None  # `steps` and `samples` of another context, to add to
    piece: Piece = field(default_factory=Piece)
    watched: list[Any] = field(default_factory=list)
    steps: Tensor = field(init=False)
    samples: Tensor = field(init=False)
    recorded: dict[str, Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self, counts: tuple[Tensor, Tensor] | None) -> None:
        zeros = torch.zeros(2, len(self.seeds), dtype=torch.int64)
        self.steps, self.samples = (zeros[0], zeros[1]) if counts is None else counts

    # --- for methods ------------------------------------------------------------------------------------------------

    def build(self, seed: int) -> nn.Module:
        """A freshly initialised model of the scenario's network, on the CPU."""
        return (self.architecture or bottleneck(self.scenario.network)).build(self.shape, self.classes, seed)

    def default_phase(self, params: PluginParams) -> Phase:
        """Minibatches of the erased set until the stop rule ends the phase, with the scenario's training settings
        unless the method's parameters set `lr` or `batch` (UnlearnParams)."""
        training = self.scenario.training
        lr, batch = (getattr(params, name, None) for name in ("lr", "batch"))
        return Phase(lr=lr or training.lr, batch=batch or training.batch, clip=training.clip)

    def fresh(self) -> Stack:
        """Freshly initialised models of the scenario's architecture, one per replica, from their seeds."""
        return Stack.of([self.build(derive(seed, "init")) for seed in self.seeds]).to(self.device, self.dtype)

    def minimise(
        self, method: Objective, before: Stack, sets: ErasureSets, state: Any = None, training: bool = False
    ) -> Stack:
        """Run the phases of a loss method on every replica.

        Args:
            state: a tensor or tree with a leading replica dimension, used instead of what the method's `prepare`
                returns.
            training: whether layers such as batch normalisation are in train mode.
        """
        phases = method.phases(self)

        def work(run: ReplicaRun, replicas: slice) -> Outcome:
            return run.minimise(method, phases, tree_map_only(Tensor, lambda value: value[replicas], state))

        return self._chunks(before, sets, work, training)

    def transform(self, method: Transformation, before: Stack, sets: ErasureSets) -> Stack:
        """Run the phases of a transform method on every replica."""
        phases = method.phases(self)
        return self._chunks(before, sets, lambda run, _: run.transform(method, phases))

    def record(self, metric: str, values: Tensor) -> None:
        """Add a metric of the catalogue to the records: one finite value per replica, f32[K]."""
        if values.shape != (len(self.seeds),):
            raise ValueError(f"{metric}: one value per replica, not {tuple(values.shape)} for {len(self.seeds)}")
        self.recorded[metric] = values.detach().double().cpu()

    def looped(self, unlearn: Unlearn, before: Stack, sets: ErasureSets) -> Stack:
        """Call `unlearn` for one replica after the other. It gets copies, so it can't change `before`."""
        after = []
        for k in range(sets.replicas):
            single = self.single(k)
            after.append(single._once(unlearn, before.take(k, k + 1), sets.take(k, k + 1)))
            for metric, value in single.recorded.items():
                self.recorded.setdefault(metric, torch.full((sets.replicas,), torch.nan).double())[k] = value[0]
        return Stack.concatenate(after)

    def train(self, sets: ErasureSets) -> Stack:
        """The shared trainer: fresh models from the seeds, trained on each replica's remaining set (Eq. 2)."""
        training = self.scenario.training
        if training.optimiser == "newton":
            newton = NewtonTraining(training)
            return self._chunks(self.fresh(), sets, lambda run, _: run.transform(newton, newton.phases(self)))
        method, phase = InformationBottleneckLoss(self.scenario.beta, training), training_phase(training)
        fresh = self.fresh()
        descent = partial(MlpDescent, beta=method.beta) if mlp_descent.applies(self.scenario, phase, fresh) else None

        def work(run: ReplicaRun, _: slice) -> Outcome:
            return run.minimise(method, [phase], descent=descent)

        return self._chunks(fresh, sets, work, training=True)

    def again(self) -> Context:
        """The context in which the originals were trained, for as many replicas; its counts are added to this
        context's.

        Raises:
            ValueError: they were not trained by the shared trainer.
        """
        if not self.origin:
            raise ValueError("the original was not trained by the shared trainer: its random numbers are not known")
        return self.with_seeds(list(self.origin) * (len(self.seeds) // len(self.origin)))

    def with_seeds(self, seeds: Sequence[int]) -> Context:
        """The context with other seeds, for as many replicas; its counts are added to this context's."""
        return replace(self, seeds=seeds, counts=(self.steps, self.samples))

    def single(self, replica: int) -> Context:
        """The context of one replica; its counts are added to this context's (the tensors are views)."""
        origin = self.origin if len(self.origin) < 2 else [self.origin[replica]]
        counts = self.steps[replica : replica + 1], self.samples[replica : replica + 1]
        return replace(self, seeds=[self.seeds[replica]], origin=origin, counts=counts, piece=self.piece.next())

    # --- inside ---------------------------------------------------------------------------------------------------

    def _once(self, unlearn: Unlearn, before: Stack, sets: ErasureSets) -> Stack:
        """The model of this context's only replica; `unlearn` is not called again for one that was kept when the stage
        was interrupted."""
        kept = self.piece.known(lambda: digest(resuming.of_sets(before, sets), list(self.seeds)), self.device)
        if kept is not None:
            self.steps += kept["steps"].cpu()
            self.samples += kept["samples"].cpu()
            self.watched.extend(kept["watched"])
            self.recorded.update({metric: value.cpu() for metric, value in kept["recorded"].items()})
            return before.with_tensors(kept["model"])
        steps, samples, seen = self.steps.clone(), self.samples.clone(), len(self.watched)
        after = Stack.of([unlearn(before.module(0), sets.splits(0), self)])
        if resuming.alike(before, after):
            self.piece.finish(lambda: {
                "model": after.tensors, "steps": self.steps - steps, "samples": self.samples - samples,
                "watched": self.watched[seen:], "recorded": self.recorded,
            })  # fmt: skip
        return after

    def _chunks(
        self,
        before: Stack,
        sets: ErasureSets,
        work: Callable[[ReplicaRun, slice], Outcome],
        training: bool = False,
    ) -> Stack:
        """Work on at most `scenario.replicas` at a time. This number is part of the key, so chunks depend on nothing
        but the cell."""
        if sets.replicas != len(self.seeds):
            raise ValueError(f"{sets.replicas} erasures but {len(self.seeds)} seeds")
        after, call = [], self.piece.next()
        for first in range(0, sets.replicas, self.scenario.replicas):
            last = min(first + self.scenario.replicas, sets.replicas)
            run = ReplicaRun(
                before.take(first, last).to(self.device, self.dtype),
                sets.take(first, last),
                self.seeds[first:last],
                self.scenario,
                training,
                first,
                None if training else self.watch,
                call.next(),
            )
            outcome = work(run, slice(first, last))
            self.steps[first:last] += outcome.steps
            self.samples[first:last] += outcome.samples
            self.watched.extend(outcome.watched)
            after.append(outcome.stack)
        return Stack.concatenate(after)
