"""K copies of one model, trained or unlearned by one set of kernels.

A loss is written for ONE model and vectorised over replicas (vectorise.py). Replicas share no parameter, so the
gradient of the sum of their losses holds the gradient of each (descent.py). A replica that the stop rule ends is taken
out of the stack: its parameters stay bit-identical.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from unlearnbench.models.noise import Noise, NoiseStreams
from unlearnbench.models.stack import Router, Stack, Tensors
from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.batches import Batch, BatchSource
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.system.seeding import derive, stream
from unlearnbench.training import resuming
from unlearnbench.training.checkpoints import Piece
from unlearnbench.training.cuda_graphs import RECORDERS, SMALL, Graphed
from unlearnbench.training.descent import Descent, LossDescent, MakeDescent
from unlearnbench.training.frozen_model import encode
from unlearnbench.training.live_replicas import LiveReplicas
from unlearnbench.training.phases import Loss, Models, Objective, Phase, Transformation
from unlearnbench.training.stopping import Stopper
from unlearnbench.training.vectorise import Vectoriser

# The number of the first replica, epoch, step, and the models as they are: called at the end of an epoch. What it
# returns, as JSON values, is kept in the outcome.
Watch = Callable[[int, int, int, Stack], list[Any] | None]

# Steps between two checks for replicas that are done. On a GPU a check waits for all queued kernels; a replica that was
# done earlier keeps the parameters that it had then.
READ_EVERY = {"cuda": 8}


@dataclass(frozen=True, eq=False)
class Outcome:
    """Models after unlearning (or training) and what it took, per replica."""

    stack: Stack
    steps: Tensor  # i64[K]
    samples: Tensor  # i64[K], images processed
    watched: list[Any] = field(default_factory=list)  # what the watch said

    @property
    def counts(self) -> dict[str, Any]:
        """Everything but the models."""
        return {"steps": self.steps, "samples": self.samples, "watched": self.watched}


@dataclass(frozen=True, eq=False)
class ReplicaRun:
    """One pass through a method's phases for up to a few dozen replicas.

    Attributes:
        before: 1 replica shared by all, or K. It is not changed.
        sets: K erasures.
        seeds: K seeds, one per replica.
        scenario: its stop rule is applied; methods read their settings from it.
        training: whether layers such as batch normalisation are in train mode.
        first: the number of the first replica, for `watch`.
        watch: called at the end of each epoch, while all replicas still run.
        piece: the run's place in the stage's checkpoints.
    """

    before: Stack
    sets: ErasureSets
    seeds: Sequence[int]
    scenario: Scenario
    training: bool = False
    first: int = 0
    watch: Watch | None = None
    piece: Piece = field(default_factory=Piece)

    def minimise(
        self, method: Objective, phases: Sequence[Phase], given: Any = None, descent: MakeDescent | None = None
    ) -> Outcome:
        """Minimise the method's loss, phase after phase.

        Args:
            given: state [K, ...], instead of what the method prepares.
            descent: makes what takes a phase's steps, instead of autograd.
        """
        outcome, runs = self._begun(phases, given)
        for run in runs:
            run.live = replace(run.live, state=run.prepared(method) if given is None else given)
            resumed = run.resume()
            steps = run.descent(run.phase.loss or method.loss, descent)
            if resumed is not None:
                steps.restore(resumed["descent"])
            for erased, remaining in run.batches():
                before = run.values_to_keep()
                steps.step(run.live.inputs(erased, remaining))
                run.encode_once()
                kept = run.finish_step(erased, remaining, before)
                if kept is not None:
                    steps.keep(kept, run.live.params)
                run.offer(steps)
            run.end()
        return self._kept(outcome)

    def transform(self, method: Transformation, phases: Sequence[Phase]) -> Outcome:
        """Replace the parameters by the method's transformation, step after step."""

        def transformed(models: Models, erased: Batch | None, remaining: Batch | None, _: Any, noise: Noise) -> Tensors:
            return dict(method.transform(models, erased, remaining, noise))

        outcome, runs = self._begun(phases)
        for run in runs:
            run.resume()
            for erased, remaining in run.batches():
                before = run.values_to_keep()
                new = run.vectoriser.call(transformed, run.live.inputs(erased, remaining))
                for name, value in new.items():
                    run.live.params[name].copy_(value.detach())
                run.finish_step(erased, remaining, before)
                run.offer(None)
            run.end()
        return self._kept(outcome)

    @property
    def device(self) -> torch.device:
        return self.sets.pool.pixels.device

    @property
    def read_every(self) -> int:
        """Steps between two checks for replicas that are done."""
        return READ_EVERY.get(self.device.type, 1)

    @cached_property
    def router(self) -> Router:
        return self.before.router(self.training)

    def source(self, which: str, batch: int | None, number: int) -> BatchSource:
        """Minibatches of the erased or the remaining sets, in phase `number`."""
        rows = self.sets.erased if which == "erased" else self.sets.all_remaining()
        streams = [stream(seed, "order", which, number) for seed in self.seeds]
        alone = 1 in (batch, rows.shape[1]) or (batch is not None and rows.shape[1] % batch == 1)
        join = self.training and alone and not self.before.takes_one(self.sets.pool.pixels.shape[1:])
        if join and 1 in (batch, rows.shape[1]):
            raise ValueError(
                "its batch normalisation would see one value a channel: train it on minibatches of two images or more"
            )
        return BatchSource(self.sets.pool, rows, batch, streams, self.before.dtype, join)

    def whole(self, rows: Tensor) -> Batch:
        """All of the rows i64[K, n], in order."""
        return BatchSource(self.sets.pool, rows, None, [], self.before.dtype).whole()

    def untouched(self) -> Outcome:
        """Copies of the models before, to which phases write what comes out of them."""
        count = len(self.seeds)
        steps, samples = (torch.zeros(count, dtype=torch.int64) for _ in range(2))
        return Outcome(self.before.expand(count).apply(torch.clone), steps, samples)

    # --- after an interruption ----------------------------------------------------------------------------------------

    def _begun(self, phases: Sequence[Phase], given: Any = None) -> tuple[Outcome, Iterator[PhaseRun]]:
        """What to write to, and the phases that are left: none if the run was finished before."""
        kept = self.piece.known(lambda: resuming.inputs(self, phases, given), self.device)
        if kept is not None:
            counts = kept["steps"].cpu(), kept["samples"].cpu(), kept["watched"]
            return Outcome(self.before.with_tensors(kept["models"]), *counts), iter(())
        outcome, first = self.untouched(), self.piece.state["phase"] if self.piece.state else 0
        return outcome, (PhaseRun(self, phase, n, outcome) for n, phase in enumerate(phases) if n >= first)

    def _kept(self, outcome: Outcome) -> Outcome:
        self.piece.finish(lambda: {"models": outcome.stack.tensors, **outcome.counts})
        return outcome


