"""K copies of one model, trained or unlearned by one set of kernels.

A loss is written for ONE model and vectorised over replicas (vectorise.py); replicas share no parameter, so the
gradient of the sum of their losses holds each one's own (descent.py). A replica that the stop rule ends is taken out
of the stack: its parameters stay bit-identical.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from unlearnbench.models.noise import Noise, NoiseStreams
from unlearnbench.models.stack import Functional, Stack, Tensors
from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.batches import Batch, BatchSource
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.system.seeding import derive, stream
from unlearnbench.training.cuda_graphs import RECORDERS, SMALL, Graphed
from unlearnbench.training.descent import Descent, LossDescent, MakeDescent
from unlearnbench.training.frozen_model import Encoded, encode, recall
from unlearnbench.training.phases import Loss, Models, Objective, Phase, Transformation
from unlearnbench.training.stopping import Stopper
from unlearnbench.training.vectorise import Inputs, Vectoriser, first, select

Watch = Callable[[int, int, Stack], None]  # epoch, step, the models as they are: called at the end of an epoch

# Steps between two looks at which replicas are done. On a GPU a look waits for all that is under way; a replica that
# is done before it stays as it was.
READ_EVERY = {"cuda": 8}


@dataclass(frozen=True, eq=False)
class Outcome:
    """Models after unlearning (or training) and what it took, per replica."""

    stack: Stack
    steps: Tensor  # i64[K]
    samples: Tensor  # i64[K], images processed


class ReplicaRun:
    """One pass through a method's phases for up to a few dozen replicas.

    Args:
        before: 1 replica shared by all, or K. It is not changed.
        sets: K erasures.
        seeds: K seeds, one per replica.
        scenario: its stop rule is applied; methods read their settings from it.
        training: whether layers such as batch normalisation are in train mode.
        watch: called at the end of each epoch, while all replicas still run.
    """

    def __init__(
        self,
        before: Stack,
        sets: ErasureSets,
        seeds: Sequence[int],
        scenario: Scenario,
        training: bool = False,
        watch: Watch | None = None,
    ) -> None:
        self.before, self.sets, self.watch = before, sets, watch
        self.scenario, self.stop = scenario, scenario.stop
        self.training, self.router = training, before.router(training)
        self.dtype = before.dtype
        self.device = sets.pool.pixels.device
        self.read_every = READ_EVERY.get(self.device.type, 1)
        self.result = before.expand(len(seeds)).apply(torch.clone)
        self.steps = torch.zeros(len(seeds), dtype=torch.int64)
        self.samples = torch.zeros(len(seeds), dtype=torch.int64)
        self.seeds = list(seeds)

    # --- the two kinds of method ------------------------------------------------------------------------------------

    def minimise(
        self, method: Objective, phases: Sequence[Phase], given: Any = None, descent: MakeDescent | None = None
    ) -> Outcome:
        """Minimise the method's loss, phase after phase.

        Args:
            given: state [K, ...] in place of what the method prepares.
            descent: makes what takes a phase's steps, if not autograd.
        """
        for number, phase in enumerate(phases):
            self._start(number, phase)
            self._state = self._prepare(method) if given is None else given
            steps = self._descent(phase, phase.loss or method.loss, descent)
            for erased, remaining in self._batches(phase):
                before = self._kept_values()
                steps.step(self._inputs(erased, remaining))
                self._remember(phase)
                if self._finish_step(phase, erased, remaining, before):
                    steps.keep(self._kept, self.params)
            self._end()
        return Outcome(self.result, self.steps, self.samples)

    def transform(self, method: Transformation, phases: Sequence[Phase]) -> Outcome:
        """Replace the parameters by the method's transformation, step after step."""
        self._state = None

        def transformed(models: Models, erased: Batch | None, remaining: Batch | None, _: Any, noise: Noise) -> Tensors:
            return dict(method.transform(models, erased, remaining, noise))

        for number, phase in enumerate(phases):
            self._start(number, phase)
            for erased, remaining in self._batches(phase):
                before = self._kept_values()
                new = self.vectoriser.call(transformed, self._inputs(erased, remaining))
                for name, value in new.items():
                    self.params[name].copy_(value.detach())
                self._finish_step(phase, erased, remaining, before)
            self._end()
        return Outcome(self.result, self.steps, self.samples)

    # --- a phase ----------------------------------------------------------------------------------------------------

    def _start(self, number: int, phase: Phase) -> None:
        count = len(self.seeds)
        self.alive = torch.arange(count)
        self.params: Tensors = {n: v.clone() for n, v in self.result.params.items()}
        self.buffers: Tensors = {n: v.clone() for n, v in self.result.buffers.items()}
        self.frozen = self.before
        self.vectoriser = Vectoriser(
            self.router,
            self.scenario,
            self.sets.erased.shape[1],
            self.sets.remaining_size,
            [NoiseStreams(derive(seed, "noise", number)) for seed in self.seeds],
            self.device,
            self.dtype,
            frozen_shared=self.frozen.replicas == 1,
        )
        self.over = self._source(phase.over, phase.batch, number)
        rest = "remaining" if phase.over == "erased" else "erased"
        self.other = self._source(rest, phase.other_batch or phase.batch, number) if phase.other else None
        self._others = self.other.forever() if self.other else None
        self._encoded: Encoded | None = None
        self._step, self._samples = 0, [0]  # images processed up to each step
        self.stopper = None
        if phase.stop and self.stop.rule in ("backdoor", "match_holdout"):
            self.stopper = Stopper(self.stop, self._whole(self.sets.erased), self._holdout(), self.read_every == 1)
            self._ended_at = torch.zeros(count, dtype=torch.int64, device=self.device)  # 0: still running

    def _descent(self, phase: Phase, loss: Loss, make: MakeDescent | None) -> Descent:
        given = phase, self.vectoriser, self.params
        steps = make(*given) if make is not None else LossDescent(phase, loss, self.vectoriser, self.params)
        record = RECORDERS.get(self.device.type)
        size = sum(value[0].numel() for value in self.params.values())
        return steps if record is None or size > SMALL else Graphed(steps, record)

    def _source(self, which: str, batch: int | None, number: int) -> BatchSource:
        rows = self.sets.erased if which == "erased" else self.sets.all_remaining()
        streams = [stream(seed, "order", which, number) for seed in self.seeds]
        alone = 1 in (batch, rows.shape[1]) or (batch is not None and rows.shape[1] % batch == 1)
        join = self.training and alone and not self.before.takes_one(self.sets.pool.pixels.shape[1:])
        if join and 1 in (batch, rows.shape[1]):
            raise ValueError(
                "its batch normalisation would see one value a channel: train it on minibatches of two images or more"
            )
        return BatchSource(self.sets.pool, rows, batch, streams, self.dtype, join)

    def _whole(self, rows: Tensor) -> Batch:
        return BatchSource(self.sets.pool, rows, None, [], self.dtype).whole()

    def _holdout(self) -> Batch | None:
        return None if self.sets.holdout is None else self._whole(self.sets.holdout)

    def _length(self, phase: Phase) -> int:
        """Steps of a phase unless the stop rule ends it."""
        if phase.steps is not None:
            return phase.steps
        if phase.epochs is not None:
            return phase.epochs * self.over.steps_per_epoch
        if self.stop.rule == "steps":
            return self.stop.steps
        return self.stop.epochs * self.over.steps_per_epoch

    def _batches(self, phase: Phase) -> Iterator[tuple[Batch | None, Batch | None]]:
        source = self.over.forever()
        for step in range(1, self._length(phase) + 1):
            self._step = step
            first = next(source)
            second = next(self._others) if self._others else None
            yield (first, second) if phase.over == "erased" else (second, first)
            if len(self.alive) == 0:
                return

    def _inputs(self, erased: Batch | None, remaining: Batch | None) -> Inputs:
        frozen = self.frozen
        return Inputs(
            self.params, self.buffers, frozen.params, frozen.buffers, erased, remaining, self._state,
            recall(self._encoded, erased),
        )  # fmt: skip

    def _remember(self, phase: Phase) -> None:
        """After the first step: encode the whole erased set once, if the loss wants it and epochs will pass over it."""
        source = self.over if phase.over == "erased" else self.other
        if self._step > 1 or source is None or not self.vectoriser.frozen_asked:
            return
        if self.training:  # batch normalisation makes of an image what its minibatch makes of it
            return
        if self._length(phase) >= 2 * source.steps_per_epoch:
            self._encoded = encode(self.router, self.frozen, self._whole(self.sets.erased).images)

    def _prepare(self, method: Objective) -> Any:
        if type(method).prepare is Objective.prepare:
            return None

        def prepared(models: Models, erased: Batch, _r: None, _s: None, noise: Noise) -> Any:
            return method.prepare(models, erased, noise)

        self._state = None
        with torch.no_grad():
            state = self.vectoriser.call(prepared, self._inputs(self._whole(self.sets.erased), None))
        self.vectoriser.forget_counts()  # the loss may want other numbers for the same shapes
        return state

    # --- after each step --------------------------------------------------------------------------------------------

    def _finish_step(self, phase: Phase, erased: Batch | None, remaining: Batch | None, before: Tensors | None) -> bool:
        """Count, watch, stop. True if some replicas were taken out, `_kept` says which stay."""
        first, second = (erased, remaining) if phase.over == "erased" else (remaining, erased)
        drawn = sum(
            n * batch.labels.shape[1] for n, batch in ((1, first), (phase.other_passes, second)) if batch is not None
        )
        self._samples.append(self._samples[-1] + drawn)
        epoch, rest = divmod(self._step, self.over.steps_per_epoch)
        if rest == 0 and self.watch is not None and len(self.alive) == len(self.seeds):
            self.watch(epoch, self._step, self._current())
        if self.stopper is None:
            return False
        if before is not None:  # those that ended at an earlier step stay as they were
            stopped = self._ended_at > 0
            for name, value in before.items():
                mask = stopped.view(-1, *(1,) * (value.dim() - 1))
                self.params[name].copy_(torch.where(mask, value, self.params[name]))
        done = self.stopper.done(self._predict, erased, epoch_ends=rest == 0)
        self._ended_at.masked_fill_(done & (self._ended_at == 0), self._step)
        if self._step % self.read_every:
            return False
        ended = self._ended_at.cpu()
        if not bool(ended.any()):
            return False
        self._take_out(ended)
        return True

    def _kept_values(self) -> Tensors | None:
        """Parameters as they are, where replicas that are done run on until somebody looks."""
        if self.stopper is None or self.read_every == 1:
            return None
        return {name: value.clone() for name, value in self.params.items()}

    def _end(self) -> None:
        count = len(self.alive)
        ended = torch.zeros(count, dtype=torch.int64) if self.stopper is None else self._ended_at.cpu()
        self._store(torch.arange(count), ended)

    # --- replicas that are done -------------------------------------------------------------------------------------

    def _predict(self, images: Tensor) -> Tensor:
        def one(params: Tensors, buffers: Tensors, x: Tensor) -> Tensor:
            return Functional(self.router, params, buffers)(x)

        if len(self.alive) == 1:
            return one(first(self.params), first(self.buffers), images[0])[None]
        return vmap(one)(self.params, self.buffers, images)

    def _current(self) -> Stack:
        return self.before.with_tensors({**self.params, **self.buffers})

    def _store(self, places: Tensor, ended: Tensor) -> None:
        """Write the replicas at `places` of the running stack to the result, and what they took."""
        for name, value in {**self.params, **self.buffers}.items():
            self.result.tensors[name][self.alive[places]] = value[places.to(value.device)].detach()
        for place in places.tolist():
            last = int(ended[place]) or self._step
            self.steps[self.alive[place]] += last
            self.samples[self.alive[place]] += self._samples[last]

    def _take_out(self, ended: Tensor) -> None:
        self._store(ended.nonzero().flatten(), ended)
        kept = (ended == 0).nonzero().flatten()
        self._kept = kept
        self.alive = self.alive[kept]
        if len(kept) == 0:
            return
        self.vectoriser.keep(kept.tolist())
        rows = kept.to(self.device)
        self.params, self.buffers = select(self.params, rows), select(self.buffers, rows)
        self._state, self._encoded = select(self._state, rows), select(self._encoded, rows)
        self._ended_at = self._ended_at[rows]
        if self.frozen.replicas > 1:
            self.frozen = self.frozen.apply(lambda value: value[rows])
        for source in (self.over, self.other):
            if source is not None:
                source.keep(rows)
        assert self.stopper is not None
        self.stopper.keep(rows)
