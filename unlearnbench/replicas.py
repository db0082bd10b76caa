"""K copies of one model, trained or unlearned by one set of kernels.

A loss is written for ONE model. Here it is vectorised over replicas with torch.func.vmap, and differentiated as
autograd.grad(vmap(loss).sum()): replicas share no parameter, so the gradient of the sum holds each one's own. One
replica bypasses vmap. A replica that the stop rule ends is taken out of the stack: its parameters stay bit-identical.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap

from unlearnbench.noise import BlockNoise, NoiseStreams, StreamNoise, draw_block
from unlearnbench.optimisers import optimiser
from unlearnbench.plugin import Batch, Loss, LossMethod, Models, Phase, TransformMethod
from unlearnbench.seeding import derive, stream
from unlearnbench.sets import BatchSource, ErasureSets
from unlearnbench.settings import Scenario
from unlearnbench.stack import Functional, Stack, Tensors
from unlearnbench.stopping import Stopper

Watch = Callable[[int, int, Stack], None]  # epoch, step, the model as it is: called at the end of an epoch


@dataclass(frozen=True, eq=False)
class Outcome:
    """Models after unlearning (or training) and what it took, per replica."""

    stack: Stack
    steps: Tensor  # i64[K]
    samples: Tensor  # i64[K], images processed


class _Inputs(NamedTuple):
    """What a function of one model gets; with a leading replica dimension for many."""

    params: Tensors
    buffers: Tensors
    frozen: Tensors
    frozen_buffers: Tensors
    erased: Batch | None
    remaining: Batch | None
    state: Any


class ReplicaRun:
    """One pass through a method's phases for up to a few dozen replicas.

    Args:
        before: 1 replica shared by all, or K. It is not changed.
        sets: K erasures.
        seeds: K seeds, one per replica.
        scenario: its stop rule is applied; methods read their settings from it.
        training: whether layers such as batch normalisation are in train mode.
        watch: called at the end of each epoch (one replica only).
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
        self.router = before.router(training)
        self.dtype = before.dtype
        self.device = sets.pool.pixels.device
        self.result = before.expand(len(seeds)).apply(torch.clone)
        self.steps = torch.zeros(len(seeds), dtype=torch.int64)
        self.samples = torch.zeros(len(seeds), dtype=torch.int64)
        self.seeds = list(seeds)

    # --- the two kinds of method ------------------------------------------------------------------------------------

    def minimise(self, method: LossMethod, phases: Sequence[Phase], given: Any = None) -> Outcome:
        """Minimise the method's loss, phase after phase; `given` is state [K, ...] in place of what it prepares."""
        for number, phase in enumerate(phases):
            self._start(number, phase)
            state = self._prepare(method) if given is None else given
            loss = phase.loss or method.loss
            self.optimiser = optimiser(phase.optimiser, phase.lr)
            self._leaves(phase)
            for erased, remaining in self._batches(phase):
                self._gradient_step(phase, loss, erased, remaining, state)
                if self._finish_step(phase, erased, remaining):
                    state = _select(state, self._kept)
                    self.optimiser.keep(self._kept)
                    self._leaves(phase)
            self._end()
        return Outcome(self.result, self.steps, self.samples)

    def transform(self, method: TransformMethod, phases: Sequence[Phase]) -> Outcome:
        """Replace the parameters by the method's transformation, step after step."""
        for number, phase in enumerate(phases):
            self._start(number, phase)
            for erased, remaining in self._batches(phase):
                new = self._call(lambda models, e, r, _state, noise: dict(method.transform(models, e, r, noise)),
                                 erased, remaining, None)  # fmt: skip
                for name, value in new.items():
                    self.params[name].copy_(value.detach())
                self._finish_step(phase, erased, remaining)
            self._end()
        return Outcome(self.result, self.steps, self.samples)

    # --- a phase ----------------------------------------------------------------------------------------------------

    def _start(self, number: int, phase: Phase) -> None:
        count = len(self.seeds)
        self.alive = torch.arange(count)
        self.params: Tensors = {n: v.clone() for n, v in self.result.params.items()}
        self.buffers: Tensors = {n: v.clone() for n, v in self.result.buffers.items()}
        self.frozen = self.before
        self.noise = [NoiseStreams(derive(seed, "noise", number)) for seed in self.seeds]
        self._counts: dict[tuple[int, ...], tuple[int, int]] = {}
        self.over = self._source(phase.over, phase.batch, number)
        rest = "remaining" if phase.over == "erased" else "erased"
        self.other = self._source(rest, phase.other_batch or phase.batch, number) if phase.other else None
        self._others = self.other.forever() if self.other else None
        self.stopper = None
        if phase.stop and self.stop.rule in ("backdoor", "match_holdout"):
            self.stopper = Stopper(self.stop, self._whole(self.sets.erased), self._holdout())

    def _source(self, which: str, batch: int | None, number: int) -> BatchSource:
        if which == "erased":
            rows = self.sets.erased
        else:
            rows = torch.stack([self.sets.remaining(k) for k in range(self.sets.replicas)])
        streams = [stream(seed, "order", which, number) for seed in self.seeds]
        return BatchSource(self.sets.pool, rows, batch, streams, self.dtype)

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

    def _finish_step(self, phase: Phase, erased: Batch | None, remaining: Batch | None) -> bool:
        """Count, watch, stop. True if some replicas were taken out, `_kept` says which stay."""
        first, second = (erased, remaining) if phase.over == "erased" else (remaining, erased)
        drawn = sum(
            n * batch.labels.shape[1] for n, batch in ((1, first), (phase.other_passes, second)) if batch is not None
        )
        self.steps[self.alive] += 1
        self.samples[self.alive] += drawn
        epoch, rest = divmod(self._step, self.over.steps_per_epoch)
        if rest == 0 and self.watch is not None:
            self.watch(epoch, self._step, self._current())
        if self.stopper is None:
            return False
        done = self.stopper.done(self._predict, erased, epoch_ends=rest == 0)
        if not bool(done.any()):
            return False
        self._take_out(done)
        return True

    def _end(self) -> None:
        self._store(torch.arange(len(self.alive)))

    # --- one step ---------------------------------------------------------------------------------------------------

    def _prepare(self, method: LossMethod) -> Any:
        if type(method).prepare is LossMethod.prepare:
            return None
        erased = self._whole(self.sets.erased)
        with torch.no_grad():
            state = self._call(lambda models, e, _r, _s, noise: method.prepare(models, e, noise), erased, None, None)
        self._counts.clear()  # the loss may want other numbers for the same shapes
        return state

    def _leaves(self, phase: Phase) -> None:
        """Differentiable views of the parameters; a single replica's lack the replica dimension."""
        single = len(self.alive) == 1
        self.leaves = {n: (v[0] if single else v).detach() for n, v in self.params.items()}
        self.trained = [n for n in self.leaves if phase.trains is None or phase.trains(n)]
        for name in self.trained:
            self.leaves[name].requires_grad_()

    def _gradient_step(
        self, phase: Phase, loss: Loss, erased: Batch | None, remaining: Batch | None, state: Any
    ) -> None:
        losses = self._call(loss, erased, remaining, state, self.leaves)
        leaves = [self.leaves[name] for name in self.trained]
        gradients: Sequence[Tensor | None] = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
        if len(self.alive) == 1:
            gradients = tuple(None if g is None else g[None] for g in gradients)
        else:  # vmap hands out transposed weights' gradients: one copy here saves one in each step that follows
            gradients = tuple(None if g is None else g.contiguous() for g in gradients)
        if phase.clip is not None:
            gradients = _clip(gradients, phase.clip)
        self.optimiser.step({name: self.params[name] for name in self.trained}, gradients)

    def _call(
        self, function: Callable[..., Any], erased: Batch | None, remaining: Batch | None, state: Any,
        leaves: Tensors | None = None,
    ) -> Any:  # fmt: skip
        """`function` of one model, for all replicas; the result gains a leading replica dimension."""
        frozen = self.frozen
        single = len(self.alive) == 1
        # Leaves of a single replica come without the replica dimension, everything else with it.
        params = leaves if leaves is not None else (_first(self.params) if single else self.params)
        inputs = _Inputs(params, self.buffers, frozen.params, frozen.buffers, erased, remaining, state)
        if single:
            inputs = _Inputs(params, *(_first(part) for part in inputs[1:]))
            return _unsqueeze(self._one(function, inputs, StreamNoise(self.noise[0], self.device, self.dtype)))
        normals, uniforms = self._block(function, inputs)
        dims = [None if part is None else 0 for part in inputs]
        if frozen.replicas == 1:  # shared: not batched, so its layers stay plain matrix products
            inputs = inputs._replace(frozen=_first(frozen.params), frozen_buffers=_first(frozen.buffers))
            dims[_Inputs._fields.index("frozen")] = dims[_Inputs._fields.index("frozen_buffers")] = None

        def one(normal: Tensor, uniform: Tensor, *parts: Any) -> Any:
            return self._one(function, _Inputs(*parts), BlockNoise(normal, uniform))

        return vmap(one, in_dims=(0, 0, *dims))(normals, uniforms, *inputs)

    def _one(self, function: Callable[..., Any], inputs: _Inputs, noise: Any) -> Any:
        models = Models(
            Functional(self.router, inputs.params, inputs.buffers),
            Functional(self.router, inputs.frozen, inputs.frozen_buffers),
            self.scenario,
            self.sets.erased.shape[1],
            self.sets.remaining_size,
        )
        return function(models, inputs.erased, inputs.remaining, inputs.state, noise)

    def _block(self, function: Callable[..., Any], inputs: _Inputs) -> tuple[Tensor, Tensor]:
        """This step's random numbers; how many a loss wants is counted once per shape, on one replica."""
        batches = (inputs.erased, inputs.remaining)
        sizes = tuple(0 if batch is None else batch.labels.shape[1] for batch in batches)
        if sizes not in self._counts:
            counter = StreamNoise(NoiseStreams(0), self.device, self.dtype)
            first = _Inputs(*(_first(part) for part in inputs))
            # Batch normalisation writes to its buffers; the rehearsal must leave no trace.
            first = first._replace(buffers={name: value.clone() for name, value in first.buffers.items()})
            self._one(function, first, counter)
            self._counts[sizes] = counter.normals, counter.uniforms
        return draw_block(self.noise, *self._counts[sizes], self.device, self.dtype)

    # --- replicas that are done -------------------------------------------------------------------------------------

    def _predict(self, images: Tensor) -> Tensor:
        def one(params: Tensors, buffers: Tensors, x: Tensor) -> Tensor:
            return Functional(self.router, params, buffers)(x)

        if len(self.alive) == 1:
            return one(_first(self.params), _first(self.buffers), images[0])[None]
        return vmap(one)(self.params, self.buffers, images)

    def _current(self) -> Stack:
        return self.before.with_tensors({**self.params, **self.buffers})

    def _store(self, places: Tensor) -> None:
        """Write the replicas at `places` of the running stack to the result."""
        for name, value in {**self.params, **self.buffers}.items():
            self.result.tensors[name][self.alive[places]] = value[places.to(value.device)].detach()

    def _take_out(self, done: Tensor) -> None:
        done = done.cpu()
        self._store(done.nonzero().flatten())
        kept = (~done).nonzero().flatten()
        self._kept = kept
        self.alive = self.alive[kept]
        if len(kept) == 0:
            return
        self.noise = [self.noise[index] for index in kept.tolist()]
        rows = kept.to(self.device)
        self.params, self.buffers = _select(self.params, rows), _select(self.buffers, rows)
        if self.frozen.replicas > 1:
            self.frozen = self.frozen.apply(lambda value: value[rows])
        for source in (self.over, self.other):
            if source is not None:
                source.keep(rows)
        assert self.stopper is not None
        self.stopper.keep(rows)


def _clip(gradients: Sequence[Tensor | None], largest: float) -> tuple[Tensor | None, ...]:
    """Scale each replica's gradient, [K, ...] per parameter, down to a norm of at most `largest`."""
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients if g is not None])
    scale = (largest / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)
    return tuple(None if g is None else g * scale.view(-1, *(1,) * (g.dim() - 1)) for g in gradients)


def _first(tree: Any) -> Any:
    """The first replica of every tensor in a tree; the usual trees without pytree's overhead."""
    if tree is None:
        return None
    if type(tree) is dict:
        return {name: _first(value) for name, value in tree.items()}
    if isinstance(tree, Tensor):
        return tree[0]
    if isinstance(tree, Batch):
        return Batch(*(part[0] for part in tree))
    return torch.utils._pytree.tree_map_only(Tensor, lambda value: value[0], tree)


def _unsqueeze(tree: Any) -> Any:
    return torch.utils._pytree.tree_map_only(Tensor, lambda value: value[None], tree)


def _select(tree: Any, rows: Tensor) -> Any:
    return torch.utils._pytree.tree_map_only(Tensor, lambda value: value[rows.to(value.device)], tree)