class PhaseRun:
    """One phase of a run: where its minibatches and random numbers come from, and the replicas that still run.

    Args:
        number: of the phase; each has streams of its own.
        outcome: the models to start from; those that end are written back to it.
    """

    def __init__(self, run: ReplicaRun, phase: Phase, number: int, outcome: Outcome) -> None:
        self.run, self.phase, self.number, self.outcome = run, phase, number, outcome
        self.live = LiveReplicas.all(outcome.stack, run.before, run.router, run.device)
        self.vectoriser = Vectoriser(
            run.router,
            run.scenario,
            run.sets.erased.shape[1],
            run.sets.remaining_size,
            [NoiseStreams(derive(seed, "noise", number)) for seed in run.seeds],
            run.device,
            run.before.dtype,
            frozen_shared=run.before.replicas == 1,
        )
        rest = "remaining" if phase.over == "erased" else "erased"
        self.over = run.source(phase.over, phase.batch, number)
        self.other = run.source(rest, phase.other_batch or phase.batch, number) if phase.other else None
        self.step, self.samples = 0, [0]  # images processed up to each step
        stop, holdout = run.scenario.stop, run.sets.holdout
        self.stopper: Stopper | None = None
        if phase.stop and stop.rule in ("backdoor", "match_holdout"):
            unseen = None if holdout is None else run.whole(holdout)
            self.stopper = Stopper(stop, run.whole(run.sets.erased), unseen, run.read_every == 1)

    # --- before the first step --------------------------------------------------------------------------------------

    def prepared(self, method: Objective) -> Any:
        """The state that the method prepares from the whole erased sets."""
        if type(method).prepare is Objective.prepare:
            return None

        def prepare(models: Models, erased: Batch, _r: None, _s: None, noise: Noise) -> Any:
            return method.prepare(models, erased, noise)

        with torch.no_grad():
            state = self.vectoriser.call(prepare, self.live.inputs(self.run.whole(self.run.sets.erased), None))
        self.vectoriser.forget_counts()  # the loss may need other numbers for the same shapes
        return state

    def resume(self) -> Any:
        """Go to where this phase was interrupted. Returns its state then, None if it was not."""
        state, self.run.piece.state = self.run.piece.state, None
        if state is not None:
            resuming.restore(self, state)
        return state

    def descent(self, loss: Loss, make: MakeDescent | None) -> Descent:
        """What takes the phase's steps: by autograd unless `make` is given, and replayed where that saves time."""
        given = self.vectoriser, self.live.params
        steps = make(self.phase, *given) if make is not None else LossDescent(self.phase, loss, *given)
        record = RECORDERS.get(self.run.device.type)
        size = sum(value[0].numel() for value in self.live.params.values())
        ordinary = record is None or size > SMALL or self.run.router.is_looped
        return steps if record is None or ordinary else Graphed(steps, record)

    @property
    def length(self) -> int:
        """Steps of the phase unless the stop rule ends it."""
        phase, stop = self.phase, self.run.scenario.stop
        if phase.steps is not None:
            return phase.steps
        if phase.epochs is not None:
            return phase.epochs * self.over.steps_per_epoch
        return stop.steps if stop.rule == "steps" else stop.epochs * self.over.steps_per_epoch

    # --- each step --------------------------------------------------------------------------------------------------

    def batches(self) -> Iterator[tuple[Batch | None, Batch | None]]:
        """Minibatches of the erased and of the remaining sets, step by step, until no replica runs."""
        source = self.over.forever()
        others = self.other.forever() if self.other else None
        for step in range(self.step + 1, self.length + 1):
            self.step = step
            first = next(source)
            second = next(others) if others else None
            yield (first, second) if self.phase.over == "erased" else (second, first)
            if len(self.live) == 0:
                return

    def values_to_keep(self) -> Tensors | None:
        """A copy of the parameters, where replicas that are done run on until the next check."""
        if self.stopper is None or self.run.read_every == 1:
            return None
        return {name: value.clone() for name, value in self.live.params.items()}

    def encode_once(self) -> None:
        """After the first step: encode the whole erased set once, if the loss asks for it in each of several epochs."""
        source = self.over if self.phase.over == "erased" else self.other
        if self.step > 1 or source is None or not self.vectoriser.frozen_asked:
            return
        if self.run.training:  # batch normalisation encodes an image depending on its minibatch
            return
        if self.length >= 2 * source.steps_per_epoch:
            images = self.run.whole(self.run.sets.erased).images
            self.live = replace(self.live, encoded=encode(self.run.router, self.live.frozen, images))

    def finish_step(self, erased: Batch | None, remaining: Batch | None, before: Tensors | None) -> Tensor | None:
        """Count, watch, stop. Returns the positions of the replicas that stay if some were taken out, else None."""
        first, second = (erased, remaining) if self.phase.over == "erased" else (remaining, erased)
        passes = ((1, first), (self.phase.other_passes, second))
        drawn = sum(n * batch.labels.shape[1] for n, batch in passes if batch is not None)
        self.samples.append(self.samples[-1] + drawn)
        epoch, rest = divmod(self.step, self.over.steps_per_epoch)
        if rest == 0 and self.run.watch is not None and len(self.live) == len(self.run.seeds):
            models = self.run.before.with_tensors(self.live.tensors)
            self.outcome.watched.extend(self.run.watch(self.run.first, epoch, self.step, models) or ())
        if self.stopper is None:
            return None
        ended_at = self.live.ended_at
        if before is not None:  # those that ended at an earlier step keep their values
            for name, value in before.items():
                mask = (ended_at > 0).view(-1, *(1,) * (value.dim() - 1))
                self.live.params[name].copy_(torch.where(mask, value, self.live.params[name]))
        done = self.stopper.done(self.live.predict, erased, epoch_ends=rest == 0)
        ended_at.masked_fill_(done & (ended_at == 0), self.step)
        if self.step % self.run.read_every:
            return None
        ended = ended_at.cpu()
        return self._take_out(ended) if bool(ended.any()) else None

    def offer(self, steps: Descent | None) -> None:
        """Let a checkpoint of the phase be written after a step."""
        if len(self.live):
            self.run.piece.offer(lambda: resuming.saved(self, steps))

    def end(self) -> None:
        """The phase is over for all that still run."""
        self._write_back(torch.arange(len(self.live)), self.live.ended_at.cpu())

    # --- replicas that are done -------------------------------------------------------------------------------------

    def _write_back(self, positions: Tensor, ended: Tensor) -> None:
        """Write the replicas at some positions to the outcome, and what they took."""
        places = self.live.places[positions]
        for name, value in self.live.tensors.items():
            self.outcome.stack.tensors[name][places] = value[positions.to(value.device)].detach()
        for position, place in zip(positions.tolist(), places.tolist(), strict=True):
            last = int(ended[position]) or self.step
            self.outcome.steps[place] += last
            self.outcome.samples[place] += self.samples[last]

    def _take_out(self, ended: Tensor) -> Tensor:
        """Write back the replicas that have ended, and go on with the others, whose positions are returned."""
        self._write_back(ended.nonzero().flatten(), ended)
        kept = (ended == 0).nonzero().flatten()
        self.go_on_with(kept)
        return kept

    def go_on_with(self, kept: Tensor) -> None:
        """Go on with the replicas at some positions."""
        self.live = self.live.keep(kept)
        if len(kept):
            rows = kept.to(self.run.device)
            self.vectoriser.keep(kept.tolist())
            for part in (self.over, self.other, self.stopper):
                if part is not None:
                    part.keep(rows)
