"""Work that is interrupted after any step goes on to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from interruptions import Drawer, Killed, bits, interrupted, moments
from replica_cases import SEEDS, Anchored, Ascent, backdoored, originals
from small_worlds import CLASSES, SHAPE, blobs, erasures, trained, utility
from torch import nn

from unlearnbench.models.architecture import Architecture
from unlearnbench.models.stack import Stack
from unlearnbench.plugin import Method, Phase
from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import Network, StopRule, Training
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.training import checkpoints
from unlearnbench.training.checkpoints import Checkpoints, Piece, digest, packed, unpacked
from unlearnbench.training.context import Context

F32 = torch.float32
SHORT = {"epochs": 3, "batch": 8, "lr": 5e-3}
Case = Callable[[Context], Stack]


def everything(work: Case, scenario: Any, piece: Piece, replicas: int, shape: tuple[int, int, int] = SHAPE) -> Any:
    """All that comes out of a method: models, counts, metrics, what was watched."""

    def watch(first: int, epoch: int, step: int, models: Stack) -> list[Any]:
        return [[first, epoch, step, float(sum(value.double().sum() for value in models.params.values()))]]

    context = Context(scenario, SEEDS[:replicas], shape, CLASSES, dtype=F32, watch=watch, piece=piece)
    after = work(context)
    recorded = {name: value.tolist() for name, value in context.recorded.items()}
    return bits(after.tensors), context.steps.tolist(), context.samples.tolist(), recorded, context.watched


def check(work: Case, scenario: Any, replicas: int = 3, shape: tuple[int, int, int] = SHAPE, most: int = 8) -> Drawer:
    """Kill it at many moments; returns the checkpoints of an undisturbed run."""
    expected = everything(work, scenario, Piece(), replicas, shape)
    whole = Drawer()
    undisturbed = interrupted(lambda piece: everything(work, scenario, piece, replicas, shape), whole, [])
    assert undisturbed == expected, "writing checkpoints changes nothing"
    assert whole.saves >= 2
    for kills in moments(whole.saves, most):
        drawer = Drawer()
        found = interrupted(lambda piece: everything(work, scenario, piece, replicas, shape), drawer, kills)
        assert found == expected, kills
        assert drawer.loaded, kills
    return whole


def training(replicas: int = 3, shape: tuple[int, int, int] = SHAPE) -> Case:
    sets = erasures(replicas)
    if shape != SHAPE:
        sets = ErasureSets(blobs(120, shape=shape), sets.members, sets.erased, sets.holdout)
    return lambda context: context.train(sets)


def erasing(method: Method, replicas: int = 3) -> Case:
    return lambda context: method.unlearn_many(originals(replicas, F32), erasures(replicas), context)


def released(name: str, **params: Any) -> Method:
    cls = discover([]).methods[name].cls
    return cls(cls.Params(**params))


@pytest.mark.parametrize("replicas", [1, 3])
def test_training_of_the_mlp_goes_on_bit_for_bit(replicas: int) -> None:
    check(training(replicas), utility(training=Training(**SHORT, l2=1e-3)), replicas)


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_loss_by_autograd_goes_on_bit_for_bit(replicas: int) -> None:
    check(erasing(Ascent(), replicas), utility(stop=StopRule(rule="steps", steps=12)), replicas)


def test_a_chunk_of_replicas_is_a_piece_of_its_own() -> None:
    whole = check(training(), utility(training=Training(**SHORT), replicas=2))
    assert set(whole.kept) == {"0.0", "0.1"}


@pytest.mark.parametrize("method", [Ascent, Anchored])
def test_replicas_that_the_stop_rule_took_out_stay_out(method: type[Method]) -> None:
    scenario = backdoored()
    case = erasing(method())
    context = Context(scenario, SEEDS, SHAPE, CLASSES, dtype=F32)
    case(context)
    assert len(set(context.steps.tolist())) > 1, "they end at different steps"
    check(case, scenario, most=20)


class TwoPhases(Anchored):
    """Adam on the erased images under the stop rule, then plain gradient descent on the remaining ones."""

    def phases(self, context: Context) -> list[Phase]:
        rest = Phase(over="remaining", other=True, steps=7, lr=1e-2, optimiser="sgd", stop=False, loss=self.keep)
        return [Phase(batch=4, lr=2e-3), replace(rest, trains=lambda name: "approximator" in name)]

    def keep(self, models: Any, erased: Any, remaining: Any, state: Any, noise: Any) -> Any:
        return -Ascent.loss(self, models, remaining, erased, state, noise) + 0.1 * state["shift"][0].sum()


def test_phases_with_states_of_their_own_go_on_bit_for_bit() -> None:
    check(erasing(TwoPhases()), backdoored(), most=20)


@pytest.mark.parametrize("optimiser", ["adam", "newton"])
def test_training_of_the_linear_network_goes_on_bit_for_bit(optimiser: str) -> None:
    rule = {"batch": 8, "lr": 5e-3} if optimiser == "adam" else {}
    scenario = utility(
        network=Network(name="linear"), training=Training(epochs=4, optimiser=optimiser, l2=1e-2, **rule)
    )
    check(training(), scenario)


@pytest.mark.parametrize("replicas", [1, 2])
def test_batch_normalisation_goes_on_bit_for_bit(replicas: int) -> None:
    shape = (3, 8, 8)
    scenario = utility(network=Network(name="resnet18", latent=4), training=Training(epochs=1, batch=16))
    check(training(replicas, shape), scenario, replicas, shape, most=3)


class Dropping(nn.Module):
    """Drops units at random, and so is trained one model after the other."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(shape[0] * shape[1] * shape[2], 6), nn.Linear(6, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.first(images.flatten(1)).relu()
        logits: torch.Tensor = self.last(nn.functional.dropout(hidden, 0.5, self.training))
        return logits


