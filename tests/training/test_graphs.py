"""What is done on GPUs only, done here: steps that are recorded and replayed, lower precision, another layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from replica_cases import TWENTY, Ascent, backdoored, originals
from small_worlds import CLASSES, SEEDS, blobs, context, difference, equal, erasures, unlearn, utility

from unlearnbench.models.stack import Stack
from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import Network, Scenario, Training
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.training import cuda_graphs as graphs
from unlearnbench.training import vectorise
from unlearnbench.training.context import Context
from unlearnbench.training.descent import LossDescent
from unlearnbench.training.vectorise import Inputs

Replay = Callable[[], None]
F32 = torch.float32
TRAINING = utility(training=Training(epochs=3, batch=8, lr=5e-3))


def train(scenario: Scenario = TRAINING, replicas: int = 3) -> Stack:
    """54 remaining images: 6 steps of 8 and one of 6 in each epoch."""
    return context(scenario, SEEDS[:replicas], F32).train(erasures(replicas))


def erase(replicas: int = 3) -> Stack:
    method = discover().methods["crfu"].cls()
    return unlearn(method, originals(1, F32), erasures(replicas), utility(stop=TWENTY), dtype=F32)[0]


class Recorder:
    """Stands in for CUDA's: what is recorded is done again on the same places."""

    def __init__(self, breaks: str = "") -> None:
        self.breaks, self.recorded, self.replayed = breaks, 0, 0

    def __call__(self, function: Replay) -> Replay:
        self.recorded += 1
        if self.breaks == "raises":
            raise RuntimeError("operation not permitted when stream is capturing")

        def replay() -> None:
            self.replayed += 1
            if self.breaks != "does nothing":
                function()

        return replay


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("work", [train, erase])
def test_replayed_steps_are_the_ordinary_ones(
    work: Callable[..., Stack], replicas: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordinary = work(replicas=replicas)
    recorder = Recorder()
    monkeypatch.setitem(graphs.RECORDERS, "cpu", recorder)
    assert equal(work(replicas=replicas), ordinary)
    assert recorder.replayed > 10


@pytest.mark.parametrize("breaks", ["raises", "does nothing"])
def test_a_recording_that_is_not_the_step_is_never_used(breaks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = train()
    recorder = Recorder(breaks)
    monkeypatch.setitem(graphs.RECORDERS, "cpu", recorder)
    assert equal(train(), ordinary)
    assert recorder.recorded == 1
    assert recorder.replayed <= 1


def test_replicas_that_end_are_recorded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before, method, scenario = originals(3, F32), Slow(), backdoored()
    ordinary, used = unlearn(method, before, erasures(), scenario, dtype=F32)
    assert len(set(used.steps.tolist())) > 1
    recorder = Recorder()
    monkeypatch.setitem(graphs.RECORDERS, "cpu", recorder)
    replayed, again = unlearn(method, before, erasures(), scenario, dtype=F32)
    assert equal(replayed, ordinary)
    assert again.steps.tolist() == used.steps.tolist()
    assert recorder.recorded > 1


def test_large_models_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setitem(graphs.RECORDERS, "cpu", recorder)
    monkeypatch.setattr("unlearnbench.training.replica_run.SMALL", 100)
    train()
    assert recorder.recorded == 0


class Slow(Ascent):
    """So that steps of a shape are seen often enough to be recorded."""

    lr = 3e-4


@pytest.mark.parametrize("replicas", [1, 3])
def test_lower_precision_is_used_where_it_is_asked_for_and_changes_little(
    replicas: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    gradients = LossDescent._gradients

    def watched(self: LossDescent, inputs: Inputs, noise: Any) -> Any:
        found = gradients(self, inputs, noise)
        seen.extend(g.dtype for g in found if g is not None)
        return found

    monkeypatch.setattr(LossDescent, "_gradients", watched)
    lower = TRAINING.model_copy(update={"training": TRAINING.training.model_copy(update={"precision": "bfloat16"})})
    rounded, exact = train(lower, replicas), train(replicas=replicas)
    assert set(seen) == {F32}
    assert 1e-5 < difference(rounded, exact) < 0.1


def test_colour_images_in_another_layout_give_the_same_models(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = Scenario(
        kind="utility", erased_count=1, network=Network(name="resnet18", latent=4, hidden=8),
        training=Training(epochs=1, batch=4),
    )  # fmt: skip
    sets = ErasureSets(blobs(8, shape=(3, 8, 8)), torch.arange(8), torch.empty(1, 0, dtype=torch.int64))

    def trained_once() -> Stack:
        return Context(scenario, [5], (3, 8, 8), CLASSES, dtype=torch.float64).train(sets)

    plain = trained_once()
    monkeypatch.setitem(vectorise.LAYOUTS, "cpu", torch.channels_last)
    assert difference(trained_once(), plain) < 1e-9
