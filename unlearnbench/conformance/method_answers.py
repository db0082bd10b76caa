"""The subject's answers about a method: it unlearns what it is handed; the answer holds the result and the inputs
as the method left them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unlearnbench.conformance import pipeline, small_problem
from unlearnbench.conformance.channel import Message, NamedTensors
from unlearnbench.conformance.subject import Reply, Subject, odd, plain
from unlearnbench.models.stack import Stack
from unlearnbench.plugin import Images, Phase
from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.erasure_sets import ErasureSets


def facts(subject: Subject, *_: Any) -> Reply:
    method = subject.plugin
    return {"own_original": bool(method.own_original), "many_at_once": bool(method.many_at_once)}, {}


def originals(subject: Subject, question: Message, *_: Any) -> Reply:
    """The originals of a method that trains them itself."""
    scenario = Scenario.model_validate(question["scenario"])
    return {}, plain(subject.watched(small_problem.originals, subject.plugin, scenario))


def unlearn(subject: Subject, question: Message, tensors: NamedTensors, *_: Any) -> Reply:
    method = subject.plugin if question["steps"] is None else _shortened(subject.plugin, question["steps"])
    scenario, dtype = Scenario.model_validate(question["scenario"]), getattr(torch, question["dtype"])
    context = small_problem.context(scenario, question["seeds"], question["origin"], dtype)
    before = _stack(method, context, tensors)
    pool = Images(*(tensors[f"pool.{name}"] for name in ("pixels", "labels", "ids")))
    sets = ErasureSets(pool, *(tensors.get(f"sets.{name}") for name in ("members", "erased", "holdout")))  # type: ignore[arg-type]
    given = {name: tensors[name] for name in tensors if name.startswith(("pool.", "sets."))}
    result = subject.run(question, method.unlearn_many, before, sets, context)
    left = {f"left.{name}": value for name, value in {**given, **plain(before)}.items()}
    if not isinstance(result, Stack):
        return {**odd(result), "steps": []}, left
    return {"steps": context.steps.tolist()}, {**left, **{f"new.{n}": value for n, value in plain(result).items()}}


def _stack(method: Any, context: Any, tensors: NamedTensors) -> Stack:
    """The models before, in the method's own architecture."""
    parts: dict[str, dict[str, Tensor]] = {"p.": {}, "b.": {}}
    for name, value in tensors.items():
        if name[:2] in parts:
            parts[name[:2]][name[2:]] = value
    return Stack(Stack.of([method.build(context)]).base, parts["p."], parts["b."])


def _shortened(method: Any, steps: int) -> Any:
    """The method with `steps` steps in total: over hundreds of steps, rounding grows to a visible difference."""
    if not hasattr(method, "phases"):
        return method
    short = copy.copy(method)

    def phases(context: Any) -> Sequence[Phase]:
        every = list(method.phases(context))
        return [replace(phase, steps=max(1, steps // len(every)), epochs=None) for phase in every]

    short.phases = phases
    return short


def task(subject: Subject, question: Message, *_: Any) -> Reply:
    """The last task of a cell, as a run's worker would compute it; what it needs is computed first.

    Not watched, as the harness calls git for the commit. Other questions have watched the plugin.
    """
    method, at = (
        pipeline.choice(subject.examined.info, subject.examined.params),
        pipeline.workplace(subject.examined.setup),
    )
    *before, last = pipeline.tasks(subject.examined.setup, Scenario.model_validate(question["scenario"]), method)
    pipeline.prepare(before, at)
    tensors, values = pipeline.numbers(pipeline.computed(last, at))
    return {"values": values}, tensors