def test_a_network_that_torch_func_can_not_vectorise_goes_on_bit_for_bit() -> None:
    architecture = Architecture(Dropping)
    assert architecture.looped(SHAPE, CLASSES) == (True, False)

    def work(context: Context) -> Stack:
        counts = context.steps, context.samples
        return replace(context, architecture=architecture, counts=counts).train(erasures(3))

    check(work, utility(training=Training(**SHORT)))


METHODS = {
    "crfu": {}, "hbu": {}, "vbu": {}, "renew": {}, "ssd": {}, "scrub": {}, "salun": {}, "random_label": {},
    "bad_teacher": {}, "neggrad_plus": {}, "fine_tune": {}, "retrain": {}, "retrain_paired": {},
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_every_kind_of_method_goes_on_bit_for_bit(name: str) -> None:
    method = released(name, **METHODS[name])
    scenario = utility(training=Training(**SHORT), stop=StopRule(rule="steps", steps=4))

    def work(context: Context) -> Stack:
        context.origin = list(SEEDS)
        return method.unlearn_many(originals(3, F32), erasures(3), context)

    check(work, scenario, most=4)


@pytest.mark.parametrize(("name", "params"), [("sisa", {"shards": 2}), ("vbu", {"space": "weights"})])
def test_a_method_that_trains_originals_of_its_own_goes_on_in_the_call_it_was_in(
    name: str, params: dict[str, Any]
) -> None:
    method, sets = released(name, **params), erasures(2)
    scenario = utility(training=Training(**SHORT), stop=StopRule(rule="steps", steps=4))

    def work(context: Context) -> Stack:
        models = [method.train(sets.pool.take(sets.members), context.single(k)) for k in range(2)]
        assert all(isinstance(model, nn.Module) for model in models)
        return method.unlearn_many(Stack.of([model for model in models if model is not None]), sets, context)

    check(work, scenario, 2)


class Loop(Method):
    """A plain torch loop for one model, which the harness does not see into."""

    calls = 0

    def unlearn(self, model: nn.Module, splits: Any, context: Context) -> nn.Module:
        type(self).calls += 1
        optimiser = torch.optim.SGD(model.parameters(), 1e-2)
        for _ in range(3):
            optimiser.zero_grad()
            mean, _ = model.encode(splits.erased.pixels.float() / 255)
            mean.square().mean().backward()
            optimiser.step()
        context.record("certified_epsilon", torch.tensor([float(mean.detach().sum())]))
        context.steps += 3
        return model


def test_a_loop_of_ones_own_is_kept_model_by_model() -> None:
    check(erasing(Loop()), utility())
    Loop.calls, drawer = 0, Drawer()
    interrupted(lambda piece: everything(erasing(Loop()), utility(), piece, 3), drawer, [2])
    assert Loop.calls == 3, "two models before the interruption, one after it"


def test_a_model_of_another_form_is_computed_again() -> None:
    class Marked(Loop):
        def unlearn(self, model: nn.Module, splits: Any, context: Context) -> nn.Module:
            model.mark = float(splits.erased.pixels.float().mean())
            return super().unlearn(model, splits, context)

    drawer = Drawer()
    interrupted(lambda piece: everything(erasing(Marked()), utility(), piece, 3), drawer, [])
    assert drawer.saves == 0


def test_what_was_made_from_other_inputs_is_not_used() -> None:
    drawer, scenario = Drawer(), utility(training=Training(**SHORT))
    drawer.kill_at = 5
    context = Context(scenario, SEEDS, SHAPE, CLASSES, dtype=F32, piece=Piece(Checkpoints(drawer, every=0)))
    with pytest.raises(Killed):
        training()(context)
    drawer.kill_at = 0
    others = [seed + 1 for seed in SEEDS]
    stage = Checkpoints(drawer, every=0)
    found = training()(Context(scenario, others, SHAPE, CLASSES, dtype=F32, piece=Piece(stage)))
    expected = training()(Context(scenario, others, SHAPE, CLASSES, dtype=F32))
    assert bits(found.tensors) == bits(expected.tensors)
    assert stage.resumed == 0


# --- when -------------------------------------------------------------------------------------------------------------


class Clock:
    """Seconds that pass with each look, and with each checkpoint."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(Drawer):
    """A shelf on which a checkpoint takes as long as it is told."""

    def __init__(self, clock: Clock, takes: float) -> None:
        super().__init__()
        self.clock, self.takes, self.names = clock, takes, list[str]()

    def save(self, name: str, tensors: Any, values: Any) -> bool:
        self.clock.now += self.takes
        self.names.append(name)
        return super().save(name, tensors, values)


def started(takes: float) -> tuple[Clock, Slow, Piece]:
    clock = Clock()
    shelf = Slow(clock, takes)
    return clock, shelf, Piece(Checkpoints(shelf, clock=clock))


def after(piece: Piece, result: Any) -> None:
    piece.known(lambda: digest([]), torch.device("cpu"))
    piece.finish(lambda: result)


def test_a_stage_of_less_than_two_minutes_writes_nothing() -> None:
    clock, shelf, whole = started(0.0)
    for _ in range(11):
        after(whole.next(), {"x": torch.zeros(3)})
        clock.now += 10
    part = whole.next()
    part.known(lambda: digest([]), torch.device("cpu"))
    part.offer(lambda: pytest.fail("it is not time"))
    assert shelf.saves == 0
    clock.now += 10
    part.offer(lambda: {"x": 1})
    assert shelf.names == [str(number) for number in range(2, 12)], "but for the first twelve seconds of work"


def test_checkpoints_take_a_hundredth_of_the_time() -> None:
    clock, shelf, whole = started(takes=30.0)
    part = whole.next()
    part.known(lambda: digest([]), torch.device("cpu"))
    while clock.now < 36_000:
        clock.now += 1
        part.offer(lambda: {"x": torch.zeros(3)})
    assert 10 <= shelf.saves <= 13


def test_finished_pieces_that_cost_too_much_to_write_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "HELD", 256)
    clock, shelf, whole = started(takes=600.0)
    big = torch.zeros(100, dtype=torch.uint8)
    for _ in range(300):
        clock.now += 10
        after(whole.next(), {"x": big})
    assert shelf.saves <= 4
    held = sum(size for size, _, _ in whole.stage._waiting.values())
    assert held <= 256


def test_a_finished_piece_takes_the_place_of_its_parts() -> None:
    drawer = Drawer()
    whole = Piece(Checkpoints(drawer, every=0))
    outer = whole.next()
    outer.known(lambda: digest([]), torch.device("cpu"))
    for _ in range(2):
        after(outer.next(), {"x": torch.zeros(3)})
    assert set(drawer.kept) == {"0.0", "0.1"}
    outer.finish(lambda: {"x": torch.zeros(1)})
    assert set(drawer.kept) == {"0"}


def test_seconds_and_interruptions_add_up() -> None:
    drawer = Drawer()
    for again in range(3):
        clock = Clock()
        stage = Checkpoints(drawer, every=0, clock=clock)
        part = Piece(stage).next()
        part.known(lambda: digest([]), torch.device("cpu"))
        assert (stage.resumed, stage.earlier) == (again, 50.0 * again)
        clock.now += 50
        part.offer(lambda: {"x": 1})


def test_a_shelf_that_is_full_is_not_tried_again() -> None:
    class Full(Drawer):
        def save(self, name: str, tensors: Any, values: Any) -> bool:
            self.saves += 1
            return False

    full = Full()
    found = everything(training(), utility(training=Training(**SHORT)), Piece(Checkpoints(full, every=0)), 3)
    assert found == everything(training(), utility(training=Training(**SHORT)), Piece(), 3)
    assert full.saves == 1


# --- trees ------------------------------------------------------------------------------------------------------------


def test_a_tree_comes_back_with_order_values_and_memory_layout() -> None:
    block = torch.arange(24.0).view(4, 6)
    tree = {"b": block.T, "a": [block[:, 1:3], None, 3, True, 0.1], "empty": {}, "half": block.bfloat16()}
    tensors, values = packed(tree)
    back = unpacked(values, tensors, torch.device("cpu"))
    assert list(back) == list(tree)
    assert back["a"][1:] == [None, 3, True, 0.1]
    assert back["b"].stride() == block.T.stride()
    assert torch.equal(back["b"], block.T)
    assert torch.equal(back["a"][0], block[:, 1:3])
    assert torch.equal(back["half"], block.bfloat16())
    block.zero_()
    assert back["b"].sum() > 0, "copies"


def test_a_digest_tells_values_shapes_and_types_apart() -> None:
    x = torch.arange(6.0)
    found = [
        digest([x]),
        digest([x + 1]),
        digest([x.view(2, 3)]),
        digest([x.int()]),
        digest([x], 1),
        digest([x.clone()]),
    ]
    assert len(set(found)) == 5
    assert found[0] == found[-1]


def test_originals_are_trained_alike_with_and_without_checkpoints() -> None:
    plain = trained(utility(), erasures(), SEEDS, F32)
    sets = ErasureSets(erasures().pool, erasures().members, torch.empty(3, 0, dtype=torch.int64))
    piece = Piece(Checkpoints(Drawer(), every=0))
    assert bits(Context(utility(), SEEDS, SHAPE, CLASSES, dtype=F32, piece=piece).train(sets).tensors) == bits(
        plain.tensors
    )
